"""Puts right what ``verify`` finds: every part is made again from the nearest one that is sound. Nothing is destroyed.

Postings come from the texts, vectors from encoding the passages again, ``rows.i64`` from the catalog, search structures
from vectors, the encoder from its model, the seal from everything. What was damaged is moved to ``damaged/<time>/``
first. Each step is a commit like any other, so a repair that was killed is taken up by the next one.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import time
from contextlib import closing
from functools import cached_property
from pathlib import Path

import numpy as np
from sqlalchemy import delete, select

from indexer.catalog import DOCUMENTS, FILES, PASSAGES, SEGMENTS
from indexer.derive import derive, drop
from indexer.documents import searchable
from indexer.durable import sealed, storage_errors, sync_file, sync_folder
from indexer.encoders import Encoder, load_encoder, load_stored_encoder, store_encoder
from indexer.errors import DamagedIndex, IncompatibleIndex, ModelError
from indexer.format import ANN, CATALOG, DAMAGED, ENCODER, LEXICAL, LOCK
from indexer.format import SEGMENTS as SEGMENTS_FOLDER
from indexer.index import check_encoder
from indexer.lock import WriterLock
from indexer.merge import replace_segments
from indexer.progress import SILENT, Progress
from indexer.salvage import salvage
from indexer.seal import SEAL, has_log, open_seal, read_seal
from indexer.snapshot import connect
from indexer.vectors import ROWS, VECTORS
from indexer.verify import STRAY, Finding, verify
from indexer.writer import Writer

_BLOCK = 1024


def repair(folder: Path, *, wait_s: float = 0.0, progress: Progress = SILENT) -> list[str]:
    """Mend an index and say what was done, a sentence a part; [] where it is sound.

    Raises DamagedIndex where something is left that cannot be mended here, saying what to do.
    """
    aside = _Aside(folder)
    with storage_errors("repairing the index"):
        with WriterLock(folder / LOCK, wait_s=wait_s):
            done = _mend_catalog(folder, aside)
        salvaged = any(sentence.startswith("catalog") for sentence in done)
        if done or verify(folder):
            with Writer(folder, wait_s=wait_s) as writer:
                done += _Parts(writer, aside, progress, salvaged=salvaged).mend(verify(folder))
    if left := verify(folder):
        raise DamagedIndex("; ".join(f"{finding.where}: {finding.what} (mend: {finding.mend})" for finding in left[:3]))
    return done


class _Aside:
    """Where damaged files go: ``damaged/<time>/``, made when the first one does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def place(self) -> Path:
        """Make the place."""
        (self._folder / DAMAGED).mkdir(exist_ok=True)
        place = self._folder / DAMAGED / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        place.mkdir()
        sync_folder(place.parent)
        sync_folder(self._folder)
        return place

    def move(self, path: Path) -> Path:
        """Move a file or folder there, under its name within the index."""
        target = self.place / path.relative_to(self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            path.rename(target)
            sync_folder(target.parent)
            sync_folder(path.parent)
        return target

    def copy_catalog(self) -> Path:
        """Copy the catalog and its log there."""
        for name in (CATALOG, f"{CATALOG}-wal"):
            if (self._folder / name).is_file():
                shutil.copyfile(self._folder / name, self.place / name)
                sync_file(self.place / name)
        sync_folder(self.place)
        return self.place / CATALOG


def _mend_catalog(folder: Path, aside: _Aside) -> list[str]:
    """Make the catalog and its seal trustworthy; the lock is held."""
    named = {finding.where for finding in verify(folder)}
    if str(folder / CATALOG) in named:
        return _replace_catalog(folder, aside)
    if str(folder / SEAL) not in named:
        return []
    with closing(connect(folder)) as connection:
        (generation,) = connection.execute("SELECT generation FROM state").fetchone()
    aside.move(folder / SEAL)
    open_seal(folder, generation)  # the writer closes it
    return ["seal: made again, after the catalog's texts were compared with their digests"]


def _replace_catalog(folder: Path, aside: _Aside) -> list[str]:
    if not (folder / CATALOG).is_file():
        raise DamagedIndex(
            f"{folder / CATALOG}: missing, and with it the index's texts; your source files are not: "
            "make the index anew with: searchengine index FOLDER"
        )
    try:
        committed = read_seal(folder).generation
    except ValueError:
        committed = 0
        if (folder / SEAL).exists():
            aside.move(folder / SEAL)
    copy = aside.copy_catalog()
    fresh, generation, lost = salvage(copy, folder, committed)
    if has_log(folder):
        # A log left beside another catalog would be applied to it. The copy holds it; here it is folded in and gone.
        try:
            with closing(sqlite3.connect(folder / CATALOG)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            (folder / f"{CATALOG}-wal").write_bytes(b"")
    open_seal(folder, generation)  # a crash from here on shows an old catalog, which is repaired again
    for name in (f"{CATALOG}-wal", f"{CATALOG}-shm"):
        (folder / name).unlink(missing_ok=True)
    sync_file(fresh)
    fresh.replace(folder / CATALOG)
    for leftover in folder.glob(f"{fresh.name}-*"):
        leftover.unlink()
    sync_folder(folder)
    sentences = ["catalog: made anew from every row that could be read and proved itself by its digest"]
    sentences += [f"lost with the catalog: {name}" for name in lost]
    return [
        *sentences,
        "what no digest covers is as it was read: run searchengine index FOLDER, which reads every file again "
        "(nothing unchanged is encoded again)",
    ]


class _Parts:
    """Mends what lies beside the catalog, which is sound by now."""

    def __init__(self, writer: Writer, aside: _Aside, progress: Progress, *, salvaged: bool) -> None:
        self._writer = writer
        self._folder = writer.folder
        self._aside = aside
        self._progress = progress
        self._salvaged = salvaged

    def mend(self, findings: list[Finding]) -> list[str]:
        """Mend what was found, the encoder first, since vectors may need it."""
        done = []
        segments: dict[str, set[str]] = {}
        places, structures = set(), set()
        for finding in findings:
            path = Path(finding.where)
            if finding.what == STRAY:
                self._aside.move(path)
                done.append(f"{path.relative_to(self._folder)}: moved to {self._aside.place}")
                continue
            if path == self._folder:
                continue
            place, *inner = path.relative_to(self._folder).parts
            places.add(place)
            if place == ANN and inner:
                structures.add(inner[0])
            if place == SEGMENTS_FOLDER:
                segments.setdefault(inner[0], set()).add(inner[1] if len(inner) > 1 else "")
        if ENCODER in places:
            done.append(self._restore_encoder())
        for name, files in segments.items():
            done.append(self._rebuild_segment(name, encode=self._salvaged or files != {ROWS}))
        if LEXICAL in places:
            done.append(self._rebuild_postings())
        if places & {ANN, SEGMENTS_FOLDER}:
            done += self._derive_again(sorted(structures))
        return done

    def _derive_again(self, damaged: list[str]) -> list[str]:
        for name in damaged:
            self._aside.move(self._folder / ANN / name)
        if damaged:
            drop(self._writer, damaged)
        built = derive(self._writer, self._progress)
        return [f"search structures: {built} built again from the vectors"] if damaged or built else []

    @cached_property
    def _encoder(self) -> Encoder:
        """Load what encoded the passages, so that they get the same vectors; else the index's own copy of it."""
        named = self._writer.settings["encoder"]
        try:
            encoder = load_encoder(named["model"], progress=self._progress)
            check_encoder(self._folder, self._writer.settings, encoder.fingerprint, encoder.name)
        except (ModelError, IncompatibleIndex) as error:
            self._progress.note(f"{error}; encoding with the index's own copy of the encoder")
            encoder = load_stored_encoder(self._folder / ENCODER / named["fingerprint"])
        return encoder

    def _restore_encoder(self) -> str:
        """Store the encoder again, from the model that the settings name, if that is still the same model."""
        named = self._writer.settings["encoder"]
        place = self._folder / ENCODER / named["fingerprint"]
        try:
            encoder = load_encoder(named["model"], progress=self._progress)
            check_encoder(self._folder, self._writer.settings, encoder.fingerprint, encoder.name)
            beside = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
            beside.mkdir()
            store_encoder(encoder, beside)
        except (ModelError, IncompatibleIndex) as error:
            raise DamagedIndex(
                f"{place}: the encoder is damaged and cannot be made again ({error}); make {named['name']} available "
                "and repair again, or move the index aside and make it anew with: searchengine index FOLDER"
            ) from error
        sealed(beside, self._folder)
        self._aside.move(place)
        beside.rename(place)
        files = sealed(place, self._folder)
        with self._writer.catalog.transaction() as connection:
            connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{ENCODER}/")))
            self._writer.record(connection, files)
        self._writer.after_commit()
        return f"encoder: stored again from {named['name']}"

    def _rebuild_segment(self, name: str, *, encode: bool) -> str:
        columns = select(
            PASSAGES.c.id, PASSAGES.c.document, PASSAGES.c.row, DOCUMENTS.c.title, PASSAGES.c.heading, PASSAGES.c.text
        )
        with self._writer.catalog.reading() as connection:
            wanted = columns.join(DOCUMENTS).where(PASSAGES.c.segment == name).order_by(PASSAGES.c.id)
            rows = connection.execute(wanted).all()
            (count,) = connection.execute(select(SEGMENTS.c.rows).where(SEGMENTS.c.id == name)).one()
        ids, documents, at = np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3).T
        aside = self._aside.move(self._folder / SEGMENTS_FOLDER / name)
        if encode:
            vectors = self._encode([searchable(*row[3:]) for row in rows])
        else:
            vectors = _codes(aside / VECTORS, count, self._writer.dimension)[at]
        replace_segments(self._writer, [name], [vectors], ids, documents)
        how = "encoded again" if encode else "numbered again from the catalog"
        return f"segment {name}: {len(rows)} passages {how}"

    def _encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.empty((len(texts), self._writer.dimension), dtype=np.float16)
        self._progress.start("encode", len(texts), "passages")
        for begin in range(0, len(texts), _BLOCK):
            block = texts[begin : begin + _BLOCK]
            vectors[begin : begin + len(block)] = self._encoder.encode_passages(block)
            self._progress.advance(len(block))
        self._progress.finish()
        return vectors

    def _rebuild_postings(self) -> str:
        with self._writer.catalog.reading() as connection:
            paths = connection.execute(select(FILES.c.path).where(FILES.c.path.startswith(f"{LEXICAL}/"))).scalars()
            for place in sorted({(self._folder / path).parent for path in paths}):
                self._aside.move(place)
        self._writer.rewrite_postings()
        return "postings: written again from the texts"


def _codes(path: Path, rows: int, dimension: int) -> np.ndarray:
    """Read a sound vector file's codes, which are its tail: float16 [rows, dimension]."""
    return np.memmap(
        path, dtype="<f2", mode="r", offset=path.stat().st_size - 2 * rows * dimension, shape=(rows, dimension)
    )
