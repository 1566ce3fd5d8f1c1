"""JSON lines: each line a document of its own, found again by its id or its line number."""

from __future__ import annotations

import json
import zlib
from typing import Any

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.decode import Note, decode

ID_FIELDS = ("_id", "id")
TITLE_FIELDS = ("title", "name", "headline")
TEXT_FIELDS = ("text", "content", "body", "contents")
MAX_NOTES = 20
MAX_INFLATED_BYTES = 512 * 2**20


def read_jsonl(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a JSONL file; a line that is no document becomes a note, of two lines with one id the later counts.

    Raises Unreadable when no line is a document.
    """
    if data.startswith(b"\x1f\x8b"):
        data = _inflated(data)
    complaints = _Complaints(name, note)
    documents: dict[str, Document] = {}
    for number, line in enumerate(decode(data, note).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except RecursionError:
            complaints.add(number, "nested too deeply")
            continue
        except ValueError as error:
            complaints.add(number, f"not JSON ({str(error)[:80]})")
            continue
        if not isinstance(record, dict):
            complaints.add(number, f"not an object but {_kind(record)}")
            continue
        document = _document(record, number)
        if not document.text.strip():
            complaints.add(number, "no text in it")
            continue
        if documents.pop(document.key, None) is not None:
            complaints.add(number, f"id {document.key[:80]!a} again: this line replaces the earlier one")
        documents[document.key] = document
    complaints.finish()
    if not documents:
        raise Unreadable(f"no line is a document ({complaints.first or 'all are blank'})")
    return list(documents.values())


class _Complaints:
    """Notes with their line; after twenty only counted, as a broken file may have a million."""

    def __init__(self, name: str, note: Note):
        self._name = name
        self._note = note
        self._count = 0
        self.first = ""

    def add(self, line: int, reason: str) -> None:
        """Say what is wrong with a line."""
        self._count += 1
        self.first = self.first or f"line {line}: {reason}"
        if self._count <= MAX_NOTES:
            self._note(f"{self._name}:{line}: {reason}")

    def finish(self) -> None:
        """Say how many lines were not named."""
        if self._count > MAX_NOTES:
            self._note(f"{self._name}: {self._count - MAX_NOTES} more lines with such faults")


def _document(record: dict[str, Any], number: int) -> Document:
    identity = next((record[field] for field in ID_FIELDS if record.get(field) not in (None, "")), number)
    title = _first_string(record, TITLE_FIELDS)
    text = _first_string(record, TEXT_FIELDS)
    if not text:
        used = {*ID_FIELDS, *TITLE_FIELDS}
        text = "\n".join(value for field, value in record.items() if field not in used and isinstance(value, str))
    return Document(
        str(identity), text.replace("\r\n", "\n").replace("\r", "\n"), title=title, first_line=number, lined=False
    )


def _first_string(record: dict[str, Any], fields: tuple[str, ...]) -> str:
    values = (record.get(field) for field in fields)
    return next((value for value in values if isinstance(value, str) and value), "")


def _kind(value: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise Unreadable("damaged gzip") from error
    if inflater.unconsumed_tail:
        raise Unreadable(f"inflates to more than {MAX_INFLATED_BYTES // 2**20} MB")
    if not inflater.eof:
        raise Unreadable("truncated gzip")
    return text
