"""Markdown: the text as it stands, with its headings; its title is the front matter's or the first top heading."""

from __future__ import annotations

import re
from itertools import pairwise

from markdown_it import MarkdownIt

from indexer.documents import Document, Heading
from indexer.readers.decode import Note, decode

FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?\n)??(---|\+\+\+|\.\.\.)[ \t]*(\n|\Z)", re.DOTALL)
TITLE_FIELD = re.compile(r"^title\s*[:=]\s*(.+)$", re.MULTILINE | re.IGNORECASE)
RAW_HEADING = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def read_markdown(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a Markdown file."""
    text = decode(data, note)
    headings = headings_of(text)
    return [
        Document(
            "",
            text,
            title=_title(text, headings),
            kind="markdown",
            headings=headings,
            first_line=1,
            lined=True,
        )
    ]


def headings_of(text: str) -> tuple[Heading, ...]:
    """Return the headings of a Markdown text at its top level (not those within quotes and lists)."""
    body = text
    front = FRONT_MATTER.match(text)
    if front:  # its closing line would make a heading of the line above
        body = "\n" * front[0].count("\n") + text[front.end() :]
    blocks = MarkdownIt("commonmark")
    blocks.core.ruler.enableOnly(["normalize", "block"])  # inline parsing of whole files is slow and not needed
    inline = MarkdownIt("commonmark")
    starts = _line_starts(text)
    tokens = blocks.parse(body)
    found: list[Heading] = []
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            words = _words(inline, content.content)
            if words:
                found.append(Heading(starts[opening.map[0]], int(opening.tag[1:]), words))
    return tuple(found)


def _words(inline: MarkdownIt, content: str) -> str:
    """Return a heading's words without their markup."""
    children = inline.parseInline(content[:1000])[0].children or []
    return " ".join("".join(child.content for child in children if child.type in ("text", "code_inline")).split())


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _title(text: str, headings: tuple[Heading, ...]) -> str:
    front = FRONT_MATTER.match(text)
    field = TITLE_FIELD.search(front[0]) if front else None
    if field:
        return field[1].strip().strip("\"'")
    first = next((heading.text for heading in headings if heading.level == 1), "")
    if first:
        return first
    if headings and not text[: headings[0].offset].strip():
        return headings[0].text  # a chapter whose book has the level above
    raw = RAW_HEADING.search(text[:4000])  # a README that centres its title
    return TAG.sub("", raw[1]).strip() if raw else ""
