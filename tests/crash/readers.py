"""Reader processes that query while a writer commits, merges and removes; each answer must be one generation's.

As a program (``readers.py INDEX SECONDS SEED``) it is one reader. It tells of each query the generation, a digest of
the texts it was given and how long it took; the parent knows from the writer what each generation holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from indexer.merge import merge_segments, optimize
from indexer.snapshot import Snapshot
from indexer.vectors import nearest
from indexer.writer import Writer
from tests.crash.kill import ENVIRONMENT
from tests.crash.oracle import check_open, check_sound, live
from tests.crash.workload import COMMON, State, Step, create, stage, vector

_REOPEN = 200  # a reader opens the index anew after so many queries, as a fresh process would


@dataclass
class Reading:
    """What the readers saw: wrong answers and errors are sentences."""

    seed: int
    queries: int = 0
    commits: int = 0
    generations: int = 0  # different ones that were answered from
    errors: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def slowest(self, share: float) -> float:
        """Give a quantile of the latencies, in ms."""
        return float(np.quantile(self.milliseconds, share))


def digest(texts: Iterable[str]) -> str:
    """Sum up a set of texts."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:16]


def query_under_writes(folder: Path, seed: int, *, readers: int, seconds: float) -> Reading:
    """Write for some seconds while others read, then compare all they saw with what was written."""
    reading = Reading(seed)
    create(folder)
    _acknowledged(folder).write_bytes(bytes(8))
    committed = {0: digest(())}
    command = [sys.executable, __file__, str(folder), str(seconds)]
    outputs = [folder.with_name(f"reader{number}.out") for number in range(readers)]
    children = []
    for number, output in enumerate(outputs):
        with output.open("wb") as file:  # not a pipe: a full one would stop the reader
            children.append(subprocess.Popen([*command, str(seed + number)], stdout=file, env=ENVIRONMENT))
    try:
        state = _write(folder, random.Random(seed), time.monotonic() + seconds, committed)
    finally:
        codes = [child.wait(timeout=120) for child in children]
    reading.errors += [f"a reader ended with {code}" for code in codes if code]
    reading.commits = len(committed) - 1
    seen: set[int] = set()
    for output in outputs:
        newest = 0
        for line in output.read_text().splitlines():
            said = json.loads(line)
            reading.queries += 1
            if "error" in said:
                reading.errors.append(said["error"])
                continue
            generation = said["generation"]
            seen.add(generation)
            reading.milliseconds.append(said["ms"])
            if generation < newest:
                reading.errors.append(f"generation {generation} after {newest}")
            if generation < said["at_least"]:
                reading.errors.append(f"generation {generation}, though {said['at_least']} was acknowledged before")
            if committed.get(generation) != said["digest"]:
                reading.errors.append(f"{said['how']}: not what generation {generation} holds")
            newest = generation
    reading.generations = len(seen)
    check_open(folder, [state])
    check_sound(folder)
    return reading


def _write(folder: Path, chance: random.Random, deadline: float, committed: dict[int, str]) -> State:
    """Commit, merge and optimize until the time is over; note what each generation holds."""
    state: State = {}
    number = 0

    def note(generation: int) -> None:
        for one in range(max(committed) + 1, generation):  # a merge before a rewriting: the same documents
            committed[one] = digest(text for texts in before.values() for text in texts)
        committed[generation] = digest(text for texts in state.values() for text in texts)

    acknowledged = os.open(_acknowledged(folder), os.O_RDWR)
    while time.monotonic() < deadline:
        with Writer(folder) as writer:
            for _ in range(chance.randint(3, 12)):
                number += 1
                before = state
                step = _change(chance, state, number)
                state = step.after(state)
                stage(writer, step)
                # Before the commit: a reader may see it earlier than the writer can say so.
                note(max(committed) + 1)
                if writer.commit() != max(committed):
                    raise AssertionError("a commit made more than one generation")
                os.pwrite(acknowledged, max(committed).to_bytes(8), 0)
                if chance.random() < 0.3:
                    before = state
                    merge_segments(writer, everything=chance.random() < 0.5)
                    note(writer.count()[2])
        if chance.random() < 0.3:
            before = state
            optimize(folder)
            with Writer(folder) as writer:
                note(writer.count()[2])
    os.close(acknowledged)
    return state


def _acknowledged(folder: Path) -> Path:
    """Name the file, beside the index, that holds the number of the newest acknowledged generation."""
    return folder.with_name("acknowledged")


def _change(chance: random.Random, state: State, number: int) -> Step:
    texts = tuple(f"{COMMON} w{chance.getrandbits(40):010x} gen{number}" for _ in range(chance.randint(1, 3)))
    puts = {f"note{chance.randrange(60)}.txt": texts}
    gone = chance.sample(sorted(state), min(len(state), chance.choice((0, 0, 1, 3))))
    drops = [name for name in gone if name not in puts]
    files = [name for name in state if name not in drops and name not in puts]
    moves = [(name, f"moved{number}-{name[-12:]}") for name in files[:1] if chance.random() < 0.3]
    return Step("commit", 0, puts, tuple(drops), tuple(moves))


def _read(folder: Path, seconds: float, seed: int) -> None:
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    snapshot = Snapshot(folder)
    acknowledged = os.open(_acknowledged(folder), os.O_RDONLY)
    asked = 0
    while time.monotonic() < deadline:
        asked += 1
        time.sleep(0.002)  # the writer needs a core too
        if asked % _REOPEN == 0:
            snapshot.close()
            snapshot = Snapshot(folder)
        how = chance.choice(("dense", "BM25", "catalog"))
        at_least = int.from_bytes(os.pread(acknowledged, 8, 0))
        started = time.perf_counter()
        try:
            generation, texts = _ask(snapshot, how)
        except BaseException:
            print(json.dumps({"error": f"{how}: {traceback.format_exc()[-600:]}"}), flush=True)
            continue
        took = 1000 * (time.perf_counter() - started)
        said = {"how": how, "generation": generation, "at_least": at_least, "digest": digest(texts), "ms": took}
        print(json.dumps(said))


def _ask(snapshot: Snapshot, how: str) -> tuple[int, list[str]]:
    with snapshot.reading() as generation:
        if how == "catalog":
            return generation.number, [text for texts in live(snapshot).values() for text in texts]
        found = np.empty(0, np.int64)
        if how == "dense":
            found, _ = nearest(generation.segments, vector(COMMON), 10_000)
        elif generation.postings is not None:
            found, _ = generation.postings.search(generation.postings.terms(COMMON), 10_000)
        return generation.number, [passage.text for passage in snapshot.passages(found.tolist())]


if __name__ == "__main__":
    _read(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
