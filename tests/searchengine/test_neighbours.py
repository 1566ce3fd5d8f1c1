"""A passage gains by what resembles it and was found before it; none loses, and the first stays first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchengine.fusion import standard
from searchengine.hits import Candidates, Pool
from searchengine.neighbours import READ, lifted


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Candidates, Pool, np.ndarray]:
    """A ranking of up to 40 passages of few documents, its pool and vectors."""
    count = draw(st.integers(0, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2000)))
    rows = generator.normal(size=(count + 1, 5)).astype(np.float32) + draw(st.sampled_from([0.0, 0.6]))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    passages = np.sort(generator.permutation(300)[:count])
    documents = None if draw(st.booleans()) else passages // draw(st.sampled_from([1, 10, 400]))
    cosines = np.round(rows[:-1] @ rows[-1], 6)
    pool = Pool(passages, cosines, np.zeros(count, np.float32), 1.0, draw(st.sampled_from([1.0, 0.25])), documents)
    return standard(pool, 0.0, 0.1), pool, rows[:-1]


def gain(at: int, scores: list[float], cosines: np.ndarray, own: list[int], alike: float, nearest: int) -> float:
    """What one passage gains, step by step; ``cosines`` are its own to all, ``own`` the documents of all."""
    strangers = [other for other in range(len(scores)) if own[other] != own[at]]
    asked = sorted(strangers, key=lambda other: -cosines[other])[:nearest]
    gains = [
        min(1, max(0, (cosines[other] - alike) / (1 - alike))) * max(0, scores[other] - scores[at]) for other in asked
    ]
    return sum(gains) / nearest


@given(rankings(), st.sampled_from([0.0, 0.3]), st.sampled_from([1, 3, 5]), st.sampled_from([0.4, 0.75, 1.0]))
def test_passages_gain_from_the_nearest_of_other_documents_found_before_them(made, alike, nearest, share) -> None:
    found, pool, vectors = made
    after = lifted(found, pool, vectors, alike, nearest=nearest, share=share)
    assert sorted(after.passages.tolist()) == sorted(found.passages.tolist())
    assert (np.diff(after.scores) <= 0).all()
    rows = np.searchsorted(pool.passages, found.passages)
    own = rows.tolist() if pool.documents is None else pool.documents[rows].tolist()
    cosines = vectors[rows].astype(np.float64) @ vectors[rows].astype(np.float64).T
    before = found.scores.tolist()
    now = dict(zip(after.passages.tolist(), after.scores.tolist(), strict=True))
    asked = min(nearest, len(before) - 1)
    for at, passage in enumerate(found.passages.tolist()):
        expected = before[at]
        if asked > 0:
            expected += share * pool.trust * gain(at, before, cosines[at], own, alike, asked)
        assert now[passage] == pytest.approx(expected, abs=1e-4)
        assert now[passage] >= before[at] - 1e-6
    if before:
        assert after.scores[0] == pytest.approx(before[0])
        assert after.passages[0] == found.passages[0] or after.scores[0] == after.scores[1]


def test_what_resembles_the_first_passes_what_does_not() -> None:
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0.96, 0, 0.28], [0, 0, 1]], np.float32)
    pool = Pool(np.arange(4), np.zeros(4, np.float32), np.zeros(4, np.float32), 0.0)
    found = Candidates(np.array([0, 1, 2, 3]), np.array([9, 5, 4.5, 4], np.float32))
    after = lifted(found, pool, vectors, 0.0, nearest=1, share=0.5)
    assert after.passages.tolist() == [0, 2, 1, 3]
    assert after.scores.tolist() == pytest.approx([9, 4.5 + 0.5 * 0.96 * 4.5, 5, 4 + 0.5 * 0.28 * 0.5])
    one_document = Pool(pool.passages, pool.cosines, pool.bm25, 0.0, 1.0, np.zeros(4, np.int64))
    assert lifted(found, one_document, vectors, 0.0).passages.tolist() == [0, 1, 2, 3]


def test_no_more_than_the_first_hundred_move_and_an_index_of_equal_passages_keeps_its_order() -> None:
    count = READ + 50
    vectors = np.tile(np.array([[1, 0]], np.float32), (count, 1))
    pool = Pool(np.arange(count), np.zeros(count, np.float32), np.zeros(count, np.float32), 0.0)
    scores = np.linspace(9, 1, count).astype(np.float32)
    found = Candidates(np.arange(count), scores)
    assert lifted(found, pool, vectors, 1.0) is found  # any two passages are alike: none resembles another more
    after = lifted(found, pool, vectors, 0.5)
    assert after.scores[READ:].tolist() == scores[READ:].tolist()
    assert set(after.passages[:READ].tolist()) == set(range(READ))
