"""Blending two orders, late interaction, and a reranker's place in a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import ModelError, UsageError
from indexer.format import ENCODER
from searchengine import Searcher
from searchengine.fusion import trust
from searchengine.hits import Candidates
from searchengine.rerank import LATE_WEIGHT, blend, max_sim

VALUES = st.floats(-100, 100, width=32)


@st.composite
def lists(draw: st.DrawFn) -> tuple[Candidates, np.ndarray]:
    first = sorted(draw(st.lists(VALUES, min_size=1, max_size=12)), reverse=True)
    passages = draw(st.permutations(range(len(first))))
    read = draw(st.integers(0, len(first)))
    scores = draw(st.lists(VALUES, min_size=read, max_size=read))
    return Candidates(np.array(passages), np.array(first, np.float32)), np.array(scores, np.float32)


@given(lists(), st.floats(0, 1))
def test_a_blend_keeps_every_passage_and_what_was_not_read_stays_behind_in_its_order(
    given: tuple[Candidates, np.ndarray], weight: float
) -> None:
    first, scores = given
    mixed = blend(first, scores, weight)
    read = len(scores)
    assert sorted(mixed.passages[:read]) == sorted(first.passages[:read])
    assert mixed.passages[read:].tolist() == first.passages[read:].tolist()
    assert (np.diff(mixed.scores) <= 0).all()


@given(lists())
def test_a_share_of_all_is_the_rerankers_order_and_of_nothing_the_lists_own(
    given: tuple[Candidates, np.ndarray],
) -> None:
    first, scores = given
    read = len(scores)
    alone = blend(first, scores, 1.0)
    expected = sorted(range(read), key=lambda at: (-float(scores[at]), int(first.passages[at])))
    if len(set(scores.tolist())) == read and (not read or np.diff(np.sort(scores)).min(initial=1) > 1e-3):
        assert alone.passages[:read].tolist() == [int(first.passages[at]) for at in expected]
    unmoved = blend(first, scores, 0.0)
    np.testing.assert_allclose(unmoved.scores, first.scores, rtol=1e-4, atol=1e-3)


def test_neither_scale_matters() -> None:
    first = Candidates(np.arange(4), np.array([4.0, 3.0, 2.5, 1.0], np.float32))
    scores = np.array([0.1, 0.5, 0.4, 0.2], np.float32)
    stretched = Candidates(first.passages, first.scores * 10 + 7)
    assert blend(first, scores, 0.5).passages.tolist() == blend(stretched, scores * 1000 - 3, 0.5).passages.tolist()


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        blend(Candidates(np.arange(1), np.ones(1, np.float32)), np.ones(1, np.float32), weight)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1000))
def test_max_sim_is_the_mean_over_query_tokens_of_the_largest_product(q: int, p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    query, passage = rng.normal(size=(q, 3)), rng.normal(size=(p, 3))
    best = [max(sum(a * b for a, b in zip(one, other, strict=True)) for other in passage) for one in query if p]
    assert max_sim(query, passage) == pytest.approx(sum(best) / q if q and p else 0.0)


class Longest:
    """Likes long passages."""

    name = "longest"

    def __init__(self) -> None:
        self.read: list[str] = []

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.read = list(passages)
        return np.array([len(text) for text in passages], np.float32)


def test_a_search_is_read_again_as_deep_as_asked(library_index: Searcher) -> None:
    reranker = Longest()
    hits = library_index.search("warm hive", k=8, rerank=reranker, rerank_depth=4, rerank_weight=1.0)
    plain = library_index.search("warm hive", k=8)
    assert len(reranker.read) == 4
    assert {hit.document for hit in hits[:4]} == {hit.document for hit in plain[:4]}
    given = [hit.scores["rerank"] for hit in hits]
    assert given[:4] == sorted(map(len, reranker.read), reverse=True)
    assert given[4:] == [None] * 4
    assert [hit.document for hit in hits[4:]] == [hit.document for hit in plain[4:]]
    ranked = library_index.rank("warm hive", 8, rerank=reranker, rerank_depth=4, rerank_weight=1.0)
    assert ranked.documents == [hit.document for hit in hits]
    with pytest.raises(UsageError, match="depth"):
        library_index.search("warm hive", rerank=reranker, rerank_depth=0)


def test_a_hit_beyond_the_count_may_come_up(library_index: Searcher) -> None:
    reranker = Longest()
    (hit,) = library_index.search("warm hive", k=1, rerank=reranker, rerank_depth=20, rerank_weight=1.0)
    assert len(reranker.read) == 20
    assert hit.scores["rerank"] == max(map(len, reranker.read))


def test_late_interaction_scores_by_the_encoders_own_token_vectors(library_index: Searcher) -> None:
    from sentence_transformers import SentenceTransformer

    from indexer.encoders.pretrained import default_folder

    hits = library_index.search("how do bees keep warm in winter", k=3, rerank="late", rerank_depth=3)
    model = SentenceTransformer(str(default_folder()), device="cpu")

    def tokens(text: str) -> np.ndarray:
        vectors = model.encode(text, output_value="token_embeddings")[1:-1].numpy().astype(np.float64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    asked = tokens("how do bees keep warm in winter")
    for hit in hits:
        heading = hit.location.heading or ""
        path = heading.removeprefix(hit.title).removeprefix(" > ") if hit.title else heading
        text = " ".join(part for part in (hit.title, path[:120], hit.text) if part)
        expected = (asked @ tokens(text).T).max(axis=1).mean()
        assert hit.scores["rerank"] == pytest.approx(expected, abs=0.01)  # the graph's weights have 8 bits


@pytest.mark.parametrize("question", ["how do bees keep warm in winter", "как пчёлы зимуют", "冬のミツバチ warm"])
def test_late_interaction_counts_by_how_much_of_the_query_the_encoder_reads(
    library_index: Searcher, question: str
) -> None:
    from indexer.encoders import load_stored_encoder

    encoder = load_stored_encoder(library_index.folder / ENCODER / library_index.fingerprint)
    share = LATE_WEIGHT * trust(encoder.readable(question))
    by_itself = library_index.search(question, k=8, rerank="late")
    assert by_itself == library_index.search(question, k=8, rerank="late", rerank_weight=share)
    assert (share < LATE_WEIGHT) == (question[0] != "h")


def test_what_is_no_cross_encoder_is_refused_in_one_line(library_index: Searcher, tmp_path: Path) -> None:
    from indexer.encoders.pretrained import default_folder

    for model, reason in ((str(default_folder()), "no cross-encoder"), (str(tmp_path / "none"), "no such folder")):
        with pytest.raises(ModelError, match=reason) as caught:
            library_index.search("warm hive", rerank=model)
        assert "\n" not in str(caught.value)
