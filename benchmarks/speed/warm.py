"""Time an index's warm queries in a process that does nothing else, so that its memory is theirs alone.

    python -m benchmarks.speed.warm INDEX QUESTIONS [--modes bm25,dense,hybrid]

QUESTIONS is a JSON list of texts. Writes one JSON line: milliseconds of each question, by mode.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import searchengine

MODES = ("bm25", "dense", "hybrid")
WARM_UP = 5


def main() -> None:
    """Read the command line, ask, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("index", type=Path)
    options.add_argument("questions", type=Path)
    options.add_argument("--modes", default=",".join(MODES))
    chosen = options.parse_args()
    questions = json.loads(chosen.questions.read_text(encoding="utf-8"))
    measured: dict[str, list[float]] = {}
    with searchengine.open(chosen.index) as searcher:
        for mode in chosen.modes.split(","):
            for question in questions[:WARM_UP]:
                searcher.search(question, mode=mode)
            measured[mode] = []
            for question in questions:
                started = time.perf_counter()
                searcher.search(question, mode=mode)
                measured[mode].append(1000 * (time.perf_counter() - started))
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
