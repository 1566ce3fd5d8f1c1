"""Kills a run of the workload at a chosen system call, or at a random time, and looks at what is left.

``strace`` counts the calls of each thread by itself, so a point is (session, call, n): the moment at which the first
thread enters its n-th such call. The product knows nothing of it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.crash.oracle import Crashed, Tally, check_open, finish
from tests.crash.workload import REFUSED, Script, script

CALLS = (
    *("write", "pwrite64", "fdatasync", "fsync", "rename", "renameat", "renameat2", "link", "linkat"),
    *("unlink", "unlinkat", "ftruncate", "mkdir", "mkdirat"),
)
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("workload.py")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": str(ROOT),
}


@cache
def needs_strace() -> None:
    """Skip where processes cannot be traced; in CI that is a failure."""
    why = "strace is not installed (apt-get install strace)"
    if shutil.which("strace"):
        probe = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True)
        if probe.returncode == 0:
            return
        why = f"strace may not trace here: {probe.stderr.strip()[:200]}"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def workload(folder: Path, seed: int, first: int, last: int, rounds: int = 1) -> list[str]:
    """Give the command line that runs some steps in a process of its own."""
    return [sys.executable, str(PROGRAM), *map(str, (folder, seed, first, last, rounds))]


def strace(log: Path | str, *options: str) -> list[str]:
    """Give the command line that traces a program with all its threads."""
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", str(log), *options]


class Runs:
    """A process that forks a run of the workload whenever one is wanted."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(PROGRAM), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def close(self) -> None:
        """End it."""
        self._server.communicate()

    def traced(self, options: list[str], arguments: list[object], output: Path) -> int:
        """Run with a tracer attached before the first step; return the exit code, −9 when killed."""
        child = self._start(arguments, output)
        tracer = subprocess.Popen(["strace", "-f", "-qq", *options, "-p", str(child)], stderr=subprocess.PIPE)
        status = Path(f"/proc/{child}/status")
        while "TracerPid:\t0\n" in status.read_text():
            if tracer.poll() is not None:
                os.kill(child, signal.SIGKILL)
                raise RuntimeError(f"strace: {tracer.communicate()[1].decode()}")
            time.sleep(0.002)
        os.kill(child, signal.SIGUSR1)
        code = self._ended()
        tracer.communicate(timeout=60)
        return code

    def killed_after(self, seconds: float, arguments: list[object], output: Path) -> int:
        """Run and send SIGKILL after some time; return the exit code."""
        child = os.pidfd_open(self._start(arguments, output))
        try:
            signal.pidfd_send_signal(child, signal.SIGUSR1)
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child, signal.SIGKILL)
        finally:
            os.close(child)
        return self._ended()

    def _start(self, arguments: list[object], output: Path) -> int:
        for path in (output, output.with_name(f"{output.name}.errors")):
            path.touch()  # the run may die before it does
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps([*map(str, arguments), str(output)]) + "\n")
        self._server.stdin.flush()
        return self._ended()

    def _ended(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def acknowledged(output: bytes) -> list[int]:
    """List the steps that a run acknowledged."""
    return [int(line.split(b" ", 3)[2]) for line in output.splitlines(keepends=True) if line.endswith(b"}\n")]


@dataclass(frozen=True)
class Point:
    """A moment to die: the n-th call of a kind within a session."""

    session: int
    call: str
    n: int


class KillRun:
    """One script, the index before each of its sessions, and every point at which a session can be killed."""

    def __init__(self, place: Path, seed: int, rounds: int = 1, workers: int = 2) -> None:
        self.place = place
        self.seed = seed
        self.rounds = rounds
        self.plan: Script = script(seed, rounds)
        self.points: list[Point] = []
        self.seconds: list[float] = []
        self._runs: SimpleQueue[Runs] = SimpleQueue()
        for _ in range(workers):
            self._runs.put(Runs())
        index = place / "growing"
        for session, (first, last) in enumerate(self.plan.sessions()):
            if index.exists():
                shutil.copytree(index, place / f"before{session}")
            log = place / "calls.log"
            started = time.monotonic()
            with self._run() as run:
                options = ["-o", str(log), "-e", f"trace={','.join(CALLS)}"]
                run.traced(options, [index, seed, first, last, rounds], place / "growing.out")
            self.seconds.append(time.monotonic() - started)
            counted: Counter[tuple[str, str]] = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE))
            for call in CALLS:
                most = max((count for (_, name), count in counted.items() if name == call), default=0)
                self.points += [Point(session, call, n) for n in range(1, most + 1)]

    def __enter__(self) -> KillRun:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._runs.empty():
            self._runs.get().close()

    @contextmanager
    def _run(self) -> Iterator[Runs]:
        run = self._runs.get()
        try:
            yield run
        finally:
            self._runs.put(run)

    def sample(self, count: int) -> list[Point]:
        """Choose points evenly over all of them, from a start that the seed decides."""
        if count >= len(self.points):
            return self.points
        start = random.Random(self.seed).random()
        return [self.points[int((at + start) * len(self.points) / count)] for at in range(count)]

    def kill(self, point: Point, tally: Tally) -> None:
        """Let a session run into a point; then everything must be there and go on."""
        # With --seccomp-bpf, strace 6.1 injects nothing.
        options = ["-o", "/dev/null", "-e", f"trace={point.call}"]
        options += ["-e", f"inject={point.call}:signal=KILL:when={point.n}"]
        name = f"s{point.session}-{point.call}-{point.n}"
        self._die(name, point.session, tally, lambda run, *what: run.traced(options, *what))

    def kill_later(self, number: int, session: int, share: float, tally: Tally) -> None:
        """Kill a session after a share of the time that it took under strace."""
        seconds = share * self.seconds[session]
        self._die(f"t{number}-s{session}", session, tally, lambda run, *what: run.killed_after(seconds, *what))

    def refuse(self, call: str, error: str, point: Point, *, once: bool, tally: Tally) -> None:
        """Let the disk refuse from a point on (or once); one line must say so, and work goes on once it obliges."""
        options = ["-o", "/dev/null", "-e", f"trace={call}"]
        options += ["-e", f"inject={call}:error={error}:when={point.n}{'' if once else '+'}"]
        name = f"s{point.session}-{call}-{error}-{point.n}{'' if once else 'on'}"
        self._die(name, point.session, tally, lambda run, *what: run.traced(options, *what))

    def _die(self, name: str, session: int, tally: Tally, die: Callable[[Runs, list[object], Path], int]) -> None:
        folder, output = self.place / name, self.place / f"{name}.out"
        before = self.place / f"before{session}"
        if before.exists():
            shutil.copytree(before, folder)
        first, last = self.plan.sessions()[session]
        with self._run() as run:
            code = die(run, [folder, self.seed, first, last, self.rounds], output)
        tally.points += 1
        tally.killed += code == -signal.SIGKILL
        try:
            said = output.with_name(f"{output.name}.errors").read_text().strip()
            if code not in (0, -signal.SIGKILL, REFUSED):
                raise Crashed("unclear", f"the run ended with {code}: {said[-700:]}")
            if code == REFUSED and (not said.startswith("StorageError: ") or "\n" in said):
                raise Crashed("unclear", f"the user would read: {said[-300:]}")
            tally.refused += code == REFUSED
            self._survived(folder, first, acknowledged(output.read_bytes()), tally)
        except Crashed as crash:
            tally.fail(crash.kind, f"killed at {name}: {crash}", folder)
        shutil.rmtree(folder, ignore_errors=True)

    def _survived(self, folder: Path, first: int, done: list[int], tally: Tally) -> None:
        at = done[-1] + 1 if done else first  # the step that was under way
        allowed = [self.plan.states[at], self.plan.states[min(at + 1, len(self.plan.steps))]]
        tally.acknowledged += len(allowed[0])
        found = check_open(folder, allowed, may_be_missing=at == 0)
        # A merge or a rewriting changes no document: doing it twice is right.
        went_on = at + 1 if found == 1 and allowed[0] != allowed[1] else at
        finish(folder, self.plan, went_on)


def kill_everywhere(place: Path, seed: int, count: int, *, workers: int = 2, rounds: int = 1) -> Tally:
    """Kill at ``count`` system calls."""
    tally = Tally(seed)
    with KillRun(place, seed, rounds, workers) as kills, ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(kills.kill, point, tally) for point in kills.sample(count)]:
            done.result()
    return tally


def refuse_everywhere(place: Path, seed: int, count: int, *, workers: int = 2) -> Tally:
    """Let the disk be full, or fail to flush, from ``count`` system calls on; every third time for one call only."""
    tally = Tally(seed)
    with KillRun(place, seed, workers=workers) as kills, ThreadPoolExecutor(workers) as pool:
        kinds = {"write": "ENOSPC", "pwrite64": "ENOSPC", "fdatasync": "EIO", "fsync": "EIO", "mkdir": "ENOSPC"}
        points = [point for point in kills.points if point.call in kinds]
        chosen = [points[number * len(points) // count] for number in range(count)] if count < len(points) else points
        for done in [
            pool.submit(
                kills.refuse,
                "write,pwrite64" if kinds[point.call] == "ENOSPC" and point.call != "mkdir" else point.call,
                kinds[point.call],
                point,
                once=number % 3 == 2,
                tally=tally,
            )
            for number, point in enumerate(chosen)
        ]:
            done.result()
    return tally


def kill_at_random_times(place: Path, seed: int, count: int, *, workers: int = 2) -> Tally:
    """Kill ``count`` runs after U(0, 1.2 × their duration)."""
    tally = Tally(seed)
    chance = random.Random(seed)
    with KillRun(place, seed, workers=workers) as kills, ThreadPoolExecutor(workers) as pool:
        sessions = len(kills.plan.sessions())
        draws = [(number, number % sessions, chance.uniform(0, 1.2)) for number in range(count)]
        for done in [pool.submit(kills.kill_later, *draw, tally) for draw in draws]:
            done.result()
    return tally
