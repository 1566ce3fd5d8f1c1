"""A consistent copy of an index, also while a writer runs: one generation, each byte compared with its checksum.

The files of a generation are opened before any is copied, so that a writer may remove them meanwhile. The copy is made
beside its place and renamed when it is whole, flushed and sealed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from indexer.durable import storage_errors, sync_file, sync_folder
from indexer.errors import DamagedIndex, UsageError
from indexer.format import ANN, CATALOG, ENCODER, FOLDER, LEXICAL, SEGMENTS
from indexer.index import base_of
from indexer.seal import SEAL, altered, read_seal, went_back, write_seal
from indexer.snapshot import connect, owned, sentences

_ATTEMPTS = 20
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied."""

    place: Path
    generation: int
    documents: int
    passages: int
    size_bytes: int


def backup(folder: Path, target: Path) -> Backup:
    """Copy the newest generation of an index to ``target``, which must not exist or be empty; the copy is sealed.

    A copy that is not called ``.searchengine`` keeps absolute names of the files it was made from: it does not lie
    beside them. Raises UsageError for an unfit target, DamagedIndex where a file is not as it was written.
    """
    target = target.absolute()
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise UsageError(f"{target}: exists already (name a new or an empty folder)")
    if target.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{target}: lies within the index itself")
    beside = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    with storage_errors("making the backup"):
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        try:
            with closing(connect(folder)) as connection, sentences(folder):
                _copy(folder, connection, beside)
            if target.name != FOLDER:
                _make_absolute(folder, beside)
            made = _count(target, beside)
            write_seal(beside)
            sync_folder(beside)
            beside.rename(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return made


def _copy(folder: Path, connection: sqlite3.Connection, beside: Path) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            seal = read_seal(folder)
        except ValueError as error:
            raise _damaged(folder / SEAL, str(error)) from None
        connection.execute("BEGIN")
        try:
            with ExitStack() as opened:
                (generation,) = connection.execute("SELECT generation FROM state").fetchone()
                if wrong := went_back(seal, generation) or altered(folder):
                    raise _damaged(folder / CATALOG, wrong)
                files = _open(folder, connection, opened)
                with closing(sqlite3.connect(beside / CATALOG)) as copy:
                    connection.backup(copy)
                    copy.execute("PRAGMA journal_mode=WAL")
                sync_file(beside / CATALOG)
                for relative, (file, checksum) in files.items():
                    _copy_file(file, beside / relative, folder / relative, checksum)
            break
        except FileNotFoundError as error:
            # The writer has moved on by two generations since the transaction began: the next one is whole again.
            if attempt == _ATTEMPTS - 1:
                raise _damaged(Path(error.filename), "missing") from error
            time.sleep(0.01)
        finally:
            connection.rollback()
    for place in (SEGMENTS, ANN, LEXICAL, ENCODER):
        (beside / place).mkdir(exist_ok=True)
        for inner in (beside / place).iterdir():
            sync_folder(inner)
        sync_folder(beside / place)


def _open(folder: Path, connection: sqlite3.Connection, opened: ExitStack) -> dict[str, tuple[BinaryIO, str]]:
    files: dict[str, tuple[BinaryIO, str]] = {}
    for relative, checksum in connection.execute("SELECT path, checksum FROM files ORDER BY path"):
        files[relative] = opened.enter_context((folder / owned(relative)).open("rb")), checksum
    return files


def _copy_file(file: BinaryIO, target: Path, source: Path, checksum: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = xxhash.xxh3_128()
    with target.open("xb") as copy:
        while block := file.read(_BLOCK):
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != checksum:
        raise _damaged(source, "altered, its checksum is wrong")


def _damaged(path: Path, what: str) -> DamagedIndex:
    return DamagedIndex(f"{path}: {what} (no backup was made; mend the index with: searchengine verify --repair)")


def _make_absolute(folder: Path, copy: Path) -> None:
    with closing(sqlite3.connect(copy / CATALOG, isolation_level=None)) as connection:
        (base,) = connection.execute("SELECT value FROM settings WHERE key = 'base'").fetchone()
        absolute = str(base_of(folder, {"base": json.loads(base)}))
        connection.execute("UPDATE settings SET value = ? WHERE key = 'base'", (json.dumps(absolute),))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sync_file(copy / CATALOG)


def _count(target: Path, copy: Path) -> Backup:
    with closing(sqlite3.connect(f"{(copy / CATALOG).resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        (generation,) = connection.execute("SELECT generation FROM state").fetchone()
        (documents,) = connection.execute("SELECT count(*) FROM documents").fetchone()
        (passages,) = connection.execute("SELECT count(*) FROM passages").fetchone()
        (size,) = connection.execute("SELECT coalesce(sum(size), 0) FROM files").fetchone()
    return Backup(target, generation, documents, passages, size + (copy / CATALOG).stat().st_size)
