"""One changed file in a large index: from the command to the answer that holds it, and where the time goes.

    python -m benchmarks.speed.update --passages 100000 --rounds 5

The index is made of synthetic vectors and texts, five passages a file, as if its folder had been indexed; one file is
then rewritten, ``searchengine index`` run, and a query asked that only the new text answers. `python -c "import torch"`
is timed beside it, so that the ratio says something on another machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine_line
from benchmarks.scale.synthetic import write_folder
from benchmarks.speed.query import seconds_of

PASSAGES_A_FILE = 5


def main() -> None:
    """Read the command line, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--passages", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", type=Path, help="write the figures here, too")
    options.add_argument("--keep", type=Path, help="make the folder here and keep it; one that is there is used again")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = chosen.keep or Path(scratch) / "update"
        folder, index = place / "files", place / "files" / ".searchengine"
        if not folder.exists():
            write_folder(folder, index, chosen.passages // PASSAGES_A_FILE, PASSAGES_A_FILE)
        measured = measure(folder, index, chosen.rounds)
    lines = [machine_line(), f"one changed file in {chosen.passages:,} passages, medians of {chosen.rounds}: seconds"]
    lines += [f"  {name:<28}{value:>7.3f}" for name, value in measured.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    if chosen.json:
        chosen.json.write_text(json.dumps({"passages": chosen.passages, "seconds": measured}, indent=1) + "\n")


def measure(folder: Path, index: Path, rounds: int) -> dict[str, float]:
    """Change a file so many times and time each step: {step: median seconds}."""
    program = str(Path(sys.executable).with_name("searchengine"))
    steps: dict[str, list[float]] = {
        "import torch": [],
        "index, nothing changed": [],
        "index, one file changed": [],
        "query that finds it": [],
        "command to answer": [],
    }
    changed = sorted(folder.glob("*.txt"))[0]
    for number in range(rounds):
        steps["import torch"].append(seconds_of(sys.executable, "-c", "import torch"))
        steps["index, nothing changed"].append(seconds_of(program, "index", str(folder)))
        word = f"zebrafish{time.time_ns()}"
        changed.write_text(f"The {word} swims upstream in spring, number {number}.\n")
        steps["index, one file changed"].append(seconds_of(program, "index", str(folder)))
        started = time.perf_counter()
        asked = (program, "query", word, "--index", str(index), "--mode", "bm25", "--json")
        said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        steps["query that finds it"].append(time.perf_counter() - started)
        if json.loads(said)[0]["document"] != changed.name:
            raise RuntimeError(f"{word} was indexed and is not found")
        steps["command to answer"].append(steps["index, one file changed"][-1] + steps["query that finds it"][-1])
    return {name: statistics.median(taken) for name, taken in steps.items()}


if __name__ == "__main__":
    main()
