"""Runs the crash tests at length from one seed and prints what they counted; exit code 1 when anything was wrong.

``python -m tests.soak --seed N``; ``--share 0.1`` runs a tenth of everything, ``--only kills`` one part. Whatever
fails keeps its directory, named in the message, and comes again with the same seed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from indexer.verify import verify
from tests.crash.fuzz import fuzz
from tests.crash.kill import kill_at_random_times, kill_everywhere, refuse_everywhere
from tests.crash.oracle import Tally
from tests.crash.readers import query_under_writes
from tests.crash.replay import lose_power, missing_flushes

Row = tuple[str, object]
ROOT = Path(__file__).parents[2]
SPARE_FLUSHES = {"catalog.sqlite-journal"}  # see tests/crash/test_power_loss.py


class Failures(list[str]):
    """Sentences about what was wrong, over all parts."""


def _tallied(tally: Tally, what: str, failures: Failures) -> list[Row]:
    failures.extend(sentence for _, sentence in tally.failures)
    counted = [(what, tally.points), ("  documents acknowledged and looked for", tally.acknowledged)]
    kinds = {"lost": "lost", "phantom": "phantom", "unopenable": "failed to open", "wrong answer": "wrong answers"}
    rows = [(f"  {name}", tally.count(kind)) for kind, name in kinds.items()]
    other = len(tally.failures) - sum(tally.count(kind) for kind in kinds)
    return [*counted, *rows, ("  other failures", other)]


def kills(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Kill at system calls: two scripts, so that there are more than a thousand points to choose from."""
    rows = []
    for number in range(2):
        (place / str(number)).mkdir()
        tally = kill_everywhere(place / str(number), seed + number, int(500 * share))
        rows += _tallied(tally, f"system calls killed at, script {number + 1}", failures)
    return rows


def times(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Kill at random times."""
    return _tallied(kill_at_random_times(place, seed, int(500 * share)), "random times killed at", failures)


def power(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Replay power cuts of four scripts, and one script with each kind of flush left out in turn."""
    rows = []
    for number in range(4):
        (place / str(number)).mkdir()
        tally = lose_power(place / str(number), seed + number, int(500 * share))
        rows += _tallied(tally, f"power cuts replayed, script {number + 1}", failures)
    caught = missing_flushes(place, seed)
    missed = sorted(kind for kind, state in caught.items() if state is None and kind not in SPARE_FLUSHES)
    failures.extend(f"leaving out the flush of {kind} was not noticed (seed {seed})" for kind in missed)
    needed = len(caught.keys() - SPARE_FLUSHES)
    return [*rows, ("kinds of flush left out", needed), ("  noticed", needed - len(missed))]


def refusals(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Let the disk be full or fail."""
    return _tallied(refuse_everywhere(place, seed, int(300 * share)), "disk errors injected", failures)


def readers(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Query from eight processes while one writes."""
    reading = query_under_writes(place / "index", seed, readers=8, seconds=max(60 * share, 5))
    failures.extend(f"reader: {error} (seed {seed})" for error in reading.errors[:10])
    return [
        ("queries during writes", reading.queries),
        ("  commits meanwhile", reading.commits),
        ("  generations answered from", reading.generations),
        ("  p50, p99 in ms", f"{reading.slowest(0.5):.1f}, {reading.slowest(0.99):.1f}"),
        ("  errors", len(reading.errors)),
    ]


def machine(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Run random sequences of operations against a dictionary."""
    examples = max(int(2000 * share), 10)
    program = [sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={seed}", "--timeout=0"]
    run = subprocess.run(
        [*program, "tests/properties/test_index_state_machine.py"],
        cwd=ROOT,
        env={**os.environ, "SEARCHENGINE_EXAMPLES": str(examples), "SEARCHENGINE_STEPS": "30"},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        failures.append(f"state machine (seed {seed}): {run.stdout[-3000:]}")
    return [("random sequences of operations", examples), ("  failed", int(run.returncode != 0))]


def flips(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Flip single bits in files of every kind: ``verify`` finds each, no query answers otherwise without a word."""
    from tests.indexer.damage import copy_of, kinds, make_sample, outcome

    chance = random.Random(seed)
    sample = make_sample(place / "sample")
    tried = found = different = 0
    for number in range(int(1000 * share)):
        index = copy_of(sample, place / f"flip{number}")
        kind, path = chance.choice(sorted(kinds(index).items()))
        content = bytearray((index / path).read_bytes())
        at = chance.randrange(8 * len(content))
        content[at // 8] ^= 1 << at % 8
        (index / path).unlink()  # copies are hard links
        (index / path).write_bytes(content)
        tried += 1
        seen, said = bool(verify(index)), outcome(index, sample.answers)
        found += seen
        different += said.startswith("WRONG")
        if not seen or said.startswith("WRONG"):
            failures.append(f"bit {at} of {path} ({kind}): found {seen}, query {said} (seed {seed})")
        shutil.rmtree(index)
    return [("bits flipped", tried), ("  found by verify", found), ("  silently different answers", different)]


def files(place: Path, seed: int, share: float, failures: Failures) -> list[Row]:
    """Read mutated files of every format."""
    collections = Path(os.environ.get("SEARCHENGINE_DATA", ROOT.parent / "shared" / "data"))
    result = fuzz(place, [ROOT / "examples" / "library", collections / "docs-folder"], seed, int(10_000 * share))
    failures.extend(result.failures)
    return [
        ("files fuzzed", result.files),
        ("  read", result.read),
        ("  named with a reason", result.named),
        ("  workers that died, their file named", result.worker_deaths),
        ("  stopped at the time limit, named", result.stopped),
        ("  hangs, crashes, or gone without a word", len(result.failures)),
    ]


PARTS: dict[str, Callable[[Path, int, float, Failures], list[Row]]] = {
    part.__name__: part for part in (kills, times, power, refusals, readers, machine, flips, files)
}


def main() -> int:
    """Run the parts and print the table."""
    options = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--share", type=float, default=1.0, help="how much of everything to run")
    options.add_argument("--only", choices=PARTS, action="append")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}, share {chosen.share}", flush=True)
    failures = Failures()
    for name in chosen.only or PARTS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"soak-{name}-") as place:
            rows = PARTS[name](Path(place), chosen.seed, chosen.share, failures)
        for label, value in rows:
            print(f"{label:<44}{value:>16,}" if isinstance(value, int) else f"{label:<44}{value:>16}")
        print(f"  seconds{'':<36}{time.monotonic() - started:>15.0f}", flush=True)
    for sentence in failures:
        print(sentence, file=sys.stderr)
    print(f"{'failures':<44}{len(failures):>16,}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
