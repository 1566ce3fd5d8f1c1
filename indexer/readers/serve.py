"""What a worker process does: take a path, read the file within limits, answer, until the parent is gone.

Run as ``python -m indexer.readers.serve`` by ReaderPool. Imports neither numpy nor torch.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import Any, BinaryIO

from indexer.errors import Unreadable
from indexer.readers import read
from indexer.readers.decode import clean
from indexer.readers.source import load
from indexer.readers.wire import Limits, frame, pack, receive

GRACE_S = 5  # the parent's own timeout comes first; these limits hold when the parent is gone
MAX_NOTES = 100
RETIRE_SHARE = 0.5  # of the memory limit: libraries that leak would one day fail an innocent file


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each request; the first message tells the limits. Ends with the stream, or after a file that grew us."""
    settings = receive(requests.read)
    if settings is None:
        return
    limits = Limits(**settings)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    own = os.getpid()
    _send(answers, {"ready": True})
    _discard(2)  # from here on, only what readers and their libraries print
    while (request := receive(requests.read)) is not None:
        _limit_time(limits.timeout_s)
        answer = _answer(request, limits)
        if os.getpid() != own:  # a reader forked and its child came back here: two voices on one pipe
            os._exit(1)
        signal.setitimer(signal.ITIMER_REAL, 0)
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answer["last"] = answer["last"] or peak_bytes > RETIRE_SHARE * limits.memory_bytes
        try:
            _send(answers, answer)
        except MemoryError:
            answer |= {"documents": [], "notes": [], "skipped": _too_large(limits), "last": True}
            _send(answers, answer)
        if answer["last"]:
            return


def main() -> None:
    """Keep the protocol's pipes to ourselves, so that a reader that prints or asks for input cannot disturb it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    _discard(0)
    _discard(1)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    with suppress(BrokenPipeError):  # the parent is gone
        serve(requests, answers)
    os._exit(0)  # without the closing of whatever a library left open


def _answer(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    notes: list[str] = []
    answer: dict[str, Any] = {"digest": "", "size": 0, "mtime_ns": 0, "documents": [], "skipped": "", "last": False}
    try:
        source = load(request["target"] or request["path"], limits.max_bytes)
        answer |= {"digest": source.digest, "size": source.size, "mtime_ns": source.mtime_ns}
        if source.digest == request["known_digest"]:
            answer["unchanged"] = True
        else:
            name = os.path.basename(request["path"])
            answer["documents"] = [pack(document) for document in read(source.data, name, notes.append)]
    except Unreadable as error:
        answer["skipped"] = str(error)
    except RecursionError:
        answer["skipped"] = "nested too deeply"
    except MemoryError:
        answer |= {"skipped": _too_large(limits), "last": True}
    except Exception as error:  # noqa: BLE001 - the one place: whatever a file does to a parser costs that file only
        answer["skipped"] = f"cannot be parsed ({type(error).__name__}: {str(error)[:80]!a})"
    answer["notes"] = [clean(note)[:300] for note in notes[:MAX_NOTES]]
    return answer


def _too_large(limits: Limits) -> str:
    return f"takes more than {limits.memory_bytes / 2**30:g} GB of memory"


def _limit_time(timeout_s: float) -> None:
    """Let the system end this process if the file takes too long and no parent is left to do it."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + timeout_s + GRACE_S) + 1, hard))
    signal.setitimer(signal.ITIMER_REAL, timeout_s + GRACE_S)


def _send(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(frame(message))
    answers.flush()


def _discard(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


if __name__ == "__main__":
    main()
