"""PDF, Office, OpenDocument, EPUB and RTF: real files of each, and what hostile ones get."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.documents import Document, Locator
from indexer.errors import Unreadable
from indexer.readers import archive, read
from indexer.readers.compose import Composer, named_title

ReadOne = Callable[[bytes, str], Document]
Refused = Callable[[bytes, str], str]
MakeArchive = Callable[..., bytes]


@pytest.fixture(scope="module")
def write_pdf() -> Callable[..., bytes]:
    """Write a PDF: a page for each text, with an outline entry for each title."""
    fpdf = pytest.importorskip("fpdf", reason="fpdf2 writes the PDFs that these tests read: pip install -e .[dev]")

    def write(*pages: str, title: str = "", sections: bool = False, password: str = "") -> bytes:
        pdf = fpdf.FPDF()
        pdf.set_font("Helvetica", size=12)
        if title:
            pdf.set_title(title)
        if password:
            pdf.set_encryption(owner_password=password, user_password=password)
        for number, page in enumerate(pages, 1):
            pdf.add_page()
            if sections:
                pdf.start_section(f"Section {number}")
            if page:
                pdf.multi_cell(0, text=page)
        return bytes(pdf.output())

    return write


def test_pdf_pages_title_and_outline(write_pdf: Callable[..., bytes], one: ReadOne) -> None:
    data = write_pdf("Words of the first page.", "", "Words of the third.", title="A Study of Words", sections=True)
    notes: list[str] = []
    document = read(data, "paper.pdf", notes.append)[0]
    assert document.title == "A Study of Words"
    assert document.text == "Words of the first page.\n\nWords of the third."
    assert notes == ["1 of 3 pages have no text layer"]
    place = Locator(document).locate(document.text.index("third"), 40)
    assert (place.page, place.heading, place.line) == (3, "Section 3", None)
    assert Locator(document).locate(0, 5).page == 1
    assert one(data, "misnamed.txt").text == document.text


def test_pdf_that_cannot_be_read(write_pdf: Callable[..., bytes], refused: Refused) -> None:
    data = write_pdf("words")
    assert "encrypted" in refused(write_pdf("words", password="secret"), "a.pdf")
    assert refused(write_pdf("", ""), "a.pdf") == "no text layer (a scanned image; OCR it first)"
    assert refused(b"%PDF-1.7\nnothing", "a.pdf") == "a damaged PDF"
    assert refused(b"just words", "a.pdf") == "named .pdf, but no PDF"
    for cut in range(100, len(data), 97):  # truncated anywhere: read, or refused, never a crash
        try:
            read(data[:cut], "a.pdf")
        except Unreadable:
            continue


def test_docx(docx_file: bytes, one: ReadOne) -> None:
    document = one(docx_file, "a.docx")
    assert document.title == "Annual Report"
    assert document.text == (
        "Results\n\nRevenue grew by a fifth.\n\nBy region\n\nRegion | Revenue\nNorth | 12\n\nAfter the table."
    )
    assert Locator(document).locate(document.text.index("North"), 0).heading == "Results > By region"
    assert one(docx_file, "renamed.zip").text == document.text


def test_docx_in_the_strict_dialect(docx_file: bytes, one: ReadOne, make_archive: MakeArchive) -> None:
    usual, strict = (
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/",
        b"http://purl.oclc.org/ooxml/wordprocessingml/",
    )
    with zipfile.ZipFile(io.BytesIO(docx_file)) as source:
        members = {name: source.read(name).replace(usual, strict) for name in source.namelist()}
    assert "North | 12" in one(make_archive(members), "a.docx").text


def test_pptx(pptx_file: bytes, one: ReadOne) -> None:
    document = one(pptx_file, "a.pptx")
    assert document.text == (
        "First slide\n\nPoint one\n\nSecond slide\n\nPoint two\n\nleft | right\n\nNotes: Say it slowly."
    )
    place = Locator(document).locate(document.text.index("slowly"), 0)
    assert (place.page, place.heading) == (2, "Second slide")


def test_xlsx(xlsx_file: bytes, one: ReadOne) -> None:
    document = one(xlsx_file, "a.xlsx")
    assert document.text == "Staff\n\nName | Age | Since\nName: Anna; Age: 41; Since: 2020-05-17 00:00:00\nName: Ben"
    assert [heading.text for heading in document.headings] == ["Staff"]


@pytest.mark.parametrize("name", ["docx_file", "pptx_file", "xlsx_file"])
def test_damaged_office_files_are_refused_with_a_reason(name: str, request: pytest.FixtureRequest) -> None:
    data: bytes = request.getfixturevalue(name)
    for position in range(64, len(data), len(data) // 40):
        damaged = data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]
        for candidate in (damaged, data[:position]):
            try:
                read(candidate, f"a.{name[:4]}")
            except Unreadable as error:
                assert str(error)


def test_opendocument(one: ReadOne, refused: Refused, make_archive: MakeArchive) -> None:
    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in [("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing")]
    )
    content = (
        f"<office:document-content {spaces}><office:body><office:text>"
        '<text:h text:outline-level="2">Head<text:s text:c="2"/>line</text:h>'
        "<text:p>One <text:span>two</text:span> three<text:line-break/>four</text:p>"
        "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
        '<table:table><table:table-row><table:table-cell table:number-columns-repeated="2"><text:p>x</text:p>'
        '</table:table-cell><table:table-cell table:number-columns-repeated="16000"/></table:table-row></table:table>'
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        "</office:text></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.text"
    document = one(make_archive({"content.xml": content}, kind), "a.odt")
    assert document.text == "Head line\n\nOne two three\nfour\n\n- item\n\nx | x"
    assert [(heading.level, heading.text) for heading in document.headings] == [(2, "Head line")]
    locked = {"content.xml": content, "META-INF/manifest.xml": "<m><encryption-data/></m>"}
    assert "encrypted" in refused(make_archive(locked, kind), "a.odt")
    evil = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + content.replace("item", "&a;")
    assert "DTD" in refused(make_archive({"content.xml": evil}, kind), "a.odt")


def test_epub(one: ReadOne, make_archive: MakeArchive) -> None:
    members = {
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Book</dc:title></metadata><manifest>'
        '<item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="one%20.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
        "OEBPS/one .xhtml": "<!DOCTYPE html><html><body><h1>First</h1><p>words</p></body></html>",
        "OEBPS/two.xhtml": "<html><body><h1>Second</h1><p>more</p></body></html>",
        "../../evil": "never written",
    }
    document = one(make_archive(members, "application/epub+zip"), "a.epub")
    assert (document.title, document.text) == ("The Book", "First\n\nwords\n\nSecond\n\nmore")
    assert [heading.text for heading in document.headings] == ["First", "Second"]


def test_rtf(one: ReadOne) -> None:
    text = rb"{\rtf1\ansi\ansicpg1252{\info{\title Letter to all}}{\fonttbl{\f0 Arial;}}Gr\'fc\'dfe\par an alle\par}"
    document = one(text, "a.rtf")
    assert document.text.split() == ["Grüße", "an", "alle"]
    assert document.title == "Letter to all"


def test_wrong_containers(refused: Refused, docx_file: bytes, make_archive: MakeArchive) -> None:
    assert refused(make_archive({"a.txt": "words"}), "a.docx") == "a zip archive: unpack it first"
    assert refused(b"words", "a.docx") == "named .docx, but no Word file"
    assert refused(b"PK\x03\x04" + b"x" * 100, "a.docx") == "a damaged zip container"
    assert "without a document" in refused(make_archive({"[Content_Types].xml": "<x/>"}), "a.docx")
    assert "old binary" in refused(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "a.doc")
    assert "gzip" in refused(b"\x1f\x8b\x08\0" + b"\0" * 20, "a.txt")


def test_zip_bombs_are_counted_while_they_inflate(refused: Refused, make_archive: MakeArchive) -> None:
    bomb = {"[Content_Types].xml": "<x/>", "word/document.xml": b" " * (40 * 2**20)}
    assert refused(make_archive(bomb), "a.docx") == "inflates more than 100 times"
    lying = bytearray(make_archive(bomb))
    position = lying.rindex(b"PK\x01\x02")  # the central directory says the last member is small
    lying[position + 24 : position + 28] = (1000).to_bytes(4, "little")
    assert refused(bytes(lying), "a.docx")


def test_a_container_of_too_many_members(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    with pytest.raises(Unreadable, match="more than 2 members"):
        archive.Archive(make_archive({"a": "", "b": "", "c": ""}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_never_reach_a_parser(
    encoding: str, docx_file: bytes, make_archive: MakeArchive, refused: Refused
) -> None:
    with zipfile.ZipFile(io.BytesIO(docx_file)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    evil = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE l [<!ENTITY a "ha">]><l>&a;</l>'
    members["word/document.xml"] = evil.encode(encoding)
    assert "DTD or entities" in refused(make_archive(members), "a.docx")
    members["word/document.xml"] = b'<?xml version="1.0" encoding="utf-7"?><l/>'
    assert "unusual encoding" in refused(make_archive(members), "a.docx")


def test_pages_of_a_composed_text() -> None:
    composer = Composer()
    composer.page()
    composer.paragraph("one")
    composer.page()
    composer.page()
    composer.line("three")
    composer.page()
    document = composer.document()
    assert document.text == "one\n\nthree"
    assert document.pages == (0, 5, 5, 10)
    assert [Locator(document).locate(offset, offset).page for offset in (0, 4, 5, 9)] == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("title", "sane"),
    [
        ("Microsoft Word - x.doc", ""),
        ("untitled", ""),
        ("paper.dvi", ""),
        ("1234", ""),
        (None, ""),
        (" A\nB C ", "A B C"),
    ],
)
def test_titles_that_programs_write_are_none(title: str | None, sane: str) -> None:
    assert named_title(title) == sane


def test_the_real_folder(data: Path) -> None:
    folder = data / "docs-folder"
    if not folder.is_dir():
        pytest.skip(f"no docs-folder in {data}")
    for name, words in {
        "docling/samples/docx/sources/word_tables.docx": "|",
        "docling/samples/docx/sources/Strict.docx": "Some text",
        "unstructured/pdf/fake-memo.pdf": "bottles of water",
        "unstructured/fake.odt": "Header row | Mon | Wed | Fri",
        "unstructured/fake-doc.rtf": "My first paragraph.",
        "docling/samples/pptx/sources/powerpoint_sample.pptx": "Second slide title",
        "unstructured/stanley-cups-utf-16.csv": "Team: Blues; Location: STL; Stanley Cups: 1",
    }.items():
        path = folder / name
        assert words in read(path.read_bytes(), path.name)[0].text, name
