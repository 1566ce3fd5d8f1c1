"""Choosing a setting: near the default unless the data insist, and never judged by the queries that chose it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.choice import choose, cross_validate

DISTANCES = np.array([2.0, 1.0, 0.0, 1.0, 2.0])
DEFAULT = 2


def noisy(gains: list[float], queries: int, noise: float, seed: int = 0) -> np.ndarray:
    """Five settings' values: a query's own level, a setting's gain, and noise of each pair of them."""
    generator = np.random.default_rng(seed)
    levels = generator.uniform(0, 1, queries)
    return levels + np.array(gains)[:, None] + generator.normal(0, noise, (len(gains), queries))


@settings(deadline=None)
@given(best=st.integers(0, 4), queries=st.integers(3, 60))
def test_without_noise_the_best_setting_is_chosen_and_gains_what_it_gains(best: int, queries: int) -> None:
    values = noisy([0.1 if row == best else 0.0 for row in range(5)], queries, 0)
    assert choose(values, DISTANCES) == best
    gains = cross_validate(values, DISTANCES, np.arange(queries))
    assert gains.tolist() == pytest.approx([0.0 if best == DEFAULT else 0.1] * queries)


@settings(deadline=None)
@given(queries=st.integers(1, 60), seed=st.integers(0, 99))
def test_settings_alike_leave_the_default(queries: int, seed: int) -> None:
    values = np.tile(np.random.default_rng(seed).uniform(0, 1, queries), (5, 1))
    assert choose(values, DISTANCES) == DEFAULT
    assert not cross_validate(values, DISTANCES, np.arange(queries)).any()


def test_a_small_gain_in_much_noise_is_believed_with_many_queries_only() -> None:
    gains = [0.0, 0.0, 0.0, 0.0, 0.02]
    assert choose(noisy(gains, 20, 0.2), DISTANCES) == DEFAULT
    assert choose(noisy(gains, 5000, 0.2), DISTANCES) == 4


def test_of_two_settings_within_the_noise_the_nearer_one_is_taken() -> None:
    values = np.tile(np.random.default_rng(0).uniform(0, 1, 200), (5, 1))
    values[3] += 0.1
    values[4] += 0.101 + np.tile([0.1, -0.1], 100)  # better by 0.001, with a standard error of 0.1 / √199
    assert choose(values, DISTANCES) == 3


def test_noise_alone_gains_nothing_on_queries_that_chose_nothing() -> None:
    """Choosing the highest of five noisy means looks like a gain on its own queries; cross-validated it is none."""
    found = [
        cross_validate(noisy([0] * 5, 40, 0.3, seed), DISTANCES, np.arange(40), repeats=2).mean() for seed in range(60)
    ]
    assert np.mean(found) < 2 * np.std(found) / np.sqrt(len(found))


def test_a_query_has_no_part_in_the_choice_it_is_judged_by_nor_has_its_twin() -> None:
    """Two groups that want opposite settings: each is given what the other wants, and loses."""
    groups = np.repeat([0, 1], 10)
    values = np.full((5, 20), 0.5)
    values[1] += np.where(groups == 0, 0.2, -0.2)
    values[3] += np.where(groups == 1, 0.2, -0.2)
    assert cross_validate(values, DISTANCES, groups).tolist() == pytest.approx([-0.2] * 20)
    assert cross_validate(values, DISTANCES, np.zeros(20)).tolist() == [0.0] * 20, "one group alone can choose nothing"
