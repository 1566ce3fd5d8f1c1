"""What a member's settings may be: one sentence for every one that is out of its range."""

from __future__ import annotations

import math

from indexer.errors import UsageError


def within(name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False) -> None:
    """Refuse a setting that is no number in [low, high], or no whole one where ``whole``.

    Raises UsageError naming the setting, its value and the range; infinity, not-a-number and True lie in no range.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high:
        return
    noun = "a whole number" if whole else "a number"
    span = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    raise UsageError(f"{name} must be {noun} {span}, not {value!r}")


def rates(**values: object) -> None:
    """Refuse a rate outside [0, 1]."""
    for name, value in values.items():
        within(name, value, 0, 1)
