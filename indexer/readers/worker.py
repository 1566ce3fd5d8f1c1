"""The limited processes that readers run in, as their parent sees them: a crash, a hang or a bomb costs one file.

Workers are fresh processes, never forks, each in a session of its own. What they do is in ``serve.py``.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from indexer.readers.source import digest
from indexer.readers.wire import FileRequest, FileResult, Limits, frame, receive, unpack

__all__ = ["FileRequest", "FileResult", "ReaderPool", "digest"]

COMMAND = (sys.executable, "-P", "-m", "indexer.readers.serve")  # -P: no module comes from the current folder
START_TIMEOUT_S = 60.0  # a cold disk, a loaded machine
LOOK_AHEAD = 4  # requests in flight a worker: enough that workers do not wait while the caller encodes
TIME_SIGNALS = (signal.SIGXCPU, signal.SIGALRM)
PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


class ReaderPool:
    """Reads files in ``jobs`` worker processes, started when first needed."""

    def __init__(
        self,
        jobs: int = 1,
        *,
        timeout_s: float = 30.0,
        memory_bytes: int = 2 * 2**30,
        max_bytes: int = 50 * 2**20,
        command: Sequence[str] = COMMAND,
    ):
        if jobs < 1:
            raise ValueError(f"at least one job is needed, not {jobs}")
        self._jobs = jobs
        self._limits = Limits(timeout_s, memory_bytes, max_bytes)
        self._command = tuple(command)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        # A thread a worker: it waits for the answer while the caller does something else; it parses nothing.
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="reader")

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, requests: Iterable[FileRequest]) -> Iterator[FileResult]:
        """Yield a result for each request, in their order; requests are taken only a little ahead of the results.

        Raises RuntimeError when workers cannot be started.
        """
        pending: deque[Future[FileResult]] = deque()
        source = iter(requests)
        try:
            while True:
                while len(pending) < LOOK_AHEAD * self._jobs:
                    request = next(source, None)
                    if request is None:
                        break
                    pending.append(self._threads.submit(self._read_one, request))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:  # the caller may stop early
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """End all workers at once, and wait until they are gone."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for worker in workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            workers = list(self._all)
        for worker in workers:
            worker.end()

    def _read_one(self, request: FileRequest) -> FileResult:
        worker = self._take()
        try:
            answer = worker.ask(asdict(request), self._limits.timeout_s)
        except _Failure as failure:
            self._drop(worker)
            return FileResult(request.path, skipped=failure.reason)
        except BaseException:
            self._drop(worker)
            raise
        if answer.get("last"):
            self._drop(worker)
        else:
            with self._lock:
                self._idle.append(worker)
        return FileResult(
            request.path,
            digest=answer["digest"],
            size=answer["size"],
            mtime_ns=answer["mtime_ns"],
            documents=tuple(unpack(fields) for fields in answer["documents"]),
            notes=tuple(answer["notes"]),
            skipped=answer["skipped"],
            unchanged=answer.get("unchanged", False),
        )

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool of readers is closed")
            if self._idle:
                return self._idle.pop()
            worker = _Worker(self._command)
            self._all.add(worker)
        try:
            worker.start(self._limits)
        except BaseException:
            self._drop(worker)
            raise
        return worker

    def _drop(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


class _Failure(Exception):
    """A worker did not answer; the reason is what is said about the file."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class _Worker:
    """One process and its pipes."""

    def __init__(self, command: Sequence[str]):
        environment = {**os.environ}
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = PACKAGE_ROOT + (os.pathsep + inherited if inherited else "")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C at the terminal is not theirs, and one killpg reaches their children
            env=environment,
        )
        self._to = cast(BinaryIO, self._process.stdin)
        self._from = cast(BinaryIO, self._process.stdout)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._from, selectors.EVENT_READ)

    def start(self, limits: Limits) -> None:
        """Tell the limits and wait until the worker is ready. Raises RuntimeError if it does not start."""
        try:
            self.ask(asdict(limits), START_TIMEOUT_S)
        except _Failure as failure:
            raise RuntimeError(f"a reader process cannot be started ({failure.reason})") from failure

    def ask(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a message and return the answer. Raises _Failure when none comes in time or the process ends."""
        deadline = time.monotonic() + timeout_s
        try:
            self._to.write(frame(message))
            answer = receive(lambda count: self._receive(count, deadline))
        except TimeoutError:
            raise _Failure(f"took longer than {timeout_s:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        except ValueError:
            raise _Failure("the reader's answer was garbled") from None
        if answer is None:
            raise _Failure(self._cause_of_death(timeout_s))
        return answer

    def kill(self) -> None:
        """Kill the process and all that it started; a thread that waits for its answer sees the end of the stream."""
        if self._process.returncode is None:  # not reaped yet, so that the number is still ours
            with suppress(ProcessLookupError, PermissionError):  # macOS does not permit it for a zombie
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill, close the pipes and reap: no zombie stays."""
        self.kill()
        self._selector.close()
        self._to.close()
        self._from.close()
        self._process.wait()

    def _receive(self, count: int, deadline: float) -> bytes:
        received = bytearray()
        while len(received) < count:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._selector.select(remaining):
                raise TimeoutError
            chunk = os.read(self._from.fileno(), min(count - len(received), 1 << 20))
            if not chunk:
                break
            received += chunk
        return bytes(received)

    def _cause_of_death(self, timeout_s: float) -> str:
        status = self._status()
        if status is None:
            return "the reader closed its pipe"
        if -status in TIME_SIGNALS:
            return f"took longer than {timeout_s:g} s"
        if status == -signal.SIGKILL:
            return "the reader was killed (signal 9; out of memory?)"
        if status < 0:
            return f"the reader crashed (signal {-status})"
        return f"the reader ended early (exit code {status})"

    def _status(self) -> int | None:
        """Return the exit code or minus the signal, None while it lives; unreaped, so that its group can be killed."""
        for _ in range(50):
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            time.sleep(0.1)
        return None
