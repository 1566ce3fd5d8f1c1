"""Any bytes are a valid query, or an empty one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from indexer.lexical import analyser
from searchengine.query import MAX_BYTES, STOP_WORDS, bounded_terms, content_terms, parse


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
    terms = bounded_terms(["again", *(f"t{number}" for number in range(300)), "again"], notes)
    assert len(set(terms)) == 256
    assert terms.count("again") == 2
    assert "256" in notes[0]


def test_stop_words_are_left_out_unless_there_is_nothing_else() -> None:
    notes: list[str] = []
    assert content_terms(["the", "tide", "in", "the", "bay"], notes) == ["tide", "bay"]
    assert notes == []
    assert content_terms(["to", "be", "or", "not"], notes) == ["to", "be", "or", "not"]
    assert "stop words only" in notes[0]


def test_stop_words_are_spelt_as_the_postings_hold_them() -> None:
    assert list(analyser().analyze(" ".join(sorted(STOP_WORDS)))) == sorted(STOP_WORDS)


def test_bytes_that_a_poor_locale_smuggled_in_become_characters_again() -> None:
    assert parse("cr\udcc3\udca8me").text == "crème"
