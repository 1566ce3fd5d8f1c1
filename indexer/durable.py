"""How any file enters an index: written, checksummed, fsynced, and its folder fsynced after it.

The only place that fsyncs. Knows nothing of what the files mean; ``catalog.py`` decides which of them count.
A file that no catalog row names yet is invisible, so it is written under its final name; only the few files that
replace an older one (the seal) go through a temporary name and a rename.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from indexer.errors import StorageError

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the index owns: its path within the index, its size and the xxh3-128 of its bytes."""

    path: str
    size: int
    checksum: str


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an OSError of the block into the one line a user reads: disk full, read-only, not permitted."""
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise StorageError(
            f"{place}{what} failed: {error.strerror or error} (the last committed state is intact; "
            "free some space or fix the permissions, then run the same command again)"
        ) from error


def checksum_of(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its xxh3-128 as 32 hex digits, read in blocks."""
    digest, size = xxhash.xxh3_128(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def sync_file(path: Path) -> None:
    """Flush one file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk: without it, a new or renamed file can vanish with the power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a new file and flush it; the caller syncs the folder when its last file is there."""
    write_blocks(path, (data,))


def write_blocks(path: Path, blocks: Iterable[bytes | memoryview]) -> None:
    """Write a new file block by block, so that it never lies in memory whole, and flush it."""
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file whole: readers see the old bytes or the new ones, also after a power cut."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    write_bytes(temporary, data)
    temporary.replace(path)
    sync_folder(path.parent)


def sealed(folder: Path, root: Path, *, known: dict[str, StoredFile] | None = None) -> list[StoredFile]:
    """Flush every file of a folder and the folder itself; return what the catalog must know of each.

    ``known`` holds files by name whose bytes are on disk already (hard links to an older generation): neither read
    nor flushed again. Lock files (``*.lock``) belong to libraries and are not part of the index.
    """
    known = known or {}
    files = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".lock"):
            continue
        relative = path.relative_to(root).as_posix()
        if (older := known.get(path.name)) is not None:
            files.append(StoredFile(relative, older.size, older.checksum))
            continue
        sync_file(path)
        files.append(StoredFile(relative, *checksum_of(path)))
    sync_folder(folder)
    sync_folder(folder.parent)
    return files
