"""A text's words are found again, whatever language, script, accent or spelling; no text can hurt."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.analysis import (
    LANGUAGES,
    LONGEST,
    STEMMERS,
    document_terms,
    is_stop,
    passage_forms,
    query_terms,
    spans,
    stemming,
)

CHINESE = "漢字検索黒猫引擎"
LETTERS = "abcxyzABCXYZ019_ éÉüßøçñĄłİı ёЁйжЖ άλφΣς אבשׁ مَرحبا हिन्दी கணினி ภาษาที่ ខ្មែរ 한국어 ｶﾞＡﾊ ﬁ½ .-'"
LETTERS += "\u00ad\u200b\u200d\u0301"
languages = st.sampled_from(LANGUAGES)
texts = st.text(st.sampled_from(LETTERS + CHINESE), max_size=60) | st.text(max_size=60)


def terms_of(text: str, language: str = "en") -> list[str]:
    analysed = document_terms(text, language)
    return analysed.split(" ") if analysed else []


@given(text=texts, language=languages, others=st.lists(languages, max_size=3))
def test_a_document_is_found_by_its_own_words(text: str, language: str, others: list[str]) -> None:
    held = set(terms_of(text, "cs" if language == "none" else language))
    for term in query_terms(text, [*others, language]):
        assert held & set(term.forms)
    assert held <= set(passage_forms(text, [language]))


@given(text=texts, language=languages)
def test_every_letter_and_digit_belongs_to_something_that_can_be_looked_up(text: str, language: str) -> None:
    covered = {place for start, end in spans(text) for place in range(start, end)}
    assert {place for place, character in enumerate(text) if character.isalnum()} <= covered
    for start, end in spans(text):
        if any(character.isalnum() for character in unicodedata.normalize("NFKC", text[start:end])):
            assert query_terms(text[start:end], [language])


@given(words=st.lists(st.text(st.sampled_from("abcxyz"), min_size=1), min_size=1), place=st.integers(0))
def test_words_are_analysed_alike_alone_and_among_others(words: list[str], place: int) -> None:
    alone = [term for word in words for term in terms_of(word, "de")]
    assert terms_of(" ".join(words), "de") == alone
    assert terms_of(f"日本{words[place % len(words)]}語", "de")[-2:] == [
        *terms_of(words[place % len(words)], "de"),
        "語",
    ]


@given(st.text(st.sampled_from(CHINESE + "ひらカナ"), min_size=1, max_size=30))
def test_characters_and_pairs_cover_a_text_without_spaces(text: str) -> None:
    pairs = [text[at : at + 2] for at in range(len(text) - 1)]
    assert sorted(terms_of(text)) == sorted([*text, *pairs])
    assert [term.forms for term in query_terms(text, ["en"])] == [(pair,) for pair in pairs or [text]]
    assert {text[start:end] for start, end in spans(text)} == set(pairs or [text])


def bare(text: str) -> str:
    """Write Latin letters without accents, by their decomposition alone."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


@given(st.text(st.sampled_from("aeiounsc éèêëàâçñüöäőűřšžťďčěńżąęåãõîïôûÉÈÀÇÑÜ"), max_size=40), languages)
def test_a_text_typed_without_accents_is_the_same(text: str, language: str) -> None:
    language = "cs" if language == "none" else language
    assert document_terms(bare(text), language) == document_terms(text, language)


@given(text=texts, language=languages)
def test_composed_decomposed_and_hyphenated_texts_are_the_same(text: str, language: str) -> None:
    expected = document_terms(unicodedata.normalize("NFC", text), language)
    assert document_terms(unicodedata.normalize("NFD", text), language) == expected
    softened = "".join(f"{c}\u00ad" if c.isalpha() else c for c in unicodedata.normalize("NFC", text))
    assert document_terms(softened, language) == expected


@given(st.text(st.characters(codec=None), max_size=200), languages)
def test_any_text_becomes_terms_that_can_be_stored(text: str, language: str) -> None:
    for term in terms_of(text, language):
        assert term
        assert term.encode()
        assert not any(character.isspace() or character == "\0" for character in term)
    query_terms(text, [language])
    assert all(0 <= start < end <= len(text) for start, end in spans(text))


@pytest.mark.parametrize(
    "word", ["a" * 1_000_000, "é" * 100_000, "aB" * 50_000, "_" * 1_000_000, "e" + "\u0301" * 100_000]
)
def test_an_endless_word_is_known_by_its_beginning(word: str) -> None:
    assert all(len(term) <= LONGEST for term in terms_of(word))
    assert [term.forms for term in query_terms(word, ["en"])] == [(term,) for term in terms_of(word)]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("getUserName", ["getusername", "get", "user", "name"]),
        ("get_user_name", ["getusername", "get", "user", "name"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("__init__", ["init"]),
        ("mRNA", ["mrna"]),
        ("iPhone", ["iphone"]),
        ("McDonald", ["mcdonald"]),
        ("snake_case", ["snakecase", "snake", "case"]),
    ],
)
def test_identifiers_are_found_whole_and_by_their_parts(name: str, parts: list[str]) -> None:
    assert terms_of(name, "cs") == parts  # Czech: nothing is stemmed


@pytest.mark.parametrize(
    ("language", "asked", "stands"),
    [
        ("de", "Häuser", "Haus"),
        ("de", "STRASSE", "Straße"),
        ("fr", "eleves", "élève"),
        ("es", "canciones", "canción"),
        ("ru", "книгами", "книга"),
        ("ru", "Ёлка", "елка"),
        ("el", "ΆΝΘΡΩΠΟΣ", "άνθρωπος"),
        ("en", "running", "runs"),
        ("sv", "bilarna", "bil"),
        ("tr", "ISPARTA", "Isparta"),
        ("ar", "مَرْحَبًا", "مرحبا"),
        ("ja", "ＡＢＣ", "abc"),
        ("ja", "ガギ", "ｶﾞｷﾞ"),
        ("hi", "भाषा", "भाषा"),
    ],
)
def test_other_forms_of_a_word_meet(language: str, asked: str, stands: str) -> None:
    (term,) = query_terms(asked, ["en", stemming(language)])
    assert set(term.forms) & set(terms_of(stands, language))


def test_stop_words_are_those_of_the_querys_language() -> None:
    german = query_terms("wie wird der Schlüssel für das Archiv gemacht", ["en", "de"])
    assert [term.forms[0][:4] for term in german if not term.is_stop] == ["schl", "arch", "gema"]
    english = query_terms("what do the people die of", ["en", "de"])
    assert [term.is_stop for term in english] == [False, False, True, False, False, True]
    assert [term.is_stop for term in query_terms("как и где искать", ["en"])] == [True, True, True, False]


@given(st.lists(st.sampled_from(sorted({"the", "of", "and", "der", "und", "les", "и"}))))
def test_a_stop_word_is_one_in_any_spelling(words: list[str]) -> None:
    for word in words:
        for language in STEMMERS.keys() - {"ro", "tr"}:
            assert is_stop(word.upper(), language) == is_stop(word, language)


def test_a_language_without_a_stemmer_is_left_as_it_is() -> None:
    assert {stemming(language) for language in ("pl", "cs", "vi")} == {"none"}
    assert {stemming(language) for language in ("", "zh", "ru", "en", "xx")} == {"en"}
    assert terms_of("Żółte książki", "pl") == ["zolte", "ksiazki"]
