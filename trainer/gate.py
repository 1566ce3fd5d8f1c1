"""Keep a model only if it is measurably no worse: held-out nDCG@10 may fall by 0.005 at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MEASURE = "nDCG@10"
TOLERANCE = 0.005


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model is kept, and the sentence that says why."""

    kept: bool
    reason: str


def judge(before: Mapping[str, float], after: Mapping[str, float], tolerance: float = TOLERANCE) -> Verdict:
    """Compare held-out figures before and after training."""
    change = after[MEASURE] - before[MEASURE]
    sentence = f"{MEASURE} on held-out queries {before[MEASURE]:.4f} → {after[MEASURE]:.4f} ({change:+.4f})"
    if not change >= -tolerance:  # written so that not-a-number is refused too
        return Verdict(False, f"{sentence}: worse than the starting model, which stays the better choice")
    return Verdict(True, sentence)
