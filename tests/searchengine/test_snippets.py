"""A snippet shows the query's words, within its width, and marks exactly them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from indexer.analysis import passage_forms, query_terms
from searchengine.snippets import snippet


def lower(word: str) -> list[str]:
    return [word.lower()]


def test_the_densest_window_is_shown() -> None:
    text = "alpha " + "filler " * 100 + "alpha beta gamma " + "filler " * 100
    cut = snippet(text, {"alpha", "beta", "gamma"}, lower, width=80)
    assert [cut.text[start:end] for start, end in cut.matches] == ["alpha", "beta", "gamma"]
    assert cut.cut_before
    assert cut.cut_after


def test_without_a_match_the_beginning_is_shown() -> None:
    cut = snippet("One two three. " * 50, {"absent"}, lower, width=40)
    assert cut.text.startswith("One two three.")
    assert not cut.cut_before
    assert cut.matches == ()


@given(text=st.text(max_size=400), terms=st.sets(st.sampled_from(["a", "b", "foo", "0"])), width=st.integers(20, 120))
def test_matches_are_words_of_the_query_inside_a_stretch_of_the_text(text: str, terms: set[str], width: int) -> None:
    cut = snippet(text, terms, lower, width)
    assert cut.text in text
    assert len(cut.text) <= width
    for start, end in cut.matches:
        assert 0 <= start < end <= len(cut.text)
        assert cut.text[start:end].lower() in terms


def test_pairs_of_characters_that_overlap_are_marked_as_one() -> None:
    text = "全文の中で検索エンジンの索引を使う"
    languages = ["en"]
    terms = {form for term in query_terms("検索エンジン 索", languages) for form in term.forms}
    cut = snippet(text, terms, lambda part: passage_forms(part, languages))
    assert [cut.text[start:end] for start, end in cut.matches] == ["検索エンジン", "の索引"]
