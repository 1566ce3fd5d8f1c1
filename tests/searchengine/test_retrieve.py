"""The pool holds every score of both lists' union, as an exact scan and the whole of BM25 give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.analysis import Term
from indexer.lexical import Postings, write_postings
from indexer.snapshot import Generation
from indexer.vectors import open_segment, write_segment
from searchengine import retrieve
from searchengine.hits import Candidates

WIDTH = 8
COUNT = 60
WORDS = "honey oven tide chain rope lamp".split()


def unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


VECTORS = unit(COUNT, 1)
TEXTS = [" ".join(WORDS[: 1 + place % 6] + ["filler"] * (place % 4)) for place in range(COUNT)]
DEAD = [4, 31]
LIVE = np.setdiff1d(np.arange(COUNT), DEAD)


def made(folder: Path, cuts: list[int]) -> Generation:
    """A generation whose segments end at ``cuts``, two of its passages removed."""
    folder.mkdir()
    segments = []
    for begin, end in zip([0, *cuts], [*cuts, COUNT], strict=True):
        ids = np.arange(begin, end)
        write_segment(folder / f"s{begin}", VECTORS[begin:end], ids, ids)
        dead = [passage - begin for passage in DEAD if begin <= passage < end]
        segments.append(open_segment(folder / f"s{begin}", end - begin, WIDTH, dead))
    write_postings(folder / "postings", (), ((int(p), TEXTS[p], "en") for p in LIVE))
    return Generation(1, {}, tuple(segments), Postings(folder / "postings"))


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    return made(tmp_path / "parted", [25, 26])


def asked(
    generation: Generation, words: str, depth: int, allowed: retrieve.Allowed | None = None
) -> tuple[np.ndarray, list[Term], Candidates, Candidates]:
    vector = unit(1, 2)[0].astype(np.float32)
    assert generation.postings is not None
    terms = generation.postings.terms(words)
    dense = retrieve.dense(generation, vector, depth, allowed)
    return vector, terms, dense, retrieve.lexical(generation, terms, depth, allowed)


@pytest.mark.parametrize("depth", [3, 10, 1000])
@pytest.mark.parametrize("words", ["rope lamp", "honey honey tide", "nowhere", "nowhere lamp"])
def test_missing_scores_are_computed_not_zeroed(generation: Generation, words: str, depth: int) -> None:
    vector, terms, dense, lexical = asked(generation, words, depth)
    pool, vectors = retrieve.pool(generation, vector, terms, dense, lexical)
    assert pool.passages.tolist() == sorted({*dense.passages.tolist(), *lexical.passages.tolist()})
    cosines = VECTORS[pool.passages].astype(np.float64) @ vector.astype(np.float64)
    assert pool.cosines == pytest.approx(cosines, abs=2e-6)
    assert vectors.tolist() == VECTORS[pool.passages].astype(np.float32).tolist()
    _, _, _, every = asked(generation, words, COUNT)
    known = dict(zip(every.passages.tolist(), every.scores.tolist(), strict=True))
    assert pool.bm25.tolist() == [known.get(passage, 0.0) for passage in pool.passages.tolist()]


@pytest.mark.parametrize("words", ["rope lamp", "honey honey tide", "nowhere", "nowhere lamp"])
@pytest.mark.parametrize("documents", [None, [2, 3, 4, 29, 30, 31, 59]])
def test_asking_bm25_for_everything_at_once_gives_the_same_pool(
    generation: Generation, words: str, documents: list[int] | None
) -> None:
    allowed = None if documents is None else retrieve.Allowed(generation, np.array(documents))
    vector, terms, dense, lexical = asked(generation, words, 5, allowed)
    _, _, _, every = asked(generation, words, COUNT, allowed)
    assert every.best(5).passages.tolist() == lexical.passages.tolist()
    twice, _ = retrieve.pool(generation, vector, terms, dense, lexical)
    once, _ = retrieve.pool(generation, vector, terms, dense, lexical, every)
    assert once.passages.tolist() == twice.passages.tolist()
    assert once.bm25.tolist() == pytest.approx(twice.bm25.tolist())


def test_what_the_lists_knew_stays_as_it_was(generation: Generation) -> None:
    vector, terms, dense, lexical = asked(generation, "lamp tide", 7)
    pool, _ = retrieve.pool(generation, vector, terms, dense, lexical)
    by_cosine, by_words = pool.lists()
    assert by_cosine.score_of(dense.passages).tolist() == dense.scores.tolist()
    assert by_words.score_of(lexical.passages).tolist() == lexical.scores.tolist()


def test_a_filter_holds_for_computed_scores_too(generation: Generation) -> None:
    allowed = retrieve.Allowed(generation, np.array([2, 3, 4, 29, 30, 31, 59]))
    vector, terms, dense, lexical = asked(generation, "honey lamp", 3, allowed)
    pool, _ = retrieve.pool(generation, vector, terms, dense, lexical)
    assert set(pool.passages.tolist()) <= {2, 3, 29, 30, 59}


def test_an_index_without_passages_gives_an_empty_pool() -> None:
    empty = Generation(1, {}, (), None)
    pool, vectors = retrieve.pool(empty, np.ones(WIDTH, np.float32), [], retrieve.NONE, retrieve.NONE)
    assert (len(pool), vectors.shape, retrieve.Sample(()).moments(np.ones(WIDTH))) == (0, (0, WIDTH), (0.0, 0.0))


def test_moments_are_those_of_the_live_passages(generation: Generation) -> None:
    vector = unit(1, 5)[0].astype(np.float32)
    cosines = VECTORS[LIVE].astype(np.float64) @ vector.astype(np.float64)
    sample = retrieve.Sample(generation.segments)
    assert sample.moments(vector) == pytest.approx((cosines.mean(), cosines.std()))
    pairs = VECTORS[LIVE].astype(np.float64) @ VECTORS[LIVE].astype(np.float64).T
    others = pairs[~np.eye(len(pairs), dtype=bool)]
    assert sample.alike == pytest.approx(others.mean(), abs=1e-5)
    assert retrieve.Sample(()).alike == 0


def test_a_large_index_is_sampled_by_id_whatever_its_segments(
    tmp_path: Path, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieve, "SAMPLED", 16)  # 58 live passages: every fourth id
    vector = unit(1, 5)[0].astype(np.float32)
    chosen = np.setdiff1d(np.arange(0, COUNT, 4), DEAD)
    cosines = VECTORS[chosen].astype(np.float64) @ vector.astype(np.float64)
    merged = made(tmp_path / "merged", [])
    for segments in (generation.segments, merged.segments):
        assert retrieve.Sample(segments).moments(vector) == pytest.approx((cosines.mean(), cosines.std()))
