"""OpenDocument text, sheets and slides, from content.xml itself: odfpy parses XML with entities switched on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.archive import Archive
from indexer.readers.compose import Composer, named_title, row
from indexer.readers.decode import Note
from indexer.readers.table import Rows

NAMESPACE = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
OFFICE, STYLE, TEXT, TABLE, DRAW, PRESENTATION = (
    NAMESPACE % part for part in ("office", "style", "text", "table", "drawing", "presentation")
)
TITLE = "{http://purl.org/dc/elements/1.1/}title"
LEFT_OUT = frozenset({f"{TEXT}tracked-changes", f"{OFFICE}annotation", f"{OFFICE}annotation-end", f"{TEXT}bookmark"})
MAX_REPEATS = 100  # an empty row or cell may be "repeated" a million times to fill the sheet


def read_opendocument(data: bytes, name: str, note: Note) -> list[Document]:
    """Read an .odt, .ods or .odp file: headings, paragraphs, tables as lines; slides as pages."""
    archive = Archive(data)
    if "META-INF/manifest.xml" in archive.names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise Unreadable("encrypted (save it without a password)")
    content = archive.xml("content.xml")
    body = content.find(f"{OFFICE}body")
    if body is None:
        raise Unreadable("a damaged OpenDocument file (no body)")
    title = ""
    if "meta.xml" in archive.names:
        title = next((element.text or "" for element in archive.xml("meta.xml").iter(TITLE)), "")
    composer = Composer()
    _append(composer, body, _title_styles(content))
    return [composer.document(named_title(title, name))]


def _title_styles(content: Any) -> set[str]:
    """Return the paragraph styles that make a title: the built-in one and those of this file based on it."""
    based = (style for style in content.iter(f"{STYLE}style") if style.get(f"{STYLE}parent-style-name") == "Title")
    return {"Title", *(style.get(f"{STYLE}name", "") for style in based)}


def _append(composer: Composer, body: Any, titles: set[str]) -> None:
    """Append the blocks below an element in their order, with a stack: sections and frames nest freely."""
    stack = list(reversed(body))
    while stack:
        block = stack.pop()
        tag = block.tag
        if tag == f"{TEXT}h":
            composer.heading(_words(block), _number(block, f"{TEXT}outline-level"))
        elif tag == f"{TEXT}p" and block.get(f"{TEXT}style-name") in titles:
            composer.heading(_words(block), 1)
        elif tag == f"{TEXT}p":
            composer.paragraph(_words(block))
            stack.extend(reversed([frame for frame in block.iter(f"{DRAW}text-box") if _is_outermost(frame, block)]))
        elif tag == f"{TEXT}list-item":
            inner = [item for item in block if item.tag in (f"{TEXT}p", f"{TEXT}h")]
            composer.line(f"- {words}" if (words := "\n".join(filter(None, map(_words, inner)))) else "")
            stack.extend(reversed([item for item in block if item not in inner]))
        elif tag == f"{TABLE}table":
            _append_lines(composer, block)
        elif tag == f"{DRAW}page":
            composer.page()
            stack.extend(reversed(block))
        elif tag == f"{DRAW}frame" and block.get(f"{PRESENTATION}class") == "title":
            composer.heading(" ".join(_words(paragraph) for paragraph in block.iter(f"{TEXT}p", f"{TEXT}h")), 1)
        elif tag not in LEFT_OUT and isinstance(tag, str):
            stack.extend(reversed(block))


def _append_lines(composer: Composer, table: Any) -> None:
    records = list(_records(table))
    is_sheet = table.getparent().tag == f"{OFFICE}spreadsheet"
    if is_sheet and any(any(record) for record in records):
        composer.heading(table.get(f"{TABLE}name", ""), 2)
    composer.end_lines()
    for line in Rows(records) if is_sheet else map(row, records):
        composer.line(line)
    composer.end_lines()


def _records(table: Any) -> Iterator[list[str]]:
    for table_row in table.iter(f"{TABLE}table-row"):
        if next(table_row.iterancestors(f"{TABLE}table")) is not table:
            continue  # a table within a cell: its words are in that cell
        cells: list[str] = []
        for cell in table_row.iterchildren(f"{TABLE}table-cell", f"{TABLE}covered-table-cell"):
            words = " ".join(filter(None, (_words(paragraph) for paragraph in cell.iter(f"{TEXT}p", f"{TEXT}h"))))
            cells.extend([words] * min(_number(cell, f"{TABLE}number-columns-repeated"), MAX_REPEATS))
        times = _number(table_row, f"{TABLE}number-rows-repeated") if any(cells) else 1
        for _ in range(min(times, MAX_REPEATS)):
            yield cells


def _words(paragraph: Any) -> str:
    """Return a paragraph's own text; text boxes, notes to the side and comments are blocks of their own."""
    pieces: list[str] = [paragraph.text or ""]
    stack = [(child, False) for child in reversed(paragraph)]
    while stack:
        node, is_left = stack.pop()
        if is_left:
            pieces.append(node.tail or "")
            continue
        stack.append((node, True))
        if node.tag == f"{TEXT}s":
            pieces.append(" " * min(_number(node, f"{TEXT}c"), MAX_REPEATS))
        elif node.tag == f"{TEXT}tab":
            pieces.append("\t")
        elif node.tag == f"{TEXT}line-break":
            pieces.append("\n")
        elif isinstance(node.tag, str) and node.tag not in LEFT_OUT and node.tag != f"{DRAW}text-box":
            pieces.append(" (" if node.tag == f"{TEXT}note-body" else "")
            pieces.append(node.text or "")
            stack.extend((child, False) for child in reversed(node))
    return "".join(pieces).strip()


def _is_outermost(frame: Any, block: Any) -> bool:
    for ancestor in frame.iterancestors():
        if ancestor is block:
            return True
        if ancestor.tag == f"{DRAW}text-box":
            return False
    return True


def _number(element: Any, attribute: str) -> int:
    value = element.get(attribute, "1")
    return max(1, int(value)) if value.isdigit() and len(value) < 10 else 1
