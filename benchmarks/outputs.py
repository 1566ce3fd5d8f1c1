"""How a result file is written: whole or not at all, and whether it can be is asked before hours of work.

Result files are the user's; files of an index are written by the indexer alone.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indexer.durable import sync_file
from indexer.errors import StorageError


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes that name when the block ends, and vanishes when it fails.

    A link is followed; a device such as /dev/stdout is given itself, as replacing it by a file would break it.
    Raises StorageError when the folder takes no file, the disk is full, or the name is a folder's.
    """
    path = path.resolve()
    if path.is_dir():
        raise StorageError(f"{path}: a folder; a file's name is expected")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        yield path
        return
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    part = Path(name)
    try:
        yield part
        sync_file(part)
        part.chmod(0o666 & ~present_umask())  # mkstemp makes files that only their owner reads
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all. Raises StorageError."""
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all, its folder made where it is missing. Raises StorageError."""
    make_folder(path.parent)
    write_text(path, json.dumps(value, indent=1) + "\n")


def check_file(path: Path) -> None:
    """Raise StorageError unless a file can be written at this path. Leaves what is there as it is."""
    path = path.resolve()
    if path.is_dir():
        raise StorageError(f"{path}: a folder; a file's name is expected")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return
    try:
        with tempfile.NamedTemporaryFile(prefix=".writable.", dir=path.parent):
            pass
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Make a folder for result files, its parents too, and check that it takes files. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: no folder can be made there: {error.strerror}") from error
    check_file(path / "result")


def present_umask() -> int:
    """Read the process's umask; the system has no call that only reads it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
