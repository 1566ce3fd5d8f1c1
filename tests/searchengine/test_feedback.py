"""Feedback moves a query towards what it found first, the more so the more of its words that has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchengine.feedback import READ, ask_again, towards
from searchengine.fusion import standard
from searchengine.hits import Pool


@st.composite
def pools(draw: st.DrawFn) -> tuple[Pool, np.ndarray, np.ndarray]:
    """A pool of up to 30 passages with its vectors, and a query's vector."""
    count = draw(st.integers(0, 30))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    rows = generator.normal(size=(count + 1, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors, vector = rows[:-1], rows[-1]
    bm25 = np.maximum(generator.normal(size=count), 0).astype(np.float32) * draw(st.sampled_from([0, 1, 9]))
    passages = np.sort(generator.permutation(200)[:count])
    trust = draw(st.sampled_from([1.0, 0.3]))
    return Pool(passages, np.round(vectors @ vector, 6), bm25, 5.0, trust), vectors, vector


def moments_of(vectors: np.ndarray):
    def moments(vector: np.ndarray) -> tuple[float, float]:
        products = vectors.astype(np.float64) @ vector.astype(np.float64)
        return (products.mean(), products.std()) if len(products) else (0.0, 0.0)

    return moments


@given(pools())
def test_asking_again_is_rocchio_with_softmax_weights(made: tuple[Pool, np.ndarray, np.ndarray]) -> None:
    pool, vectors, vector = made
    moments = moments_of(vectors)
    first = standard(pool, *moments(vector))
    rows = [pool.passages.tolist().index(passage) for passage in first.passages[:READ].tolist()]
    moved = vector.astype(np.float64)
    if rows:
        weights = np.exp(2 * (first.scores[:READ].astype(np.float64) - first.scores[0]))
        centre = sum(weight * vectors[row].astype(np.float64) for weight, row in zip(weights, rows, strict=True))
        moved = moved + min(1, max(pool.bm25.tolist()) / pool.full) * pool.trust * centre / np.linalg.norm(centre)
    again = ask_again(pool, vectors, vector, moments)
    assert sorted(again.passages.tolist()) == pool.passages.tolist()
    expected = standard(Pool(pool.passages, vectors @ moved, pool.bm25, pool.full, pool.trust), *moments(moved))
    place = dict(zip(expected.passages.tolist(), expected.scores.tolist(), strict=True))
    assert again.scores.tolist() == pytest.approx([place[p] for p in again.passages.tolist()], abs=1e-3)
    assert (np.diff(again.scores) <= 0).all()


def test_a_passage_that_stands_out_is_all_that_is_added() -> None:
    vector, first, second = np.eye(3, dtype=np.float32)
    moved = towards(vector, np.stack([first, second]), np.array([20.0, 0.0], np.float32), 0.5)
    assert moved.tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)


def test_without_any_word_found_the_query_stays_where_it_is() -> None:
    vectors = np.eye(4, dtype=np.float32)
    vector = np.array([0.6, 0.8, 0, 0], np.float32)
    pool = Pool(np.arange(4), vectors @ vector, np.zeros(4, np.float32), 7.0)
    assert pool.coverage() == 0
    again = ask_again(pool, vectors, vector, moments_of(vectors))
    assert again.passages.tolist() == [1, 0, 2, 3]
    assert again.scores.tolist() == standard(pool, *moments_of(vectors)(vector)).scores.tolist()


def test_passages_alike_are_averaged() -> None:
    vector, first, second = np.eye(3, dtype=np.float32)
    moved = towards(vector, np.stack([first, second]), np.array([3.0, 3.0], np.float32), 0.8)
    assert moved.tolist() == pytest.approx([1, 0.8 * 0.5**0.5, 0.8 * 0.5**0.5], abs=1e-6)


def test_passages_that_cancel_each_other_move_nothing() -> None:
    vector, first, _ = np.eye(3, dtype=np.float32)
    assert towards(vector, np.stack([first, -first]), np.array([1.0, 1.0]), 1).tolist() == vector.tolist()
    assert towards(vector, np.empty((0, 3)), np.empty(0), 1).tolist() == vector.tolist()
