"""JSONL, CSV and mail: one file, several documents or rows, each found again where it stands."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from indexer.documents import Document, Locator
from indexer.errors import Unreadable
from indexer.readers import read

ReadOne = Callable[[bytes, str], Document]


def noted(data: bytes, name: str) -> tuple[list[Document], list[str]]:
    notes: list[str] = []
    return read(data, name, notes.append), notes


def test_jsonl_keeps_good_lines_and_names_the_others() -> None:
    lines = [
        '{"_id": "a", "title": "T", "text": "first"}',
        "{broken",
        '["an array"]',
        '{"id": 7, "content": "seventh"}',
        "",
        '{"text": "no id"}',
        '{"_id": "b"}',
        '{"_id": "a", "text": "first again"}',
        '{"_id": "c", "question": "why", "answer": "because", "n": NaN}',
    ]
    documents, notes = noted(("\ufeff" + "\r\n".join(lines)).encode(), "x.jsonl")
    assert [(document.key, document.text, document.first_line) for document in documents] == [
        ("7", "seventh", 4),
        ("6", "no id", 6),
        ("a", "first again", 8),
        ("c", "why\nbecause", 9),
    ]
    assert [note.partition(" (")[0] for note in notes] == [
        "x.jsonl:2: not JSON",
        "x.jsonl:3: not an object but an array",
        "x.jsonl:7: no text in it",
        "x.jsonl:8: id 'a' again: this line replaces the earlier one",
    ]
    assert Locator(documents[0]).locate(3, 4).line == 4


def test_jsonl_survives_deep_lines_and_lone_surrogates() -> None:
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    documents, notes = noted(f'{deep}\n{{"text": "a\\ud800b\\u0000c"}}'.encode(), "x.jsonl")
    assert [document.text for document in documents] == ["a\ufffdb\ufffdc"]
    assert notes == ["x.jsonl:1: nested too deeply"]


def test_jsonl_with_nothing_usable_is_refused(refused: Callable[[bytes, str], str]) -> None:
    assert refused(b"{}\n[]", "x.ndjson") == "no line is a document (line 1: no text in it)"


def test_a_million_faults_are_twenty_notes() -> None:
    _, notes = noted(b"{\n" * 1000 + b'{"text": "x"}', "x.jsonl")
    assert len(notes) == 21
    assert notes[-1] == "x.jsonl: 980 more lines with such faults"


def test_compressed_jsonl(one: ReadOne, refused: Callable[[bytes, str], str]) -> None:
    packed = gzip.compress(b'{"_id": "a", "text": "words"}\n')
    assert one(packed, "corpus.jsonl.gz").text == "words"
    assert refused(packed[:-9], "corpus.jsonl.gz") == "truncated gzip"


def test_csv_rows_carry_their_column_names(one: ReadOne) -> None:
    document = one(b'Name;Town\nAnna;"Bonn;\nBerlin"\nBen\n', "a.csv")
    assert document.text == "Name | Town\nName: Anna; Town: Bonn; Berlin\nName: Ben"
    assert not document.lined  # a record of two lines: lines cannot be counted
    document = one(b"Name\tTown\n\nAnna\tBonn\n", "a.tsv")
    assert document.text.split("\n")[2] == "Name: Anna; Town: Bonn"
    assert Locator(document).locate(document.text.index("Anna"), 0).line == 3


def test_csv_without_names_or_with_a_caption(one: ReadOne) -> None:
    assert one(b"1,2\na,b\n", "a.csv").text == "1 | 2\na | b"
    assert one(b"Caption,\nName,Age\nAnna,4\n", "a.csv").text == "Caption\nName | Age\nName: Anna; Age: 4"


def test_csv_of_ten_thousand_columns_and_of_one_huge_field(one: ReadOne) -> None:
    assert one(",".join(f"c{number}" for number in range(10_000)).encode(), "a.csv").text.count(" | ") == 9_999
    assert len(one(b'a,b\n"' + b"x" * 300_000 + b'",y\n', "a.csv").text) > 300_000


def make_mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in headers.items():
        message[name] = value
    return message


def test_mail(one: ReadOne) -> None:
    message = make_mail(Subject="Grüße ☸", From="Anna <a@x.org>", To="b@x.org", Date="Tue, 01 Oct 2024 12:34:56 +0200")
    message.set_content("Plain words.")
    message.add_alternative("<p>HTML words.</p>", subtype="html")
    document = one(message.as_bytes(), "a.eml")
    assert document.title == "Grüße ☸"
    assert document.text == ("From: Anna <a@x.org>\nTo: b@x.org\nDate: Tue, 01 Oct 2024 12:34:56 +0200\n\nPlain words.")
    assert one(message.as_bytes().decode().encode("utf-16"), "a.eml").text == document.text


def test_html_mail_shows_no_markup(one: ReadOne) -> None:
    message = make_mail(Subject="s")
    message.set_content("<p>Only <b>HTML</b></p><script>x</script>", subtype="html")
    assert one(message.as_bytes(), "a.eml").text == "Only HTML"


def test_attachments_are_documents_of_their_own_or_are_named() -> None:
    message = make_mail(Subject="s")
    message.set_content("See below.")
    message.add_attachment(b"# Attached\n\nwords", maintype="text", subtype="markdown", filename="a.md")
    message.add_attachment(b"other", maintype="text", subtype="plain", filename="a.md")
    message.add_attachment(b"\xff\xd8\xff\xe0\0\0", maintype="image", subtype="jpeg", filename="p.jpg")
    inner = make_mail(Subject="Inner")
    inner.set_content("Forwarded words.")
    message.add_attachment(inner)
    documents, notes = noted(message.as_bytes(), "a.eml")
    assert [(document.key, document.title) for document in documents] == [
        ("", "s"),
        ("a.md", "Attached"),
        ("a.md (2)", ""),
        ("message.eml", "Inner"),
    ]
    assert documents[0].text == "See below.\n\nAttachments: p.jpg"
    assert notes == ["attachment 'p.jpg': binary file (JPEG image)"]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"no header at all", b"Content-Type: multipart/encrypted\n\n"])
def test_what_is_no_mail_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read(data, "a.eml")
