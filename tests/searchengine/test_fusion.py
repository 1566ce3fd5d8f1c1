"""Fusion is compared with formulas written out per passage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchengine.fusion import convex, reciprocal_rank
from searchengine.hits import Candidates


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
