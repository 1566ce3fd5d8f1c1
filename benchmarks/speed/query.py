"""A cold query, process start included, against `python -c "import torch"`; and warm queries within one process.

    python -m benchmarks.speed.query INDEX --rounds 10

Cold runs alternate with the import, so that both see the same noise. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import searchengine
from benchmarks.machine import machine_line

QUESTION = "does a low dose of aspirin protect the heart of older people?"


def seconds_of(*words: str) -> float:
    """Time one process from start to end."""
    started = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Read the command line, measure, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("index", type=Path)
    options.add_argument("--rounds", type=int, default=10)
    chosen = options.parse_args()
    program = str(Path(sys.executable).with_name("searchengine"))
    rows: dict[str, list[float]] = {"import torch": [], "hybrid": [], "bm25": [], "--help": []}
    for _ in range(chosen.rounds):
        rows["import torch"].append(seconds_of(sys.executable, "-c", "import torch"))
        for mode in ("hybrid", "bm25"):
            words = ("query", QUESTION, "--index", str(chosen.index), "--mode", mode)
            rows[mode].append(seconds_of(program, *words))
        rows["--help"].append(seconds_of(program, "--help"))
    base = statistics.median(rows["import torch"])
    lines = [machine_line(), f"cold, {chosen.rounds} processes each: median seconds, share of the import"]
    lines += [
        f"  {name:<14}{statistics.median(t):>7.3f}{statistics.median(t) / base:>7.2f}" for name, t in rows.items()
    ]
    with searchengine.open(chosen.index) as searcher:
        _, passages = searcher.count()
        lines.append(f"warm, {passages:,} passages: median milliseconds")
        for mode in ("bm25", "dense", "hybrid"):
            taken = []
            for _ in range(100):
                started = time.perf_counter()
                searcher.search(QUESTION, mode=mode)
                taken.append(1000 * (time.perf_counter() - started))
            lines.append(f"  {mode:<14}{statistics.median(taken):>7.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
