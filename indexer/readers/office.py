"""Word, PowerPoint and Excel files, by python-docx, python-pptx and openpyxl; tables as lines, slides as pages.

Each is opened as a counted archive without DTDs first: these libraries inflate and parse whatever they are given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.archive import LIBRARY_DAMAGE, Archive, parse_xml
from indexer.readers.compose import Composer, named_title, row
from indexer.readers.decode import Note
from indexer.readers.table import Rows

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
BREAKS = {f"{W}tab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "\u2011", f"{W}softHyphen": ""}
# Built-in styles keep their English names in every language of Word; publishers add their own (HeadA, HeadB, …).
HEADING_STYLE = re.compile(r"(?:heading|head|überschrift|titre|título)\s*([1-9]|[a-f](?![a-z]))", re.IGNORECASE)
TITLE_STYLE = re.compile(r"(chapter\s*|book\s*|appendix\s*)?title", re.IGNORECASE)


def read_docx(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a Word file: body, tables and text boxes in their order, then foot- and endnotes."""
    container = Archive(data).checked()
    from docx.opc.constants import CONTENT_TYPE
    from docx.opc.part import PartFactory
    from docx.package import Package
    from docx.parts.document import DocumentPart

    for kind in ("document.macroEnabled", "template", "template.macroEnabledTemplate"):
        prefix = "ms-word" if "macro" in kind else "openxmlformats-officedocument.wordprocessingml"
        PartFactory.part_type_for.setdefault(f"application/vnd.{prefix}.{kind}.main+xml", DocumentPart)
    try:
        package = Package.open(container)
        part = package.main_document_part
        body = part._element.body
        levels = _heading_levels(part.styles.element)
        title = package.core_properties.title
        notes = [rel.target_part for rel in part.rels.values() if rel.reltype.endswith(("/footnotes", "/endnotes"))]
    except LIBRARY_DAMAGE as error:
        raise Unreadable(f"a damaged Word file ({type(error).__name__})") from error
    if part.content_type == CONTENT_TYPE.WML_STYLES or body is None:
        raise Unreadable("a damaged Word file (no body)")
    composer = Composer()
    _append_word(composer, body, levels)
    for notes_part in notes:
        root = parse_xml(notes_part.blob, str(notes_part.partname))
        for footnote in root:
            composer.paragraph("\n".join(filter(None, (_word_text(paragraph) for paragraph in footnote.iter(f"{W}p")))))
    return [composer.document(named_title(title, name))]


def _append_word(composer: Composer, body: Any, levels: dict[str, int]) -> None:
    for block in body.iterchildren():
        if block.tag == f"{W}p":
            style = block.find(f"{W}pPr/{W}pStyle")
            own = block.find(f"{W}pPr/{W}outlineLvl")
            level = levels.get(style.get(f"{W}val"), 0) if style is not None else 0
            if own is not None and own.get(f"{W}val", "9").isdigit():
                level = int(own.get(f"{W}val")) + 1
            text = _word_text(block)
            if 0 < level <= 9 and len(text) < 400:
                composer.heading(text, level)
            elif block.find(f"{W}pPr/{W}numPr") is not None and text:
                composer.line(f"- {text}")
            else:
                composer.paragraph(text)
        elif block.tag == f"{W}tbl":
            composer.end_lines()
            for line in _word_rows(block):
                composer.line(line)
            composer.end_lines()
        elif block.tag in (f"{W}sdt", f"{W}sdtContent", f"{W}customXml", f"{W}ins", f"{W}smartTag"):
            _append_word(composer, block, levels)


def _word_rows(table: Any) -> Iterator[str]:
    for table_row in table.iterchildren(f"{W}tr", f"{W}sdt"):
        cells = table_row.iter(f"{W}tc")
        # A table within a cell brings cells of its own: their text is their outer cell's.
        outer = [cell for cell in cells if next(cell.iterancestors(f"{W}tbl")) is table]
        yield row([" ".join(filter(None, map(_word_text, cell.iter(f"{W}p")))) for cell in outer])


def _word_text(paragraph: Any) -> str:
    """Return a paragraph's text: insertions, links and text boxes too, which Paragraph.text leaves out."""
    pieces: list[str] = []
    boxes: list[str] = []
    stack = list(reversed(paragraph))
    while stack:
        node = stack.pop()
        if node.tag in (f"{W}t", MATH_TEXT):
            pieces.append(node.text or "")
        elif node.tag in BREAKS:
            pieces.append(BREAKS[node.tag])
        elif node.tag == f"{W}txbxContent":
            boxes.extend(filter(None, (_word_text(inner) for inner in node.iter(f"{W}p"))))
        elif node.tag not in (FALLBACK, f"{W}pPr", f"{W}del", f"{W}p"):  # a fallback repeats the text box above it
            stack.extend(reversed(node))
    return "\n".join(filter(None, ["".join(pieces).strip(), *boxes]))


def _heading_levels(styles: Any) -> dict[str, int]:
    """Map style id → heading level: by outline level, else by name, inherited from the style it is based on."""
    own: dict[str, int] = {}
    based: dict[str, str] = {}
    for style in styles.iter(f"{W}style"):
        identity = style.get(f"{W}styleId", "")
        name = style.find(f"{W}name")
        label = name.get(f"{W}val", "") if name is not None else ""
        outline = style.find(f"{W}pPr/{W}outlineLvl")
        base = style.find(f"{W}basedOn")
        if base is not None:
            based[identity] = base.get(f"{W}val", "")
        named = HEADING_STYLE.match(label)
        if TITLE_STYLE.fullmatch(label):
            own[identity] = 1
        elif named:
            own[identity] = int(named[1]) if named[1].isdigit() else "abcdef".index(named[1].lower()) + 2
        elif outline is not None and outline.get(f"{W}val", "9").isdigit():
            own[identity] = int(outline.get(f"{W}val")) + 1
    for identity in based:
        seen = {identity}
        ancestor = identity
        while ancestor not in own and based.get(ancestor, ancestor) not in seen:
            ancestor = based[ancestor]
            seen.add(ancestor)
        if ancestor in own and identity not in own:
            own[identity] = own[ancestor]
    return {identity: level for identity, level in own.items() if level <= 9}


def read_pptx(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a PowerPoint file: each slide a page, its title a heading, speaker notes after its shapes."""
    container = Archive(data).checked()
    from pptx import Presentation
    from pptx.exc import PackageNotFoundError

    try:
        deck = Presentation(container)
        slides = list(deck.slides)
        title = named_title(deck.core_properties.title, name)
    except (PackageNotFoundError, *LIBRARY_DAMAGE) as error:
        raise Unreadable(f"a damaged PowerPoint file ({type(error).__name__})") from error
    composer = Composer()
    broken = 0
    for slide in slides:
        composer.page()
        try:
            _append_slide(composer, slide)
        except LIBRARY_DAMAGE:
            broken += 1
    if broken:
        note(f"{broken} of {len(slides)} slides are damaged and read in part")
    return [composer.document(title)]


def _append_slide(composer: Composer, slide: Any) -> None:
    from pptx.shapes.group import GroupShape

    heading = slide.shapes.title
    if heading is not None and heading.has_text_frame:
        composer.heading(heading.text_frame.text.replace("\v", " "), 1)
    shapes = list(reversed(list(slide.shapes)))
    while shapes:
        shape = shapes.pop()
        if isinstance(shape, GroupShape):
            shapes.extend(reversed(list(shape.shapes)))
        elif getattr(shape, "has_table", False) and shape.has_table:
            for table_row in shape.table.rows:
                composer.line(row([cell.text for cell in table_row.cells]))
            composer.end_lines()
        elif getattr(shape, "has_text_frame", False) and (heading is None or shape.shape_id != heading.shape_id):
            composer.paragraph(shape.text_frame.text.replace("\v", "\n"))
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        spoken = slide.notes_slide.notes_text_frame.text.strip()
        composer.paragraph(f"Notes: {spoken}" if spoken else "")


def read_xlsx(data: bytes, name: str, note: Note) -> list[Document]:
    """Read an Excel file: each sheet under its name, each row a line of "column: value"; results, not formulas."""
    container = Archive(data).checked()
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(container, read_only=True, data_only=True, keep_links=False)
    except (InvalidFileException, *LIBRARY_DAMAGE) as error:
        raise Unreadable(f"a damaged Excel file ({type(error).__name__})") from error
    composer = Composer()
    try:
        title = named_title(book.properties.title, name)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # some writers declare A1 for a whole sheet
            lines = [line for line in Rows(_cells(sheet.iter_rows(values_only=True))) if line]
            if lines:
                composer.heading(sheet.title, 2)
            for line in lines:
                composer.line(line)
            composer.end_lines()
    except LIBRARY_DAMAGE as error:
        raise Unreadable(f"a damaged Excel file ({type(error).__name__})") from error
    finally:
        book.close()
    if not composer.length:
        raise Unreadable("empty: no cell has a value")
    return [composer.document(title)]


def _cells(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[str]]:
    for values in rows:
        yield [_shown(value) for value in values]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat(" ") if hasattr(value, "hour") and hasattr(value, "year") else value.isoformat())
    return str(value)
