"""reStructuredText: the text as it stands; a heading is a line underlined with one repeated sign.

docutils would execute directives and move the lines; where a heading stands is all that is needed.
"""

from __future__ import annotations

import re

from indexer.documents import Document, Heading
from indexer.readers.decode import Note, decode

ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+\s*")
ROLE = re.compile(
    r":[\w:.-]+:`([^`<]*?)(?:\s*<[^`>]*>)?`|``?([^`<]*?)(?:\s*<[^`>]*>)?``?_{0,2}|[*]{1,2}([^*]+)[*]{1,2}"
)
FIELD_LIST = re.compile(r"(?:[A-Z][\w-]*:.*\n(?:[ \t]+.*\n)*)+")
TITLE_FIELD = re.compile(r"^Title:[ \t]*(.+)$", re.MULTILINE)


def read_rst(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a reStructuredText file."""
    text = decode(data, note)
    headings = headings_of(text)
    return [Document("", text, title=_title(text, headings), headings=headings, first_line=1, lined=True)]


def headings_of(text: str) -> tuple[Heading, ...]:
    """Return the headings; as in docutils a style's level is the order in which the styles first appear."""
    lines = text.split("\n")
    styles: dict[str, int] = {}
    found: list[Heading] = []
    offset = 0
    for number, line in enumerate(lines):
        title = line.rstrip()
        below = lines[number + 1] if number + 1 < len(lines) else ""
        above = lines[number - 1] if number else ""
        if title.strip() and _underlines(below, title) and not ADORNMENT.fullmatch(title):
            overlined = bool(ADORNMENT.fullmatch(above)) and above[0] == below[0]
            if overlined or (not title[0].isspace() and not above.strip()):
                style = below[0] + ("^" if overlined else "")
                level = styles.setdefault(style, len(styles) + 1)
                words = ROLE.sub(lambda role: role[1] or role[2] or role[3] or "", title)
                found.append(Heading(offset, level, " ".join(words.split())))
        offset += len(line) + 1
    return tuple(found)


def _underlines(line: str, title: str) -> bool:
    return bool(ADORNMENT.fullmatch(line)) and len(line.rstrip()) >= min(len(title), 4)


def _title(text: str, headings: tuple[Heading, ...]) -> str:
    fields = FIELD_LIST.match(text)  # a PEP opens with mail-like fields
    field = TITLE_FIELD.search(fields[0]) if fields else None
    if field:
        return field[1].strip()
    tops = [heading.text for heading in headings if heading.level == 1]
    return tops[0] if tops else ""
