"""Put a text together from a document's parts, and remember where its headings and pages begin.

For formats whose bytes are not their text (PDF, Office, HTML, mail). Knows none of them.
"""

from __future__ import annotations

import os
import re

from indexer.documents import Document, Heading

MAX_TITLE_CHARACTERS = 300
# What programs write into the title field when nobody gave a title.
FILE_NAME = re.compile(r"\.(docx?|pptx?|xlsx?|odt|odp|ods|pdf|dvi|tex|indd|qxd|rtf|txt|html?|ps|eps|fm|pmd)$", re.I)
PLACEHOLDER = re.compile(
    r"(untitled|unbenannt|document|presentation|powerpoint.presentation|slide|title|"
    r"microsoft (word|powerpoint|excel)\b.*|word document|no.?title|print|layout|template|none|null)[\s\d.]*",
    re.IGNORECASE,
)
CELL_SEPARATOR = " | "


class Composer:
    """A text that grows block by block."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[int] = []
        self._turned = 0  # pages begun whose first block has not come yet
        self._tight = False

    def page(self) -> None:
        """Begin the next page."""
        self._turned += 1

    def paragraph(self, text: str) -> None:
        """Add a block that a blank line parts from the one before."""
        self._add(text, "\n\n")

    def line(self, text: str) -> None:
        """Add a line of a list or table: a single newline parts it from a line before."""
        self._add(text, "\n" if self._tight and not self._turned else "\n\n", tight=True)

    def heading(self, text: str, level: int) -> None:
        """Add a heading on a line of its own."""
        text = " ".join(text.split())
        if text:
            self._headings.append(Heading(self._add(text, "\n\n"), min(max(level, 1), 9), text))

    def end_lines(self) -> None:
        """Let the next line begin a new block: a list or table begins or ends."""
        self._tight = False

    def _add(self, text: str, gap: str, tight: bool = False) -> int:
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
        if not text:
            return self._length
        if self._length:
            self._parts.append(gap)
            self._length += len(gap)
        self._pages.extend([self._length] * self._turned)
        self._turned = 0
        self._tight = tight
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start

    @property
    def headings(self) -> tuple[Heading, ...]:
        """The headings so far."""
        return tuple(self._headings)

    def mark(self, offset: int, level: int, text: str) -> None:
        """Note a heading within text that was added already."""
        self._headings.append(Heading(offset, level, text))

    @property
    def length(self) -> int:
        """The characters so far."""
        return self._length

    def document(self, title: str = "", *, key: str = "", kind: str = "text", language: str = "") -> Document:
        """Return the document; without a given title its first heading of level 1 is the title."""
        headings = sorted(self._headings, key=lambda heading: heading.offset)
        if not title:
            title = next((heading.text for heading in headings if heading.level == 1), "")
        pages = (*self._pages, *([self._length] * self._turned))
        return Document(
            key,
            "".join(self._parts),
            title=title[:MAX_TITLE_CHARACTERS],
            kind=kind,
            language=language,
            headings=tuple(headings),
            pages=pages,
        )


def named_title(candidate: str | None, name: str = "") -> str:
    """Return a title from the metadata of a file of that name, "" when a program, not a person, wrote it there."""
    title = " ".join((candidate or "").split())
    if not 3 <= len(title) <= MAX_TITLE_CHARACTERS or not any(character.isalpha() for character in title):
        return ""
    if title.lower() == os.path.splitext(os.path.basename(name))[0].lower():
        return ""
    if FILE_NAME.search(title) or PLACEHOLDER.fullmatch(title):
        return ""
    return title


def row(cells: list[str]) -> str:
    """Return a table's row as one line, the empty cells at its end left out."""
    texts = [" ".join(cell.split()) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return CELL_SEPARATOR.join(texts) if any(texts) else ""
