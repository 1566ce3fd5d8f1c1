"""A file's bytes, read once and whole: never a pipe or device, never through a link, never half of a change."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass

from indexer.errors import Unreadable

CHUNK_BYTES = 1 << 20
VANISHED = "vanished before it could be read"
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO put in the file's place cannot hold us


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of a file with the size and time they had while they were read."""

    data: bytes
    size: int
    mtime_ns: int

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def load(path: str, max_bytes: int) -> Source:
    """Read a regular file; once more if it changed meanwhile. Raises Unreadable."""
    for _ in range(2):
        try:
            descriptor = os.open(path, FLAGS)
            try:
                source = _read(descriptor, max_bytes)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise Unreadable(_reason(error)) from error
        if source is not None:
            return source
    raise Unreadable("changes while it is read")


def digest(path: str) -> str | None:
    """Return the SHA-256 of a regular file in hex, None when it cannot be read."""
    try:
        descriptor = os.open(path, FLAGS)
    except (OSError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None


def _read(descriptor: int, max_bytes: int) -> Source | None:
    """Return the bytes, None when the file changed while they were read."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise Unreadable("not a regular file")
    chunks: list[bytes] = []
    length = 0
    while chunk := os.read(descriptor, CHUNK_BYTES):
        length += len(chunk)
        if length > max_bytes:  # whatever stat says: a file may grow, and those in /proc have size 0
            raise Unreadable(f"larger than {max_bytes / 2**20:g} MB")
        chunks.append(chunk)
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None
    if before.st_size and length != before.st_size:
        return None
    return Source(b"".join(chunks), after.st_size, after.st_mtime_ns)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return VANISHED
    if isinstance(error, OSError) and error.errno == 40:  # ELOOP, of O_NOFOLLOW
        return "is a link now"
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "cannot be read"
