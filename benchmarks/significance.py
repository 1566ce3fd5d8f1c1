"""Is one run better than another beyond chance? Paired tests over queries; pure functions of arrays, seeded.

Knows nothing of runs and measures: it is given one value a query and system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_UP_TO = 14  # queries; 2^14 sign patterns are fewer than the default number of random ones
CHUNK_VALUES = 2**22  # at most this many values at once: 32 MiB
ROUNDING = 1e-9  # sums of one set of numbers in another order differ by less: such ties count as "at least as large"


@dataclass(frozen=True, slots=True)
class Comparison:
    """System a against system b over the same queries.

    ``difference`` is the mean of a − b, [``low``, ``high``] its confidence interval, ``p`` the chance of one at least
    as large in size if the systems were alike. Wins, ties and losses are a's.
    """

    difference: float
    low: float
    high: float
    p: float
    wins: int
    ties: int
    losses: int


def compare(a: Mapping[str, float], b: Mapping[str, float], *, samples: int = 20_000, seed: int = 0) -> Comparison:
    """Compare two systems by their value of each query.

    Raises ValueError when they do not answer the same queries, or none.
    """
    if a.keys() != b.keys():
        raise ValueError(f"{len(a.keys() ^ b.keys())} queries have a value in one system only")
    differences = np.array([a[query] - b[query] for query in sorted(a)], dtype=np.float64)
    low, high = bootstrap_interval(differences, samples=samples, seed=seed)
    return Comparison(
        float(differences.mean()),
        low,
        high,
        randomisation_test(differences, samples=samples, seed=seed),
        int((differences > 0).sum()),
        int((differences == 0).sum()),
        int((differences < 0).sum()),
    )


def randomisation_test(differences: ArrayLike, *, samples: int = 20_000, seed: int = 0) -> float:
    """Return the two-sided p value of a mean difference under random swaps of the two systems, query by query.

    differences [n]. Up to 14 queries that differ every sign pattern is tried, beyond that ``samples`` random ones, and
    then the observed one counts as one more: p is never 0. Raises ValueError without a query.
    Source: Smucker, Allan, Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007.
    """
    values = checked(differences)
    values = np.abs(values[values != 0])  # a swap changes nothing where both are equal; the sign is what is drawn
    observed = abs(checked(differences).sum())
    n = len(values)
    threshold = observed - ROUNDING * max(1.0, float(values.sum()))
    if n <= EXACT_UP_TO:
        patterns = 1 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(patterns @ values) >= threshold).mean())
    generator = np.random.default_rng(seed)
    extreme = 0
    for count in chunks(samples, n):
        signs = generator.integers(0, 2, size=(count, n), dtype=np.int8)
        # Σ ±v = 2 Σ v over the plus signs − Σ v: one product, no array of floats for the signs' own values
        extreme += int((np.abs(2 * (signs @ values) - values.sum()) >= threshold).sum())
    return (extreme + 1) / (samples + 1)


def bootstrap_interval(
    differences: ArrayLike, *, confidence: float = 0.95, samples: int = 20_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean difference over queries drawn anew with replacement.

    differences [n] → (low, high). Raises ValueError without a query, or for a confidence outside (0, 1).
    Source: Efron, "Bootstrap methods: another look at the jackknife", 1979.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, not {confidence}")
    values = checked(differences)
    generator = np.random.default_rng(seed)
    means = [
        values[generator.integers(0, len(values), size=(count, len(values)))].mean(axis=1)
        for count in chunks(samples, len(values))
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for having made several comparisons; same order, each at least what it was, at most 1.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for step, position in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[position]))
        corrected[position] = largest
    return corrected


def checked(differences: ArrayLike) -> NDArray[np.float64]:
    """Take differences as float64 [n]. Raises ValueError when there is none or one is no number."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("one finite difference a query is expected, and at least one query")
    return values


def chunks(samples: int, width: int) -> list[int]:
    """Split a number of samples so that each part times ``width`` fits in memory."""
    most = max(1, CHUNK_VALUES // width)
    return [min(most, samples - start) for start in range(0, samples, most)]
