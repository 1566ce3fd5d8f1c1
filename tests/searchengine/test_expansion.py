"""RM3: what the first passages have in common counts beside what was asked."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import searchengine
from indexer.analysis import Term
from searchengine import Document
from searchengine.expansion import SHARE, WORDS, rm3

words = st.sampled_from([*"abcdefghijklmnop", "the"])
terms = st.builds(lambda word: Term((word,), is_stop=word == "the"), words)
passages = st.lists(st.tuples(st.lists(terms, max_size=12), st.floats(0.1, 30)), max_size=6)


@given(st.lists(terms, min_size=1, max_size=6), passages)
def test_weights_are_those_of_the_relevance_model(query: list[Term], found: list[tuple[list[Term], float]]) -> None:
    weights = rm3(query, [read for read, _ in found], [score for _, score in found])
    model: dict[str, float] = {}
    for read, score in found:
        kept = [term.forms[0] for term in read if not term.is_stop]
        for word in kept:
            model[word] = model.get(word, 0) + score / len(kept)
    best = sorted(model, key=lambda word: (-model[word], word))[:WORDS]
    total = sum(model[word] for word in best)
    asked = Counter(term.forms[0] for term in query)
    assert sum(weights.values()) == pytest.approx(len(query))
    if not best:
        assert weights == Counter(query)
        return
    for term, weight in weights.items():
        (word,) = term.forms
        relevant = model[word] / total if word in best else 0.0
        assert weight == pytest.approx(SHARE * asked[word] + (1 - SHARE) * len(query) * relevant, abs=1e-6)
    assert {term.forms[0] for term in weights} == asked.keys() | set(best)


def test_a_passage_without_the_words_is_found_by_those_of_what_has_them(tmp_path) -> None:
    texts = {
        "hive": "Bees keep their hive warm in winter with honey and wax.",
        "wax": "A hive is built of wax, and honey is kept in it.",
        "comb": "Honey stands in combs of wax.",
        "tide": "The sea rises and falls twice a day.",
    }
    documents = [Document(key=key, text=text) for key, text in texts.items()]
    with searchengine.index_documents(documents, tmp_path / "index") as searcher:
        plain = searcher.rank("warm bees", mode="bm25")
        expanded = searcher.rank("warm bees", mode="rm3")
        assert plain.documents == ["hive"]
        assert expanded.documents[:1] == ["hive"]
        assert set(expanded.documents) == {"hive", "wax", "comb"}
        (hit, *_) = searcher.search("warm bees", mode="rm3")
        assert hit.scores["dense"] is None
        assert hit.scores["bm25"] == pytest.approx(hit.score)
        assert searcher.rank("zebra", mode="rm3").documents == []
