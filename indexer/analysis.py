"""Text → terms, in whatever language: which words a text holds, how each is stemmed. Knows nothing of postings.

A document's words are stemmed in its own language; a query's, whose language nobody knows, in every language that the
index holds. Each token is analysed by itself, so that a word alone and the same word within a text always agree:

    house, Häuser, naïve     one word: composed (NFKC), lower case, without accents, stemmed
    getUserName              the whole and its parts: getusername, get, user, name; so is get_user_name
    検索エンジン             characters, and pairs of neighbours: scripts that put no space between words, and Korean
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache

import tantivy

LONGEST = 64  # characters of a word that count: more is a digest, an address or noise, and its beginning tells it apart
_REMEMBERED = 200_000  # tokens, a language: 30 MB
UNSTEMMED = "none"
STEMMERS = {
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hu": "Hungarian",
    "it": "Italian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pt": "Portuguese",
    "ro": "Romanian",
    "sv": "Swedish",
    "tr": "Turkish",
}
LANGUAGES = (*STEMMERS, UNSTEMMED)  # in which words of Latin letters can be stemmed; other scripts tell it themselves
_WITHOUT_STOP_WORDS = {"ro", "tr", UNSTEMMED}
# Languages of Latin letters that tantivy cannot stem. Of any other one, Latin words are most likely English names.
_LATIN = frozenset(
    "af az bs ca cs cy et eo eu fo ga gl hr ht id is la lb lt lv mg mi ms mt oc pl rm sk sl so sq sw tl uz vi".split()
)
_SCRIPTS = (  # a word of another script has one stemmer, whatever its document is written in
    (re.compile("[\u0400-\u052f]"), "Russian"),
    (re.compile("[\u0370-\u03ff\u1f00-\u1fff]"), "Greek"),
    (re.compile("[\u0600-\u06ff\u0750-\u077f]"), "Arabic"),
    (re.compile("[\u0b80-\u0bff]"), "Tamil"),
)


def _ranges(points: Iterable[int]) -> str:
    """Write code points, ascending, as the inside of a regular expression's character class."""
    spans: list[list[int]] = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)


# Python's \w leaves out the marks that are half of every word in Hindi, Thai and decomposed French.
_MARKS = _ranges(
    point
    for begin, end in ((0x300, 0x1E00), (0x20D0, 0x2100), (0x302A, 0x309B), (0xA66F, 0xAC00), (0xFE20, 0xFE30))
    for point in range(begin, end)
    if unicodedata.category(chr(point)) in ("Mn", "Mc")
)
# Invisible within a word: soft hyphens, joiners, directions, variation selectors. A zero-width space does part words.
_INVISIBLE = "\u00ad\u034f\u061c\u0640\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
_ASCII_TOKEN, _ASCII_WORD = re.compile("[A-Za-z0-9_]+"), re.compile("[A-Za-z0-9]+")
_TOKEN = re.compile(rf"\w[\w{_MARKS}{_INVISIBLE}]*")
_UNSEEN = re.compile(f"[{_INVISIBLE}]+")
# Marks that a hurried reader leaves out: accents, Greek and Hebrew points, Arabic vowels. Not the breve of й.
_ACCENTS = re.compile(
    "[\u0300-\u0305\u0307-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]+"
)
_SPACELESS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff",  # Chinese and Japanese
    "\u1100-\u11ff\u3131-\u318f\ua960-\ua97f\uac00-\ud7ff",  # Korean: its spaces part phrases, not words
    "\u0e01-\u0e4e",  # Thai
    "\u0e81-\u0ece\u0edc-\u0edf",  # Lao
    "\u1000-\u103f\u1050-\u109f",  # Burmese
    "\u1780-\u17d3",  # Khmer
)
_IS_SPACELESS = re.compile(f"[{''.join(_SPACELESS)}]")
_OTHER = rf"[^\W_{''.join(_SPACELESS)}]"
_WORD = f"{_OTHER}(?:{_OTHER}|[{_MARKS}])*"
_RUN = re.compile("|".join([*(f"[{script}]+" for script in _SPACELESS), _WORD]))
_CLUSTER = re.compile(f".[{_MARKS}]*", re.DOTALL)
_HUMP = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a query, by every form under which a document of the index may hold it.

    ``is_stop``: it says little. ``is_pair``: two neighbours, perhaps of two words: that no text has them means little.
    """

    forms: tuple[str, ...]
    is_stop: bool = field(default=False, compare=False)
    is_pair: bool = field(default=False, compare=False)


def stemming(language: str) -> str:
    """Choose how a document's words of Latin letters are stemmed, by its language (ISO 639-1, "" where unknown)."""
    if language in STEMMERS:
        return language
    return UNSTEMMED if language in _LATIN else "en"


def spans(text: str) -> Iterable[tuple[int, int]]:
    """Find what can be looked up by itself: (start, end) of each word, and of each pair of neighbours where none is."""
    for token in _TOKEN.finditer(text):
        if token[0].isascii() or not _IS_SPACELESS.search(token[0]):
            yield token.span()
            continue
        for run in _RUN.finditer(token[0]):
            start = token.start() + run.start()
            if not _IS_SPACELESS.match(run[0]):
                yield start, start + len(run[0])
                continue
            places = [start + cluster.start() for cluster in _CLUSTER.finditer(run[0])] + [start + len(run[0])]
            yield from zip(places, places[2:] or places[1:], strict=False)


def document_terms(text: str, language: str = "") -> str:
    """Analyse a document's text: its terms in order, each as often as it stands there, with spaces between them."""
    tokens = (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text)
    return " ".join(filter(None, map(_documents(stemming(language)).__getitem__, tokens)))


def query_terms(text: str, languages: Iterable[str]) -> list[Term]:
    """Analyse a query for an index that holds ``languages`` (of LANGUAGES), the most frequent one first."""
    languages = tuple(languages) or ("en",)
    tokens = _TOKEN.findall(text)
    # Stop words are those of one language, the one that has most of them here: "die" is none in an English question.
    listed = [language for language in languages if language not in _WITHOUT_STOP_WORDS]
    likeliest = max(listed, key=lambda language: sum(is_stop(token, language) for token in tokens), default="en")
    return [
        Term(
            forms(word, languages),
            is_stop(token, likeliest) or is_stop(token, "ru"),
            not word.isascii() and bool(_IS_SPACELESS.match(word)),
        )
        for token in tokens
        for word in _words(token, pairs_only=True)
    ]


@lru_cache(10_000)
def is_stop(token: str, language: str) -> bool:
    """Tell whether a token is a stop word: of Lucene's list for English, of Snowball's for other languages."""
    return not _stop_words(language).analyze(unicodedata.normalize("NFC", token.lower()))


def passage_forms(text: str, languages: Iterable[str]) -> list[str]:
    """List the forms of a text's words in each of several languages, single characters included."""
    languages = tuple(languages)
    words = (word for token in _TOKEN.findall(text) for word in _words(token))
    return [form for word in words for form in forms(word, languages)]


def forms(word: str, languages: Iterable[str]) -> tuple[str, ...]:
    """Stem one word in each of several languages: its different forms."""
    return tuple(dict.fromkeys(_stem(word, language) for language in languages))


class _Remembered(dict[str, str]):
    """A token's terms in one language: most tokens of a corpus are a few thousand different ones."""

    def __init__(self, language: str) -> None:
        self._language = language

    def __missing__(self, token: str) -> str:
        terms = " ".join(_stem(word, self._language) for word in _words(token))
        if len(token) <= LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[token] = terms
        return terms


@cache
def _documents(language: str) -> _Remembered:
    return _Remembered(language)


def _words(token: str, *, pairs_only: bool = False) -> list[str]:
    """Take a token apart into words not yet stemmed; ``pairs_only``: without the single characters of a pair."""
    if not token.isascii():
        token = _plain(token)
    if token.isascii():
        parts = [part for piece in _ASCII_WORD.findall(token) for part in _humps(piece)]
        whole = ["".join(parts)] if len(parts) > 1 else []
        return [part[:LONGEST].lower() for part in whole + parts]
    words = []
    for run in _RUN.findall(token.casefold()):
        if not _IS_SPACELESS.match(run):
            words.append(run[:LONGEST])
            continue
        clusters = _CLUSTER.findall(run)
        if not pairs_only or len(clusters) == 1:
            words += clusters
        words += map("".join, itertools.pairwise(clusters))
    return words


def _plain(token: str) -> str:
    """Write a token without what a hurried reader leaves out: ligatures, widths, accents, invisible characters."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", _UNSEEN.sub("", token)))
    return "".join(_ascii_fold().analyze(unicodedata.normalize("NFKC", bare)))


def _humps(piece: str) -> list[str]:
    parts = _HUMP.split(piece)
    # iPhone, mRNA, McDonald and TGFbeta are words; getId and HTTPServer are several.
    return parts if min(map(len, parts)) > (1 if piece[0].islower() else 2) else [piece]


@lru_cache(_REMEMBERED)
def _stem(word: str, language: str) -> str:
    if not word.isascii():
        for script, name in _SCRIPTS:
            if script.match(word):
                return _stemmed(word, name)
    return word if language == UNSTEMMED else _stemmed(word, STEMMERS[language])


def _stemmed(word: str, name: str) -> str:
    return "".join(_chain(name).analyze(word))


@cache
def _chain(name: str) -> tantivy.TextAnalyzer:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.stemmer(name)).build()


@cache
def _ascii_fold() -> tantivy.TextAnalyzer:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.ascii_fold()).build()


@cache
def _stop_words(language: str) -> tantivy.TextAnalyzer:
    name = "Russian" if language == "ru" else STEMMERS[language]
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.stopword(name)).build()
