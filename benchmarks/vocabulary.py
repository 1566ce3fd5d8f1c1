"""A corpus's words: which are forms of one stem, and which are each other's nearest by the encoder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from indexer.analysis import STEMMERS, query_terms
from indexer.readers.language import detect

FEWEST = 3  # documents that have a word; rarer ones are often misspelt
LARGEST = 2000  # words whose vectors are compared: the most frequent ones
_LETTERS = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True)
class Vocabulary:
    """Words in lower case. ``forms``: stem → its words, most frequent first; ``neighbours``: word → word.

    ``language`` (ISO 639-1) is the one whose stop words and stems count.
    """

    forms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stems: dict[str, str] = field(default_factory=dict)
    neighbours: dict[str, str] = field(default_factory=dict)
    language: str = "en"

    def is_stop(self, word: str) -> bool:
        """Tell whether a word is one that queries are not looked up by."""
        terms = query_terms(word, (self.language,))
        return len(terms) == 1 and terms[0].is_stop

    def other_form(self, word: str) -> str | None:
        """Give the most frequent other word of a word's stem, if the corpus has one."""
        others = [form for form in self.forms.get(self.stems.get(word, ""), ()) if form != word]
        return others[0] if others else None


def read_vocabulary(
    texts: Iterable[str],
    encode: Callable[[Sequence[str]], np.ndarray] | None = None,
    wanted: Iterable[str] = (),
    language: str = "en",
) -> Vocabulary:
    """Count the words of texts, group them by stem, and find mutual nearest neighbours.

    ``encode`` gives n words float32 [n, D] of unit length; None finds no neighbours. ``wanted`` are words to be
    compared before others, where the corpus has them.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_LETTERS.findall(text.lower())))
    known = {word: count for word, count in counts.items() if count >= FEWEST}
    terms = {word: query_terms(word, (language,)) for word in known}
    stems = {word: found[0].forms[0] for word, found in terms.items() if len(found) == 1 and not found[0].is_stop}
    by_stem: dict[str, list[str]] = {}
    for word in sorted(stems, key=lambda word: (-known[word], word)):
        by_stem.setdefault(stems[word], []).append(word)
    forms = {stem: tuple(words) for stem, words in by_stem.items()}
    if encode is None:
        return Vocabulary(forms, stems, language=language)
    chosen = [words[0] for words in forms.values()]  # one a stem: a word's nearest is else its own plural
    first = [word for word in wanted if word in stems]
    compared = list(dict.fromkeys([*first, *chosen]))[:LARGEST]
    return Vocabulary(forms, stems, mutual(compared, stems, encode(compared)) if compared else {}, language)


def mutual(words: Sequence[str], stems: dict[str, str], vectors: np.ndarray) -> dict[str, str]:
    """Pair words that are nearest to each other among those of another stem; vectors [n, D] of unit length."""
    products = vectors @ vectors.T
    _, stem_of = np.unique([stems[word] for word in words], return_inverse=True)
    products[stem_of[:, None] == stem_of[None, :]] = -np.inf
    nearest = products.argmax(axis=1)
    return {
        word: words[other]
        for at, (word, other) in enumerate(zip(words, nearest.tolist(), strict=True))
        if nearest[other] == at and np.isfinite(products[at, other])
    }


def language_of(texts: Iterable[str]) -> str:
    """Tell the language of texts taken together, English where it is not told or has no stemmer."""
    found = detect("\n".join(texts))
    return found if found in STEMMERS else "en"
