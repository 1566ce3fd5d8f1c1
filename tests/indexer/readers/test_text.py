"""Plain text, source code and decoding: lines stay the file's lines, characters come out clean."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.documents import Document, Locator
from indexer.errors import Unreadable
from indexer.readers import read
from indexer.readers.decode import decode

ReadOne = Callable[[bytes, str], Document]
SENTENCES = {
    "fr": "L'été était très chaud cette année. J'ai acheté un café au lait pour 3,50 €.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
}


def silent(message: str) -> None:
    pass


def test_a_line_of_the_text_is_the_line_of_the_file(one: ReadOne) -> None:
    document = one(b"\xef\xbb\xbffirst\r\nsecond\rthird\n", "a.txt")
    assert document.text == "first\nsecond\nthird\n"
    assert (document.first_line, document.lined) == (1, True)
    place = Locator(document).locate(document.text.index("third"), 18)
    assert place.line == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_unicode_with_and_without_a_mark(encoding: str, one: ReadOne) -> None:
    text = SENTENCES["fr"] * 3
    assert one(text.encode(encoding), "a.txt").text == text


@pytest.mark.parametrize(
    ("encoding", "language"),
    [("cp1252", "fr"), ("cp1250", "pl"), ("cp1251", "ru"), ("koi8-r", "ru"), ("shift_jis", "ja")],
)
def test_older_encodings_are_recognised(encoding: str, language: str, one: ReadOne) -> None:
    text = SENTENCES[language]
    document = one(text.encode(encoding), "a.txt")
    assert document.text == text
    assert document.language == language


def test_a_broken_byte_in_utf8_is_replaced_and_said() -> None:
    notes: list[str] = []
    text = "Größe, Maß und Übermut. " * 20
    documents = read(text.encode() + b"\xff" + "schön".encode(), "a.txt", notes.append)
    assert documents[0].text == text + "\ufffdschön"
    assert notes == ["1 characters replaced: not valid utf-8"]


def test_a_few_nuls_are_replaced_and_many_make_it_binary(one: ReadOne, refused: Callable[[bytes, str], str]) -> None:
    assert one(b"word " * 1000 + b"\0", "a.txt").text.endswith("\ufffd")
    assert refused(b"word\0" * 100, "a.txt") == "binary file"
    assert refused(bytes(range(256)) * 20, "a.txt") == "binary file"
    assert refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "picture.txt") == "binary file (PNG image)"


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b" \n\t\r\n", "empty: white space only")])
def test_nothing_to_read(data: bytes, reason: str, refused: Callable[[bytes, str], str]) -> None:
    assert refused(data, "a.txt") == reason


def test_an_unknown_extension_is_read_when_it_is_text(one: ReadOne, refused: Callable[[bytes, str], str]) -> None:
    assert one(b"some words", "LICENSE").text == "some words"
    assert one(b"some words", "notes.xyz").kind == "text"
    assert one(b"<!DOCTYPE html><title>T</title><p>words", "page").title == "T"
    assert "binary" in refused(b"\x7fELF\x02\x01\x01\0" + b"\0" * 100, "program")


@pytest.mark.parametrize(
    ("name", "grammar"),
    [("a.py", "python"), ("b.RS", "rust"), ("Makefile", "make"), ("x.cs", "csharp"), ("run", "bash"), ("cfg.toml", "")],
)
def test_code_names_its_grammar(name: str, grammar: str, one: ReadOne) -> None:
    document = one(b"#!/usr/bin/env bash\necho hello\n", name)
    assert document.grammar == grammar
    assert document.kind == ("code" if grammar else "text")
    assert document.text.startswith("#!/usr")


@given(st.binary(max_size=2000))
def test_any_bytes_decode_cleanly_or_are_refused(data: bytes) -> None:
    try:
        text = decode(data, silent)
    except Unreadable:
        return
    text.encode()  # no lone surrogate
    assert "\0" not in text
    assert "\r" not in text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_utf8_comes_out_as_it_went_in(text: str) -> None:
    if text.strip() and not text.startswith("\ufeff"):
        assert decode(text.encode(), silent) == text


def test_language_of_the_beginning(one: ReadOne) -> None:
    assert one(b"The index keeps what was committed, whatever happens to the machine.", "a.txt").language == "en"
    assert one("Der Index behält, was bestätigt wurde, was auch geschieht.".encode(), "a.txt").language == "de"
    assert one(b"12 34 56", "a.txt").language == ""


def test_reading_markdown_imports_no_other_reader() -> None:
    program = (
        "import sys; from indexer.readers import read; read(b'# T', 'a.md')\n"
        "heavy = {'openpyxl', 'docx', 'pptx', 'pypdfium2', 'selectolax', 'lxml', 'numpy', 'torch', 'striprtf'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
