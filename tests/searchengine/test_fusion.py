"""Fusion is compared with formulas written out per passage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchengine.fusion import LEAST_TRUST, LEXICAL_SPAN, READABLE, convex, reciprocal_rank, standard, trust
from searchengine.hits import Candidates, Pool


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    """A ranked list as a retriever gives it: best first, ties by passage id."""
    scored = draw(st.dictionaries(st.integers(0, 40), st.integers(-64, 64), max_size=25))
    ranked = sorted(scored.items(), key=lambda item: (-item[1], item[0]))
    return Candidates(
        np.array([passage for passage, _ in ranked], dtype=np.int64),
        np.array([score / 8 for _, score in ranked], dtype=np.float32),
    )


def scaled(ranked: Candidates) -> dict[int, float]:
    scores = dict(zip(ranked.passages.tolist(), ranked.scores.tolist(), strict=True))
    low, high = min(scores.values(), default=0), max(scores.values(), default=0)
    return {passage: (score - low) / (high - low) if high > low else 1.0 for passage, score in scores.items()}


@given(dense=candidates(), lexical=candidates(), weight=st.floats(0, 1))
def test_convex_fusion_is_the_weighted_sum_of_min_max_scores(
    dense: Candidates, lexical: Candidates, weight: float
) -> None:
    left, right = scaled(dense), scaled(lexical)
    expected = {p: weight * left.get(p, 0.0) + (1 - weight) * right.get(p, 0.0) for p in left.keys() | right.keys()}
    fused = convex(dense, lexical, weight)
    assert set(fused.passages.tolist()) == set(expected)
    assert fused.scores.tolist() == pytest.approx([expected[p] for p in fused.passages.tolist()], abs=1e-6)
    assert (np.diff(fused.scores) <= 0).all()


@given(dense=candidates(), lexical=candidates(), eighths=st.integers(0, 8))
def test_fusion_does_not_care_which_list_is_named_first(dense: Candidates, lexical: Candidates, eighths: int) -> None:
    weight = eighths / 8  # exact in binary: the two must be equal, not close
    forward, mirrored = convex(dense, lexical, weight), convex(lexical, dense, 1 - weight)
    assert forward.passages.tolist() == mirrored.passages.tolist()
    assert forward.scores.tolist() == mirrored.scores.tolist()


@given(dense=candidates(), lexical=candidates())
def test_reciprocal_rank_fusion_sums_one_over_sixty_plus_rank(dense: Candidates, lexical: Candidates) -> None:
    expected: dict[int, float] = {}
    for ranked in (dense, lexical):
        for rank, passage in enumerate(ranked.passages.tolist(), start=1):
            expected[passage] = expected.get(passage, 0.0) + 1 / (60 + rank)
    fused = reciprocal_rank(dense, lexical)
    assert fused.scores.tolist() == pytest.approx([expected[p] for p in fused.passages.tolist()], rel=1e-5)
    assert set(fused.passages.tolist()) == set(expected)


@given(ranked=candidates())
def test_fusing_with_nothing_keeps_the_order(ranked: Candidates) -> None:
    nothing = Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
    assert convex(ranked, nothing).passages.tolist() == ranked.passages.tolist()
    assert reciprocal_rank(nothing, ranked).passages.tolist() == ranked.passages.tolist()


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_zero_to_one_is_refused(weight: float) -> None:
    nothing = Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
    with pytest.raises(ValueError, match="dense weight"):
        convex(nothing, nothing, weight)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """A pool with cosines, and BM25 scores of which some or all may be 0."""
    scored = draw(st.dictionaries(st.integers(0, 40), st.tuples(st.integers(-8, 8), st.integers(0, 12)), max_size=25))
    passages = sorted(scored)
    return Pool(
        np.array(passages, dtype=np.int64),
        np.array([scored[passage][0] / 8 for passage in passages], dtype=np.float32),
        np.array([scored[passage][1] / 4 for passage in passages], dtype=np.float32),
        draw(st.sampled_from([0.5, 3.0, 12.0])),
        draw(st.sampled_from([1.0, 0.5, LEAST_TRUST])),
    )


@given(pool=pools(), mean=st.floats(-1, 1), spread=st.floats(0.01, 1) | st.just(0.0))
def test_standard_fusion_adds_deviations_and_the_lexical_share(pool: Pool, mean: float, spread: float) -> None:
    top = max(pool.bm25.tolist(), default=0.0)
    expected = {
        passage: pool.trust * (cosine - mean) / (spread or 1)
        + (LEXICAL_SPAN * bm25 / math.sqrt(top * pool.full) if top else 0)
        for passage, cosine, bm25 in zip(pool.passages.tolist(), pool.cosines.tolist(), pool.bm25.tolist(), strict=True)
    }
    fused = standard(pool, mean, spread)
    assert sorted(fused.passages.tolist()) == pool.passages.tolist()
    assert fused.scores.tolist() == pytest.approx([expected[p] for p in fused.passages.tolist()], rel=1e-5, abs=1e-5)
    ranked = list(zip((-fused.scores).tolist(), fused.passages.tolist(), strict=True))
    assert ranked == sorted(ranked)


@given(pool=pools(), shift=st.integers(-8, 8), factor=st.sampled_from([0.25, 0.5, 2, 4]))
def test_another_range_of_cosines_or_bm25_changes_no_score(pool: Pool, shift: int, factor: float) -> None:
    cosines = pool.cosines * np.float32(factor) + np.float32(shift)
    other = Pool(pool.passages, cosines, pool.bm25 * np.float32(factor), pool.full * factor, pool.trust)
    plain, moved = standard(pool, 0.25, 0.5), standard(other, 0.25 * factor + shift, 0.5 * factor)
    assert moved.passages.tolist() == plain.passages.tolist()
    assert moved.scores.tolist() == pytest.approx(plain.scores.tolist(), rel=1e-6, abs=1e-6)


@given(pool=pools())
def test_words_that_are_nowhere_take_weight_from_bm25(pool: Pool) -> None:
    rarer = replace(pool, full=4 * pool.full)
    plain, weaker = standard(pool, 0, 1), standard(rarer, 0, 1)
    meant = pool.trust * pool.cosines
    gained = plain.score_of(pool.passages) - meant
    assert (weaker.score_of(pool.passages) - meant).tolist() == pytest.approx((gained / 2).tolist(), abs=1e-5)
    assert rarer.coverage() <= pool.coverage() <= 1


@given(pool=pools())
def test_cosines_that_mean_little_still_rank_what_words_do_not(pool: Pool) -> None:
    wordless = replace(pool, bm25=np.zeros_like(pool.bm25))
    trusted, unread = (standard(replace(wordless, trust=much), 0.1, 0.3) for much in (1.0, LEAST_TRUST))
    assert unread.passages.tolist() == trusted.passages.tolist()


@given(readable=st.floats(0, 1), more=st.floats(0, 1))
def test_the_more_is_readable_the_more_cosines_mean(readable: float, more: float) -> None:
    less, most = sorted((readable, more))
    assert LEAST_TRUST <= trust(less) <= trust(most) <= 1
    assert (trust(most) == 1) == (most >= READABLE)
