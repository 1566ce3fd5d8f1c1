"""What flows through the indexer: Document, Passage, Location.

Plain frozen data. Knows nothing of files, formats, encoders or SQLite.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

import xxhash


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a document's text: where it stands (characters), how deep (1 is the top), what it says."""

    offset: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One thing a person would call a document: a file, one line of a JSONL file, one entry of a caller's collection.

    ``key`` is "" for a whole file, the line's own id within a JSONL file, the caller's id for a collection.
    ``text`` is clean Unicode: no NUL, no lone surrogate. ``title`` is "" where the document names none (a file's name
    is no title: renaming a file must not change its vectors).
    ``kind`` picks the splitter: "text", "markdown" or "code" (then ``grammar`` names the programming language).
    ``language`` is the natural language (ISO 639-1) or "".
    ``headings`` stand in order of their offsets. ``pages[i]`` is the offset where page i + 1 starts; () without pages.
    ``first_line`` is the file's line on which the text starts, None where lines mean nothing (PDF, DOCX);
    ``lined`` says that each newline of the text is one in the file, so that lines can be counted onwards.
    """

    key: str
    text: str
    title: str = ""
    kind: str = "text"
    grammar: str = ""
    language: str = ""
    headings: tuple[Heading, ...] = ()
    pages: tuple[int, ...] = ()
    first_line: int | None = None
    lined: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """Where a passage stands: characters [start, end) of its document's text; line and page from 1; heading path."""

    start: int
    end: int
    line: int | None = None
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document small enough for the encoder: ``text == document.text[start:end]``."""

    ordinal: int
    text: str
    location: Location


class Locator:
    """Tell line, page and heading path of an offset in one document, in O(log n) each."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._newlines: list[int] = []
        if document.first_line is not None and document.lined:
            self._newlines = [newline.start() for newline in re.finditer("\n", document.text)]
        self._heading_offsets = [heading.offset for heading in document.headings]
        self._paths = _heading_paths(document.headings)

    def locate(self, start: int, end: int) -> Location:
        """Return the location of characters [start, end); the heading is the last one at or before ``start``."""
        document = self._document
        line = None
        if document.first_line is not None:
            line = document.first_line + bisect_right(self._newlines, start - 1)
        page = bisect_right(document.pages, start) or None
        above = bisect_right(self._heading_offsets, start)
        return Location(start, end, line, page, self._paths[above - 1] if above else None)


def _heading_paths(headings: tuple[Heading, ...]) -> list[str]:
    paths: list[str] = []
    open_headings: list[Heading] = []
    for heading in headings:
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        open_headings.append(heading)
        paths.append(" > ".join(opened.text for opened in open_headings))
    return paths


# Long heading paths would eat the encoder's window; this is about 30 tokens.
_HEADING_CHARACTERS = 120


def searchable(title: str, heading: str | None, text: str) -> str:
    """Put a passage into its context: the text that is encoded.

    The title, then the heading path where it says more, then the passage. BEIR's convention, title + " " + text,
    is the case without headings.
    """
    context = [title] if title else []
    if heading:
        path = heading.removeprefix(title).removeprefix(" > ") if title else heading
        context += [path[:_HEADING_CHARACTERS]] if path else []
    return " ".join([*context, text])


def looked_up(title: str, heading: str | None, text: str) -> str:
    """Put a passage into its context for BM25: as it is encoded, its title's words counted twice.

    That a document is about a word weighs more than that it mentions it: docs/quality.md.
    """
    return f"{title} {searchable(title, heading, text)}" if title else searchable(title, heading, text)


def passage_digest(title: str, heading: str | None, text: str) -> bytes:
    """Identify what is encoded for a passage: equal digests share a vector within one index (xxh3-128)."""
    return xxhash.xxh3_128_digest(searchable(title, heading, text).encode())
