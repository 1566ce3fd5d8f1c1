"""The tests over queries equal enumeration where that is possible, and scipy where it is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks import significance
from benchmarks.significance import bootstrap_interval, compare, holm, randomisation_test

EIGHTHS = st.integers(-16, 16).map(lambda number: number / 8)  # exact in binary: sums do not depend on their order


def enumerated(differences):
    """Compute the randomisation test's p by trying every swap."""
    observed = abs(sum(differences))
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(pattern, differences, strict=True))) for pattern in signs]
    return sum(value >= observed for value in sums) / len(sums)


@given(st.lists(EIGHTHS, min_size=1, max_size=9))
def test_few_queries_are_enumerated_exactly(differences):
    assert randomisation_test(differences) == enumerated(differences)


@settings(max_examples=20, deadline=None)
@given(st.lists(EIGHTHS, min_size=6, max_size=10), st.integers(0, 5))
def test_sampling_agrees_with_enumeration(differences, seed):
    exact = enumerated(differences)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(significance, "EXACT_UP_TO", 0)
        if not any(differences):
            return  # nothing is left to sample
        sampled = randomisation_test(differences, samples=20_000, seed=seed)
    assert sampled == pytest.approx(exact, abs=5 * np.sqrt(0.25 / 20_000))


def test_many_queries_agree_with_scipy():
    differences = np.random.default_rng(1).normal(0.02, 0.2, 300)
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(2)
    )
    assert randomisation_test(differences) == pytest.approx(found.pvalue, abs=0.015)


def test_chunks_change_nothing(monkeypatch):
    differences = np.random.default_rng(1).normal(0.02, 0.2, 40)
    whole = randomisation_test(differences, samples=2000)
    monkeypatch.setattr(significance, "CHUNK_VALUES", 999)
    assert randomisation_test(differences, samples=2000) == pytest.approx(whole, abs=0.05)
    assert sum(significance.chunks(2000, 40)) == 2000
    assert max(significance.chunks(2000, 40)) * 40 <= 999


def test_p_is_uniform_enough_where_nothing_differs():
    generator = np.random.default_rng(3)
    values = [randomisation_test(generator.normal(0, 1, 30), samples=500, seed=seed) for seed in range(300)]
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_p_is_never_zero_and_one_without_a_difference():
    assert 0 < randomisation_test(np.ones(100), samples=1000) <= 0.001
    assert randomisation_test(np.zeros(5)) == 1.0
    assert randomisation_test([0.1] * 3 + [-0.1] * 3) == 1.0  # a sum of exactly nothing but for rounding


def test_the_interval_agrees_with_scipy():
    differences = np.random.default_rng(4).normal(0.05, 0.3, 200)
    expected = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert bootstrap_interval(differences) == pytest.approx((expected.low, expected.high), abs=0.002)
    low, high = bootstrap_interval(differences, confidence=0.5)
    assert expected.low < low < differences.mean() < high < expected.high


def test_the_same_seed_gives_the_same_figures():
    differences = np.random.default_rng(6).normal(0, 1, 50)
    assert randomisation_test(differences, seed=1) == randomisation_test(differences, seed=1)
    assert bootstrap_interval(differences, seed=1) == bootstrap_interval(differences, seed=1)
    assert bootstrap_interval(differences, seed=1) != bootstrap_interval(differences, seed=2)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_equals_its_definition(p_values):
    ordered = sorted(p_values)
    steps = [min(1.0, max((len(ordered) - j) * ordered[j] for j in range(i + 1))) for i in range(len(ordered))]
    assert sorted(holm(p_values)) == pytest.approx(steps)
    assert all(corrected >= p or corrected == 1 for corrected, p in zip(holm(p_values), p_values, strict=True))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_a_comparison_counts_wins_ties_and_losses():
    found = compare({"a": 1.0, "b": 0.5, "c": 0.0, "d": 0.25}, {"d": 0.0, "a": 0.0, "b": 0.5, "c": 0.5})
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.difference == 0.1875
    assert found.low <= found.difference <= found.high
    assert found.p == enumerated([1.0, -0.5, 0.25])


def test_swapping_the_systems_swaps_the_signs():
    generator = np.random.default_rng(7)
    a, b = ({str(number): value for number, value in enumerate(generator.random(80))} for _ in range(2))
    forward, backward = compare(a, b), compare(b, a)
    assert forward.difference == -backward.difference
    assert (forward.wins, forward.ties, forward.losses) == (backward.losses, backward.ties, backward.wins)
    assert forward.p == backward.p


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="2 queries have a value in one system only"):
        compare({"a": 1, "b": 1}, {"a": 1, "c": 1})
    for nothing in ([], [float("nan")], [[1.0]]):
        with pytest.raises(ValueError, match="at least one query"):
            randomisation_test(nothing)
        with pytest.raises(ValueError, match="at least one query"):
            bootstrap_interval(nothing)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval([1.0], confidence=1.0)
