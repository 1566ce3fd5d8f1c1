"""The measures equal trec_eval's formulas written out in float64, for the order that was ranked."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics import MEASURES, measure
from benchmarks.runs import Run


def dcg(grades):
    return sum(grade / log2(rank + 1) for rank, grade in enumerate(grades, 1))


def reference(ranked, judged):
    """Compute the four measures of one query by their definitions: linear gains, relevant from grade 1."""
    relevant = {document for document, grade in judged.items() if grade >= 1}
    found = [rank for rank, document in enumerate(ranked[:1000], 1) if document in relevant]
    ideal = dcg(sorted(judged.values(), reverse=True)[:10])
    precisions = [number / rank for number, rank in enumerate(found, 1)]
    return {
        "nDCG@10": dcg([judged.get(document, 0) for document in ranked[:10]]) / ideal if ideal else 0.0,
        "R@100": sum(rank <= 100 for rank in found) / len(relevant) if relevant else 0.0,
        "RR@10": 1 / found[0] if found and found[0] <= 10 else 0.0,
        "AP@1000": sum(precisions) / len(relevant) if relevant else 0.0,
    }


IDS = st.text(st.characters(), min_size=1, max_size=3)  # NUL and lone surrogates too
DOCUMENTS = st.integers(0, 40).map(str) | IDS
JUDGED = st.dictionaries(DOCUMENTS, st.integers(0, 3), min_size=1, max_size=25)
RANKED = st.lists(DOCUMENTS, unique=True, max_size=41)


def run_of(rankings, score=lambda rank: -float(rank)):
    return Run("r", {q: [(d, score(rank)) for rank, d in enumerate(ranked)] for q, ranked in rankings.items()})


@given(queries=st.dictionaries(IDS, st.tuples(JUDGED, RANKED), min_size=1, max_size=6))
def test_measures_equal_their_formulas(queries):
    qrels = {query: judged for query, (judged, _) in queries.items()}
    measured = measure(run_of({query: ranked for query, (_, ranked) in queries.items()}), qrels)
    expected = {query: reference(ranked, judged) for query, (judged, ranked) in queries.items()}
    for name in MEASURES:
        assert measured.queries[name] == pytest.approx({q: values[name] for q, values in expected.items()}, abs=1e-12)
        mean = sum(values[name] for values in expected.values()) / len(expected)
        assert measured.means[name] == pytest.approx(mean, abs=1e-12)


@given(judged=JUDGED, ranked=RANKED)
def test_the_order_counts_whatever_the_scores(judged, ranked):
    qrels = {"q": judged}
    falling = measure(run_of({"q": ranked}), qrels)
    tied = measure(run_of({"q": ranked}, lambda rank: 1.0), qrels)
    # trec_eval reads scores as 32-bit floats, in which these are all one
    close = measure(run_of({"q": ranked}, lambda rank: 1.0 - rank * 1e-12), qrels)
    assert falling == tied == close


@pytest.mark.parametrize("place", [0, 9, 10, 99, 100, 999, 1000])
def test_cutoffs_are_exact(place):
    ranked = [f"x{number}" for number in range(1100)]
    ranked[place] = "relevant"
    measured = measure(run_of({"q": ranked}), {"q": {"relevant": 1}})
    expected = reference(ranked, {"relevant": 1})
    assert measured.means == pytest.approx(expected, abs=1e-12)
    assert (measured.means["RR@10"] > 0) == (place < 10)
    assert (measured.means["R@100"] > 0) == (place < 100)
    assert (measured.means["AP@1000"] > 0) == (place < 1000)


def test_every_judged_query_counts():
    qrels = {"found": {"d": 1}, "empty": {"d": 1}, "absent": {"d": 1}, "hopeless": {"d": 0}}
    measured = measure(
        Run("r", {"found": [("d", 1)], "empty": [], "hopeless": [("d", 1)], "unjudged": [("d", 1)]}), qrels
    )
    for name in MEASURES:
        assert measured.queries[name] == {"found": 1, "empty": 0, "absent": 0, "hopeless": 0}
        assert measured.means[name] == 0.25


def test_an_id_may_be_any_string():
    ids = ["\ud800", "a", "a\0b", "a\0c", " "]  # the first one crashes pytrec_eval, the next three are one to it
    ranked, judged = ids[::-1], {"a\0b": 1, "\ud800": 1}
    measured = measure(run_of(dict.fromkeys(ids, ranked)), dict.fromkeys(ids, judged))
    assert measured.means == pytest.approx(reference(ranked, judged))


def test_a_run_that_found_nothing_measures_zero():
    assert set(measure(Run("r", {}), {"q": {"d": 1}}).means.values()) == {0.0}


def test_nothing_judged_is_an_error():
    with pytest.raises(ValueError, match="no query is judged"):
        measure(Run("r", {}), {})
