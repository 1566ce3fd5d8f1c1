"""Each way to say a query otherwise keeps its promise, whatever the query."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.perturb import CHANGES_WORDS, WAYS, keys_beside, most_changed, perturb
from benchmarks.vocabulary import Vocabulary, mutual, read_vocabulary

TEXTS = [
    "The infection of cells infects a cell; infections spread in the orchard.",
    "Infections and the infection: an infected cell dies. Orchards and an orchard.",
    "An infection infects cells, orchards, apples and an apple. Apple trees!",
    "Infections infect apples; the apple of an orchard is an infected one.",
]
VOCABULARY = Vocabulary(
    **{**vars(read_vocabulary(TEXTS)), "neighbours": {"apple": "orchard", "orchard": "apple", "cell": "virus"}}
)
LUCENE = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with".split()
)
queries = (
    st.lists(
        st.sampled_from(
            ["the", "of", "Infection", "cells", "(apple)", "orchard?", "ORCHARDS", "x", "p53", "naïve", "日本", "—"]
        )
        | st.text("abcdefghij XYZ,.'", min_size=1, max_size=9),
        min_size=1,
        max_size=24,
    )
    .map(" ".join)
    .filter(lambda text: text.split())
)
seeds = st.integers(0, 9)


def said(text: str, way: str, seed: int = 0) -> list[str]:
    return perturb(text, way, np.random.default_rng(seed), VOCABULARY).split()


@settings(deadline=None)
@given(text=queries, seed=seeds, way=st.sampled_from(CHANGES_WORDS))
def test_ways_that_change_words_change_a_quarter_of_them_at_most(text: str, seed: int, way: str) -> None:
    words = text.split()
    other = said(text, way, seed)
    assert len(other) == len(words), "none is added, lost or split"
    assert sum(a != b for a, b in zip(words, other, strict=True)) <= max(1, len(words) // 4) == most_changed(len(words))


@settings(deadline=None)
@given(text=queries, seed=seeds)
def test_a_typo_is_one_letter_hit_beside_its_key(text: str, seed: int) -> None:
    for word, other in zip(text.split(), said(text, "typo", seed), strict=True):
        wrong = [(a, b) for a, b in zip(word, other, strict=True) if a != b]
        assert len(wrong) <= 1
        for a, b in wrong:
            assert b.lower() in keys_beside(a.lower())
            assert a.isupper() == b.isupper()


@settings(deadline=None)
@given(text=queries, seed=seeds)
def test_a_swap_exchanges_two_letters_side_by_side(text: str, seed: int) -> None:
    for word, other in zip(text.split(), said(text, "swap", seed), strict=True):
        places = [at for at, (a, b) in enumerate(zip(word, other, strict=True)) if a != b]
        assert places in ([], [places[0], places[0] + 1] if places else [])
        assert sorted(word) == sorted(other)


@settings(deadline=None)
@given(text=queries, seed=seeds)
def test_dropping_stop_words_drops_those_alone_and_never_everything(text: str, seed: int) -> None:
    words, kept = text.split(), said(text, "no stop words", seed)
    assert kept
    content = [word for word in words if word.lower().strip(".,;:?!\"'()") not in LUCENE]
    assert kept == (content or words)


@settings(deadline=None)
@given(text=queries, seed=seeds)
def test_order_and_case_keep_the_words(text: str, seed: int) -> None:
    assert sorted(said(text, "word order", seed)) == sorted(text.split())
    assert said(text, "upper case", seed) == text.upper().split()


@settings(deadline=None)
@given(text=queries, seed=seeds)
def test_another_form_has_the_same_stem_and_a_neighbour_another(text: str, seed: int) -> None:
    for way, alike in (("other form", True), ("neighbour", False)):
        for word, other in zip(text.split(), said(text, way, seed), strict=True):
            if word == other:
                continue
            stems = [VOCABULARY.stems.get(w.strip("(),.?!;").lower()) for w in (word, other)]
            assert (stems[0] == stems[1]) == alike
            assert [c for c in word if not c.isalpha()] == [c for c in other if not c.isalpha()], "punctuation stays"


@settings(deadline=None)
@given(text=queries, way=st.sampled_from(list(WAYS)), seed=seeds)
def test_a_seed_gives_one_wording(text: str, way: str, seed: int) -> None:
    assert said(text, way, seed) == said(text, way, seed)


def test_the_keyboard_is_symmetric() -> None:
    for letter in "abcdefghijklmnopqrstuvwxyz":
        assert keys_beside(letter)
        assert all(letter in keys_beside(other) for other in keys_beside(letter)), letter
    assert set(keys_beside("s")) == set("awedxz")
    assert keys_beside("ß") == ""


def test_forms_are_those_of_the_corpus_most_frequent_first() -> None:
    assert VOCABULARY.other_form("infection") == "infections"
    assert VOCABULARY.other_form("infections") == "infection"
    assert VOCABULARY.other_form("submarine") is None
    assert "the" not in VOCABULARY.stems
    assert "dies" not in VOCABULARY.stems, "one document alone has it"


def test_neighbours_are_nearest_to_each_other_and_never_of_one_stem() -> None:
    words = ["car", "cars", "auto", "boat", "ship"]
    angles = np.radians([0, 1, 4, 60, 66])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    stems = {"car": "car", "cars": "car", "auto": "auto", "boat": "boat", "ship": "ship"}
    assert mutual(words, stems, vectors) == {"cars": "auto", "auto": "cars", "boat": "ship", "ship": "boat"}
    assert mutual(["car", "cars"], stems, vectors[:2]) == {}


@pytest.mark.parametrize("way", WAYS)
def test_a_word_alone_survives_every_way(way: str) -> None:
    assert len(said("the", way)) == 1
