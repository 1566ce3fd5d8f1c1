"""One writer at a time, named to the second one.

An flock on ``write.lock``: the kernel lets go of it when its holder dies, so a dead process is no obstacle. The file's
text (pid, host, start, command) only informs; it is never the lock itself, and a copied folder carries no lock along.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from indexer.durable import storage_errors
from indexer.errors import IndexBusy

_RETRY_S = 0.05


class WriterLock:
    """Hold the right to write to one index. A context manager; not reentrant."""

    def __init__(self, path: Path, *, wait_s: float = 0.0) -> None:
        self._path = path
        self._wait_s = wait_s
        self._descriptor = -1

    def __enter__(self) -> WriterLock:
        """Take the lock; raise IndexBusy naming the holder when it is still held after ``wait_s``."""
        with storage_errors("opening the write lock"):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = _describe(os.pread(self._descriptor, 4096, 0))
                    os.close(self._descriptor)
                    raise IndexBusy(
                        f"{self._path.parent}: another process is writing: {holder} "
                        "(let it finish, or wait for it with --wait SECONDS)"
                    ) from None
                time.sleep(_RETRY_S)
        holder_line = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "start": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": " ".join(sys.argv)[:500],
        }
        with suppress(OSError):  # on a full disk the lock holds all the same, only without its holder's name
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(holder_line).encode(), 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of the lock: by name, because a child that is just being started holds the descriptor too."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def _describe(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"pid {holder['pid']} on {holder['host']} since {holder['start']} ({holder['command'][:80]})"
    except (ValueError, KeyError, TypeError):
        return "a process that has not given its name yet"
