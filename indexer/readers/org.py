"""Org mode: the text as it stands; headings are lines of stars, the title is a keyword."""

from __future__ import annotations

import re

from indexer.documents import Document, Heading
from indexer.readers.decode import Note, decode

HEADING = re.compile(
    r"(\*+)\s+(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED)\s+)?(?:\[#[A-Z0-9]\]\s+)?(.*?)(?:\s+:[\w@:]+:)?\s*"
)
BLOCK = re.compile(r"\s*#\+(begin|end)_(\w+)", re.IGNORECASE)
TITLE = re.compile(r"^#\+title:[ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)


def read_org(data: bytes, name: str, note: Note) -> list[Document]:
    """Read an Org file."""
    text = decode(data, note)
    headings = _headings(text)
    named = TITLE.search(text)
    title = named[1].strip() if named else next((heading.text for heading in headings if heading.level == 1), "")
    return [Document("", text, title=title, headings=headings, first_line=1, lined=True)]


def _headings(text: str) -> tuple[Heading, ...]:
    found: list[Heading] = []
    offset = 0
    within = ""
    for line in text.split("\n"):
        if block := BLOCK.match(line):
            if block[1].lower() == "begin":
                within = within or block[2].lower()
            elif block[2].lower() == within:
                within = ""
        elif not within and (heading := HEADING.fullmatch(line)) and heading[2]:
            found.append(Heading(offset, len(heading[1]), heading[2]))
        offset += len(line) + 1
    return tuple(found)
