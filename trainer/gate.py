"""Keep a model only if it is measurably no worse: held-out nDCG@10 may fall by 0.005 at most.

Without labels more is asked for: a gain on pseudo queries beyond chance, since those are easier to please than people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.significance import compare
from trainer.evaluate import MEASURE

TOLERANCE = 0.005
CHANCE = 0.05


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


def judge_gain(*measures: tuple[Mapping[str, float], Mapping[str, float]]) -> Verdict:
    """Compare each held-out pseudo query's nDCG@10 before and after: by meaning, and fused with its words.

    Their mean must gain beyond chance, and neither may fall by more than the tolerance.
    """
    both = [(mean(before), mean(after)) for before, after in measures]
    started, ended = averaged([before for before, _ in measures]), averaged([after for _, after in measures])
    found = compare(ended, started)
    figures = ", with words ".join(f"{start:.4f} → {end:.4f}" for start, end in both)
    sentence = (
        f"{MEASURE} on held-out pseudo queries {figures} "
        f"({found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p {found.p:.4f})"
    )
    if any(not end - start >= -TOLERANCE for start, end in both):
        return Verdict(False, f"{sentence}: worse than the starting model, which stays the better choice")
    if found.difference > 0 and found.p < CHANCE:
        return Verdict(True, sentence)
    return Verdict(False, f"{sentence}: no gain beyond chance, so the starting model stays")


def judge_also(first: Verdict, before: Mapping[str, float], after: Mapping[str, float]) -> Verdict:
    """Let judged queries have the last word: where their mean does not rise, the model goes."""
    sentence = f"{first.reason}; on judged queries {mean(before):.4f} → {mean(after):.4f}"
    if mean(after) > mean(before):
        return Verdict(True, sentence)
    return Verdict(False, f"{sentence}: no gain there, so the starting model stays")


def averaged(sides: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each query over several measures."""
    return {query: sum(side[query] for side in sides) / len(sides) for query in sides[0]}


def mean(values: Mapping[str, float]) -> float:
    """Average the queries' values."""
    return sum(values.values()) / max(1, len(values))
