"""Real files of each format, made by the libraries that write them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers import read

ReadOne = Callable[[bytes, str], Document]


@pytest.fixture
def one() -> ReadOne:
    """Read bytes that make exactly one document."""

    def read_one(data: bytes, name: str) -> Document:
        documents = read(data, name)
        assert len(documents) == 1
        return documents[0]

    return read_one


@pytest.fixture
def refused() -> Callable[[bytes, str], str]:
    """Read bytes that must be refused, and return the reason."""

    def reason(data: bytes, name: str) -> str:
        with pytest.raises(Unreadable) as caught:
            read(data, name)
        return str(caught.value)

    return reason


def archive(members: dict[str, bytes | str], stored_first: str = "") -> bytes:
    """Make a zip container."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as container:
        if stored_first:
            container.writestr("mimetype", stored_first, zipfile.ZIP_STORED)
        for name, content in members.items():
            container.writestr(name, content)
    return target.getvalue()


@pytest.fixture
def make_archive() -> Callable[..., bytes]:
    """Make a zip container of members."""
    return archive


@pytest.fixture(scope="session")
def docx_file() -> bytes:
    """A Word file with headings, a list, a table and a title."""
    import docx

    document = docx.Document()
    document.core_properties.title = "Annual Report"
    document.add_heading("Results", 1)
    document.add_paragraph("Revenue grew by a fifth.")
    document.add_heading("By region", 2)
    table = document.add_table(rows=2, cols=2)
    for position, text in enumerate(["Region", "Revenue", "North", "12"]):
        table.cell(position // 2, position % 2).text = text
    document.add_paragraph("After the table.")
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


@pytest.fixture(scope="session")
def pptx_file() -> bytes:
    """Two slides with titles, text, a table and notes."""
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    for title, body in (("First slide", "Point one"), ("Second slide", "Point two")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    table = slide.shapes.add_table(1, 2, Inches(1), Inches(4), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    target = io.BytesIO()
    deck.save(target)
    return target.getvalue()


@pytest.fixture(scope="session")
def xlsx_file() -> bytes:
    """Two sheets, one empty."""
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Staff"
    sheet.append(["Name", "Age", "Since"])
    sheet.append(["Anna", 41.0, datetime.date(2020, 5, 17)])
    sheet.append(["Ben", None, None])
    book.create_sheet("Empty")
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()
