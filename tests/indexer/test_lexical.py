"""BM25 by tantivy against rank-bm25's formula; clones share nothing that changes; no query can hurt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.analysis import Term
from indexer.errors import DamagedIndex, IncompatibleIndex
from indexer.lexical import ENGLISH, Postings, clone, english, write_postings
from indexer.merge import optimize
from indexer.snapshot import Snapshot
from indexer.staging import Prepared
from indexer.verify import verify
from indexer.writer import Writer
from tests.crash.workload import create, prepared

TEXTS = {
    1: "bees gather nectar and bees make honey",
    2: "the baker kneads the dough before the oven is hot",
    3: "honey cakes are baked in a hot oven",
    4: "a bicycle chain wants oil",
    5: "tides turn twice a day",
    6: "swarming bees look for a new home",
}


def entries(texts: dict[int, str]) -> Iterator[tuple[int, str, str]]:
    return ((passage, text, "en") for passage, text in texts.items())


@pytest.fixture
def postings(tmp_path: Path) -> Postings:
    write_postings(tmp_path / "g1", (), entries(TEXTS))
    return Postings(tmp_path / "g1")


def bm25(query: list[Term], texts: dict[int, list[Term]], k1: float = 1.2, b: float = 0.75) -> dict[int, float]:
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
    assert Postings(tmp_path / "g2").full_score(postings.terms("bee honey")) > 0


def test_a_filter_leaves_as_many_as_it_allows(postings: Postings) -> None:
    found, _ = postings.search(postings.terms("honey hot bees oven"), 10, np.array([2, 6]))
    assert sorted(found.tolist()) == [2, 6]
    assert postings.search(postings.terms("honey"), 10, np.array([], dtype=np.int64))[0].size == 0


def test_a_wide_filter_gives_the_scores_of_no_filter(tmp_path: Path) -> None:
    write_postings(tmp_path / "g", (), ((passage, f"word{passage % 7} common", "en") for passage in range(11_000)))
    postings = Postings(tmp_path / "g")
    terms = postings.terms("common word3")
    every, scores = postings.search(terms, 11_000)
    allowed = np.arange(10_500)
    found, filtered = postings.search(terms, 20, allowed)
    kept = [(p, s) for p, s in zip(every.tolist(), scores.tolist(), strict=True) if p < 10_500][:20]
    assert list(zip(found.tolist(), filtered.tolist(), strict=True)) == kept


def test_a_clone_changes_and_its_source_does_not(tmp_path: Path, postings: Postings) -> None:
    clone(tmp_path / "g1", tmp_path / "g2")
    write_postings(tmp_path / "g2", [1], [(7, "honey and wax", "en")])
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
    terms = list(english().analyze(text))
    assert all(term.strip() for term in terms)


def test_operators_are_looked_up_as_words(postings: Postings) -> None:
    for text in ("(" * 5000 + "honey", 'honey" OR body:*', "+honey -cakes^9"):
        assert 1 in postings.search(postings.terms(text), 5)[0].tolist()


def test_a_folder_that_holds_no_postings_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "g9").mkdir()
    with pytest.raises(DamagedIndex, match="verify"):
        Postings(tmp_path / "g9")


MIXED = {
    1: ("the houses of the old town burn", "en"),
    2: ("in den Häusern der alten Stadt brennt Licht", "de"),
    3: ("les maisons de la vieille ville", "fr"),
    4: ("a houseboat is no house", "en"),
    5: ("検索エンジンの索引", "ja"),
    6: ("def getUserName(self): return self.user_name", ""),
    7: ("Häuser und Höfe", "de"),
}


@pytest.fixture
def mixed(tmp_path: Path) -> Postings:
    write_postings(tmp_path / "m", (), ((passage, *entry) for passage, entry in MIXED.items()))
    return Postings(tmp_path / "m")


def test_the_languages_held_are_told_the_most_frequent_first(mixed: Postings, postings: Postings) -> None:
    assert mixed.languages[0] == "en"
    assert set(mixed.languages) == {"en", "de", "fr"}
    assert postings.languages == ("en",)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("house", {1, 4}),
        ("Haus", {2, 7}),
        ("HAUSER", {2, 7}),
        ("maison", {3}),
        ("索引", {5}),
        ("索", {5}),
        ("引", {5}),
        ("user names", {6}),
        ("GetUsername", {6}),
    ],
)
def test_a_question_meets_documents_in_their_own_language(mixed: Postings, question: str, expected: set[int]) -> None:
    assert set(mixed.search(mixed.terms(question), 10)[0].tolist()) == expected


def test_a_word_is_as_rare_as_all_its_forms_together(tmp_path: Path) -> None:
    texts = {1: ("running far", "en"), 2: ("running wide", "en"), 3: ("running deep", "cs"), 4: ("still water", "en")}
    write_postings(tmp_path / "g", (), ((passage, *entry) for passage, entry in texts.items()))
    postings = Postings(tmp_path / "g")
    (term,) = terms = postings.terms("running")
    assert set(term.forms) == {"run", "running"}
    one_form = {passage: [Term((word,)) for word in text.split()] for passage, (text, _) in texts.items()}
    found, scores = postings.search(terms, 10)
    expected = bm25([Term(("running",))], one_form)
    assert dict(zip(found.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4)
    assert postings.full_score(terms) == pytest.approx(math.log(1 + (4 - 3 + 0.5) / (3 + 0.5)))


def test_a_pair_of_characters_that_is_nowhere_counts_nothing(mixed: Postings) -> None:
    assert mixed.full_score(mixed.terms("索引")) > 0
    assert mixed.full_score(mixed.terms("索引猫犬")) == mixed.full_score(mixed.terms("索引"))
    assert mixed.full_score(mixed.terms("索引 cat")) > mixed.full_score(mixed.terms("索引"))


def test_an_index_of_the_first_analyser_is_searched_and_written_on_as_it_was(tmp_path: Path) -> None:
    write_postings(tmp_path / "g1", (), entries(TEXTS), ENGLISH)
    clone(tmp_path / "g1", tmp_path / "g2")
    write_postings(tmp_path / "g2", [1], [(7, "honey and wax", "de")], ENGLISH)
    old, new = Postings(tmp_path / "g1", ENGLISH), Postings(tmp_path / "g2", ENGLISH)
    assert [term.forms for term in old.terms("The baking")] == [("the",), ("bake",)]
    assert [term.is_stop for term in old.terms("The baking")] == [True, False]
    assert set(old.search(old.terms("baked honey"), 9)[0].tolist()) == {1, 3}
    assert set(new.search(new.terms("baked honey"), 9)[0].tolist()) == {3, 7}
    assert old.forms("Baking bees") == ["bake", "bee"]


def german(name: str, text: str) -> Prepared:
    return replace(prepared(name, [text]), language="de")


def test_optimize_analyses_an_older_index_as_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.index.ANALYSER", ENGLISH)
    create(tmp_path / "index")
    with Writer(tmp_path / "index") as writer:
        writer.put(None, [german("haus", "Die Häuser der alten Stadt brannten.")])
        writer.commit()

    def found(question: str) -> int:
        snapshot = Snapshot(tmp_path / "index")
        with snapshot.reading() as generation:
            assert generation.postings is not None
            passages, _ = generation.postings.search(generation.postings.terms(question), 5)
        snapshot.close()
        return len(passages)

    assert (found("Häuser"), found("Haus")) == (1, 0)
    with Writer(tmp_path / "index") as writer:
        writer.put(None, [german("hof", "Die Höfe vor der Stadt standen leer.")])
        writer.commit()
    assert (found("Höfe"), found("hofe")) == (1, 0)
    optimize(tmp_path / "index")
    assert (found("Haus"), found("Hof")) == (1, 1)
    assert verify(tmp_path / "index") == []


def test_an_analyser_of_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.index.ANALYSER", "tokens-9")
    create(tmp_path / "index")
    snapshot = Snapshot(tmp_path / "index")
    with pytest.raises(IncompatibleIndex, match="tokens-9"), snapshot.reading():
        pass
    snapshot.close()
    with pytest.raises(IncompatibleIndex, match="upgrade"), Writer(tmp_path / "index"):
        pass
