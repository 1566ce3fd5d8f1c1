"""Queries said otherwise, word by word and without a language model: what each way promises is tested.

Pure functions of a text, a generator and a vocabulary. Knows nothing of retrieval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.vocabulary import Vocabulary

SHARE = 0.25  # of a query's words that a perturbation may change, one at least
SHORTEST = 4  # letters of a word that is misspelt: shorter ones become other words

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"(\W*)(\w(?:.*\w)?)(\W*)", re.DOTALL)

Words = list[str]
Way = Callable[[Words, int, np.random.Generator, Vocabulary], Words]


def perturb(text: str, way: str, generator: np.random.Generator, vocabulary: Vocabulary) -> str:
    """Say a text otherwise in one of ``WAYS``; as it was where the way finds nothing to change. White space: one blank.

    Ways that change words change at most a quarter of them, one at least.
    """
    words = text.split()
    return " ".join(WAYS[way](words, most_changed(len(words)), generator, vocabulary))


def most_changed(words: int) -> int:
    """Tell how many of so many words may be changed."""
    return max(1, int(words * SHARE))


def keys_beside(letter: str) -> str:
    """Name the letters whose keys touch a letter's on a QWERTY keyboard; "" for what is no letter from a to z."""
    for row, keys in enumerate(_ROWS):
        if (at := keys.find(letter)) >= 0:
            beside = [(row, at - 1), (row, at + 1), (row - 1, at), (row - 1, at + 1), (row + 1, at - 1), (row + 1, at)]
            return "".join(_ROWS[r][c] for r, c in beside if 0 <= r < len(_ROWS) and 0 <= c < len(_ROWS[r]))
    return ""


def change(
    words: Words, most: int, generator: np.random.Generator, changed: Callable[[str, np.random.Generator], str]
) -> Words:
    """Change words drawn at random until ``most`` of them are others. Punctuation around a word stays."""
    result = list(words)
    left = most
    for place in generator.permutation(len(words)).tolist():
        if left == 0:
            break
        if (parts := _WORD.fullmatch(words[place])) is None:
            continue
        before, core, after = parts.groups()
        if (other := changed(core, generator)) != core:
            result[place] = f"{before}{other}{after}"
            left -= 1
    return result


def typo(words: Words, most: int, generator: np.random.Generator, _: Vocabulary) -> Words:
    """Hit the key beside the right one, once in a word."""

    def changed(word: str, generator: np.random.Generator) -> str:
        places = [at for at, letter in enumerate(word) if keys_beside(letter.lower())]
        if len(word) < SHORTEST or not places:
            return word
        at = int(generator.choice(places))
        key = str(generator.choice(list(keys_beside(word[at].lower()))))
        return word[:at] + (key.upper() if word[at].isupper() else key) + word[at + 1 :]

    return change(words, most, generator, changed)


def swap(words: Words, most: int, generator: np.random.Generator, _: Vocabulary) -> Words:
    """Type two neighbouring letters in the wrong order, once in a word."""

    def changed(word: str, generator: np.random.Generator) -> str:
        places = [at for at in range(len(word) - 1) if word[at] != word[at + 1]]
        if len(word) < SHORTEST or not places:
            return word
        at = int(generator.choice(places))
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return change(words, most, generator, changed)


def without_stop_words(words: Words, _: int, __: np.random.Generator, vocabulary: Vocabulary) -> Words:
    """Leave out every stop word, unless nothing else is there."""
    kept = [word for word in words if not vocabulary.is_stop(word)]
    return kept or words


def shuffled(words: Words, _: int, generator: np.random.Generator, __: Vocabulary) -> Words:
    """Put all words in another order."""
    return [words[place] for place in generator.permutation(len(words)).tolist()]


def upper(words: Words, _: int, __: np.random.Generator, ___: Vocabulary) -> Words:
    """Write everything in capitals."""
    return [word.upper() for word in words]


def other_form(words: Words, most: int, generator: np.random.Generator, vocabulary: Vocabulary) -> Words:
    """Take another form of the same stem that the corpus has: "infects" for "infection"."""
    return change(words, most, generator, lambda word, _: like(word, vocabulary.other_form(word.lower())))


def neighbour(words: Words, most: int, generator: np.random.Generator, vocabulary: Vocabulary) -> Words:
    """Take the corpus's nearest word by the encoder that has another stem, where each is nearest to the other."""
    return change(words, most, generator, lambda word, _: like(word, vocabulary.neighbours.get(word.lower())))


def like(word: str, other: str | None) -> str:
    """Write another word with a word's capitals; the word itself where there is no other."""
    if other is None:
        return word
    return other.upper() if word.isupper() and len(word) > 1 else other.capitalize() if word[0].isupper() else other


WAYS: dict[str, Way] = {
    "typo": typo,
    "swap": swap,
    "no stop words": without_stop_words,
    "word order": shuffled,
    "upper case": upper,
    "other form": other_form,
    "neighbour": neighbour,
}
CHANGES_WORDS: Sequence[str] = ("typo", "swap", "other form", "neighbour")  # at most a quarter of them, one at least
