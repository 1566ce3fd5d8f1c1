"""Any bytes are a valid query, or an empty one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.analysis import Term, query_terms
from indexer.errors import UsageError
from searchengine.query import MAX_BYTES, bounded_terms, content_terms, parse


@given(st.text(st.characters(codec=None), max_size=500))
def test_any_text_becomes_a_clean_bounded_query(text: str) -> None:
    try:
        parsed = parse(text)
    except UsageError as error:
        assert "empty" in str(error)
        return
    assert len(parsed.text.encode()) <= MAX_BYTES
    assert parsed.text.isprintable() or not any(ord(character) < 32 for character in parsed.text)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\x1b"])
def test_an_empty_query_says_so(text: str) -> None:
    with pytest.raises(UsageError, match="the query is empty"):
        parse(text)


def test_a_long_query_is_cut_and_says_so() -> None:
    parsed = parse("é" * MAX_BYTES)
    assert len(parsed.text.encode()) == MAX_BYTES
    assert "cut to its first" in parsed.notes[0]


def test_terms_past_the_limit_are_left_out_and_repetitions_kept() -> None:
    notes: list[str] = []
    again = Term(("again",))
    terms = bounded_terms([again, *(Term((f"t{number}",)) for number in range(300)), again], notes)
    assert len(set(terms)) == 256
    assert terms.count(again) == 2
    assert "256" in notes[0]


def test_stop_words_are_left_out_unless_there_is_nothing_else() -> None:
    notes: list[str] = []
    terms = query_terms("the tide in the bay", ["en"])
    assert [term.forms[0] for term in content_terms(terms, notes)] == ["tide", "bay"]
    assert notes == []
    terms = query_terms("to be or not", ["en"])
    assert content_terms(terms, notes) == terms
    assert "stop words only" in notes[0]


def test_bytes_that_a_poor_locale_smuggled_in_become_characters_again() -> None:
    assert parse("cr\udcc3\udca8me").text == "crème"
