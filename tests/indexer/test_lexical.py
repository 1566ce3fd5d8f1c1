"""BM25 by tantivy against rank-bm25's formula; clones share nothing that changes; no query can hurt."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import DamagedIndex
from indexer.lexical import Postings, analyser, clone, write_postings

TEXTS = {
    1: "bees gather nectar and bees make honey",
    2: "the baker kneads the dough before the oven is hot",
    3: "honey cakes are baked in a hot oven",
    4: "a bicycle chain wants oil",
    5: "tides turn twice a day",
    6: "swarming bees look for a new home",
}


@pytest.fixture
def postings(tmp_path: Path) -> Postings:
    write_postings(tmp_path / "g1", (), TEXTS.items())
    return Postings(tmp_path / "g1")


def bm25(query: list[str], texts: dict[int, list[str]], k1: float = 1.2, b: float = 0.75) -> dict[int, float]:
    """Score by the formula Lucene made common (idf with one added, so that it is never negative)."""
    average = sum(map(len, texts.values())) / len(texts)
    scores = {}
    for passage, terms in texts.items():
        score = 0.0
        for term in query:
            frequency = terms.count(term)
            holding = sum(term in other for other in texts.values())
            idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            score += idf * frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * len(terms) / average))
        if score:
            scores[passage] = score
    return scores


@pytest.mark.parametrize("question", ["bees", "hot honey oven", "the the bees", "baking in an oven", "absent words"])
def test_scores_follow_the_formula(postings: Postings, question: str) -> None:
    analysed = {passage: postings.terms(text) for passage, text in TEXTS.items()}
    expected = bm25(postings.terms(question), analysed)
    found, scores = postings.search(postings.terms(question), 10)
    assert dict(zip(found.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4)
    assert found.tolist() == sorted(expected, key=lambda passage: (-scores[found.tolist().index(passage)], passage))


def test_the_order_is_that_of_rank_bm25(postings: Postings) -> None:
    from rank_bm25 import BM25Plus

    ids = list(TEXTS)
    oracle = BM25Plus([postings.terms(TEXTS[passage]) for passage in ids], k1=1.2, b=0.75, delta=0)
    terms = postings.terms("hot honey from swarming bees")
    scores = oracle.get_scores(terms)
    expected = [ids[at] for at in np.argsort(-scores, kind="stable") if scores[at] > 0]
    found, _ = postings.search(terms, 10)
    assert found.tolist()[:3] == expected[:3]


@pytest.mark.parametrize("question", ["honey oven", "bees bees absent", "", "words nowhere"])
def test_the_full_score_is_the_sum_of_idf_unknown_words_included(postings: Postings, question: str) -> None:
    terms = postings.terms(question)
    analysed = [postings.terms(text) for text in TEXTS.values()]
    holding = [sum(term in text for text in analysed) for term in terms]
    expected = sum(math.log(1 + (len(TEXTS) - count + 0.5) / (count + 0.5)) for count in holding)
    assert postings.full_score(terms) == pytest.approx(expected)


def test_removed_passages_leave_the_full_score_positive(tmp_path: Path, postings: Postings) -> None:
    clone(tmp_path / "g1", tmp_path / "g2")
    write_postings(tmp_path / "g2", [1, 2, 4, 5, 6], ())
    assert Postings(tmp_path / "g2").full_score(["bee", "honey"]) > 0


def test_a_filter_leaves_as_many_as_it_allows(postings: Postings) -> None:
    found, _ = postings.search(postings.terms("honey hot bees oven"), 10, np.array([2, 6]))
    assert sorted(found.tolist()) == [2, 6]
    assert postings.search(postings.terms("honey"), 10, np.array([], dtype=np.int64))[0].size == 0


def test_a_wide_filter_gives_the_scores_of_no_filter(tmp_path: Path) -> None:
    write_postings(tmp_path / "g", (), ((passage, f"word{passage % 7} common") for passage in range(11_000)))
    postings = Postings(tmp_path / "g")
    terms = postings.terms("common word3")
    every, scores = postings.search(terms, 11_000)
    allowed = np.arange(10_500)
    found, filtered = postings.search(terms, 20, allowed)
    kept = [(p, s) for p, s in zip(every.tolist(), scores.tolist(), strict=True) if p < 10_500][:20]
    assert list(zip(found.tolist(), filtered.tolist(), strict=True)) == kept


def test_a_clone_changes_and_its_source_does_not(tmp_path: Path, postings: Postings) -> None:
    clone(tmp_path / "g1", tmp_path / "g2")
    write_postings(tmp_path / "g2", [1], [(7, "honey and wax")])
    newer, again = Postings(tmp_path / "g2"), Postings(tmp_path / "g1")
    assert newer.passage_ids().tolist() == [2, 3, 4, 5, 6, 7]
    assert again.passage_ids().tolist() == postings.passage_ids().tolist() == [1, 2, 3, 4, 5, 6]
    assert 7 in newer.search(newer.terms("wax"), 5)[0].tolist()


def test_an_open_generation_answers_after_its_files_are_gone(tmp_path: Path, postings: Postings) -> None:
    for path in (tmp_path / "g1").iterdir():
        path.unlink()
    assert postings.search(postings.terms("honey"), 5)[0].tolist() == [1, 3]


@given(
    st.text(max_size=200) | st.sampled_from(["(" * 5000, '" OR 1=1', "body:[* TO", "a^1e38", "AND (", "*" * 999, "-x"])
)
def test_any_text_becomes_terms_and_any_terms_a_query(text: str) -> None:
    terms = list(analyser().analyze(text))
    assert all(term.strip() for term in terms)


def test_operators_are_looked_up_as_words(postings: Postings) -> None:
    for text in ("(" * 5000 + "honey", 'honey" OR body:*', "+honey -cakes^9"):
        assert 1 in postings.search(postings.terms(text), 5)[0].tolist()


def test_a_folder_that_holds_no_postings_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "g9").mkdir()
    with pytest.raises(DamagedIndex, match="verify"):
        Postings(tmp_path / "g9")
