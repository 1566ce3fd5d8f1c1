"""`make bench-check`: the figures of expected.toml must come out again.

    python -m benchmarks.check ../shared/data

Prints one line a figure; exits with 1 where one is off.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from benchmarks.bench import bench

EXPECTED = Path(__file__).with_name("expected.toml")


def check(collections: Path, expected: Path = EXPECTED) -> list[str]:
    """Bench every expected set below ``collections`` and return the lines of those figures that are off."""
    off = []
    for name, modes in tomllib.loads(expected.read_text()).items():
        report = bench(collections / name, modes=tuple(modes))
        for mode, figures in modes.items():
            for measure, (value, tolerance) in figures.items():
                found = report.results[mode].means[measure]
                line = f"{name:<12} {mode:<7} {measure:<8} {found:.4f}  expected {value:.4f} ± {tolerance:.3f}"
                if abs(found - value) > tolerance:
                    off.append(line)
                    line += "  OFF"
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
    return off


if __name__ == "__main__":
    sys.exit(1 if check(Path(sys.argv[1])) else 0)
