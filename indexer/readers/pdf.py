"""PDF, by pypdfium2: the text layer page by page, with the outline as headings. No OCR: a scanned page stays unread."""

from __future__ import annotations

import re
from itertools import islice

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.compose import Composer, named_title
from indexer.readers.decode import Note

MAX_OUTLINE_ENTRIES = 2000
BROKEN_WORD = re.compile("[\x02\ufffe]\r?\n?")  # how PDFium writes a hyphen that only the line's end called for
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
EMPTY_LINES = re.compile(r"\n{3,}")


def read_pdf(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a PDF's text layer."""
    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if error.err_code == pdfium_c.FPDF_ERR_PASSWORD:
            raise Unreadable("encrypted (save it without a password)") from error
        raise Unreadable("a damaged PDF") from error
    try:
        return [_document(pdf, name, note)]
    finally:
        pdf.close()


def _document(pdf: pdfium.PdfDocument, name: str, note: Note) -> Document:
    composer = Composer()
    pages = len(pdf)
    spans: list[tuple[int, int]] = []
    unreadable = wordless = 0
    for number in range(pages):
        composer.page()
        before = composer.length
        try:
            text = _page_text(pdf, number)
        except pdfium.PdfiumError:
            unreadable += 1
            text = ""
        wordless += not text
        composer.paragraph(text)
        spans.append((min(before + 2, composer.length) if before and text else before, composer.length))
    if not pages:
        raise Unreadable("a PDF without pages")
    if not composer.length:
        raise Unreadable("no text layer (a scanned image; OCR it first)")
    if unreadable:
        note(f"{unreadable} of {pages} pages are damaged")
    elif wordless:
        note(f"{wordless} of {pages} pages have no text layer")
    title = named_title(pdf.get_metadata_dict(skip_empty=True).get("Title"), name)
    document = composer.document(title)
    for level, words, offset in _outline(pdf, document.text, spans):
        composer.mark(offset, level, words)
    return composer.document(title)


def _page_text(pdf: pdfium.PdfDocument, number: int) -> str:
    page = pdf[number]
    try:
        textpage = page.get_textpage()
        try:
            text: str = textpage.get_text_range()
        finally:
            textpage.close()
    finally:
        page.close()  # at once: thousands of open pages are gigabytes
    text = BROKEN_WORD.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = CONTROL.sub(" ", text)
    lines = (line.rstrip() for line in text.split("\n"))
    return EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _outline(pdf: pdfium.PdfDocument, text: str, spans: list[tuple[int, int]]) -> list[tuple[int, str, int]]:
    """Return (level, words, offset) of each bookmark; on its page where its words are found, else at its top."""
    found: list[tuple[int, str, int]] = []
    for bookmark in islice(pdf.get_toc(), MAX_OUTLINE_ENTRIES):
        destination = bookmark.get_dest()
        words = " ".join(CONTROL.sub(" ", bookmark.get_title() or "").split())
        page = destination.get_index() if destination is not None else None
        if not words or page is None or not 0 <= page < len(spans):
            continue
        start, end = spans[page]
        position = text.find(words, start, end)
        found.append((bookmark.level + 1, words, position if position >= 0 else start))
    return found
