"""Any text becomes a bounded query: what the encoder reads, and the terms that the postings are asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from indexer.analysis import Term
from indexer.errors import UsageError
from indexer.lexical import MAX_TERMS

MAX_BYTES = 8192
# Control characters and lone surrogates mean nothing to an encoder, and tantivy and SQLite refuse some of them.
_ESCAPED = re.compile(r"[\udc80-\udcff]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Query:
    """A query fit for both retrievers; ``notes`` say what was cut."""

    text: str
    notes: list[str] = field(default_factory=list)


def parse(text: str) -> Query:
    """Make a query of any text: nothing in it is an operator, so nothing in it can be an error.

    Raises UsageError only where nothing is left to search for.
    """
    notes = []
    # In a C locale the bytes of an argument arrive as surrogates: give them their characters back.
    text = text.encode("utf-8", "surrogateescape" if _ESCAPED.search(text) else "replace").decode("utf-8", "replace")
    cleaned = " ".join(_UNPRINTABLE.sub(" ", text).split())
    encoded = cleaned.encode()
    if len(encoded) > MAX_BYTES:
        cleaned = encoded[:MAX_BYTES].decode(errors="ignore")
        notes.append(f"the query was cut to its first {MAX_BYTES} bytes (of {len(encoded)})")
    if not cleaned:
        raise UsageError("the query is empty: say what you are looking for")
    return Query(cleaned, notes)


def content_terms(terms: list[Term], notes: list[str]) -> list[Term]:
    """Leave out stop words, unless the query holds nothing else.

    Where no passage has the words that matter, BM25 would rank by "the" and "on", and fusion would believe it.
    """
    kept = [term for term in terms if not term.is_stop]
    if terms and not kept:
        notes.append("the query holds stop words only: what BM25 finds by them means little")
        return terms
    return kept


def bounded_terms(terms: list[Term], notes: list[str]) -> list[Term]:
    """Keep the first 256 different terms, repetitions of those included; say so where some were left out."""
    different = list(dict.fromkeys(terms))
    if len(different) <= MAX_TERMS:
        return terms
    notes.append(f"only the first {MAX_TERMS} of the query's {len(different)} different words are looked up")
    kept = set(different[:MAX_TERMS])
    return [term for term in terms if term in kept]
