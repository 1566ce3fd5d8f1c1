"""Bytes → Documents, one family of formats a file. What the content is decides, the extension only where it is silent.

Each reader is a function (data, name, note) → list[Document]; it raises Unreadable with a reason that can be shown.
A reader's module is imported when its first file comes, so that reading Markdown costs no spreadsheet library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.decode import Note, clean
from indexer.readers.language import detect
from indexer.readers.recognise import recognise

Reader = Callable[[bytes, str, Note], list[Document]]

READERS = {  # format: the module and function that read it
    "text": "text:read_text",
    "markdown": "markdown:read_markdown",
    "rst": "rst:read_rst",
    "org": "org:read_org",
    "code": "code:read_code",
    "html": "html:read_html",
    "pdf": "pdf:read_pdf",
    "docx": "office:read_docx",
    "pptx": "office:read_pptx",
    "xlsx": "office:read_xlsx",
    "opendocument": "opendocument:read_opendocument",
    "rtf": "rtf:read_rtf",
    "epub": "epub:read_epub",
    "csv": "table:read_csv",
    "jsonl": "jsonl:read_jsonl",
    "notebook": "notebook:read_notebook",
    "mail": "mail:read_mail",
}


def read(data: bytes, name: str, note: Note = lambda message: None) -> list[Document]:
    """Read one file's bytes; ``name`` is its file name, ``note`` is told what a person should know about it.

    The documents are clean Unicode, none is blank, and their language is told where it can be.
    Raises Unreadable when there is nothing to read, or no way to.
    """
    module, function = READERS[recognise(data, name)].split(":")
    reader: Reader = getattr(import_module(f"indexer.readers.{module}"), function)
    documents = [_finished(document) for document in reader(data, name, note) if document.text.strip()]
    if not documents:
        raise Unreadable("empty: no words in it")
    return documents


def _finished(document: Document) -> Document:
    # Cleaning replaces character by character, so that offsets stay true whatever a reader let through.
    return replace(
        document,
        key=clean(document.key),
        text=clean(document.text),
        title=" ".join(clean(document.title).split()),
        headings=tuple(replace(heading, text=" ".join(clean(heading.text).split())) for heading in document.headings),
        language=document.language or (detect(document.text) if document.kind != "code" else ""),
    )
