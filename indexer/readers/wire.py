"""What parent and worker say to each other: length-prefixed JSON, never pickle. Knows nothing of processes.

All JSON is ASCII: an undecodable byte of a path travels as an escaped lone surrogate and comes out as it went in.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from indexer.documents import Document, Heading

HEADER = struct.Struct(">Q")
MAX_FRAME_BYTES = 4 * 2**30  # a header beyond it is garbage, not a message


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A file to read: unless its SHA-256 is ``known_digest``. ``target`` is opened instead where ``path`` is a link."""

    path: str
    known_digest: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file: documents, or the reason why it was skipped, or that it is unchanged.

    ``digest`` is the SHA-256 of the bytes in hex, "" when these could not be read.
    """

    path: str
    digest: str = ""
    size: int = 0
    mtime_ns: int = 0
    documents: tuple[Document, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker is held to."""

    timeout_s: float
    memory_bytes: int
    max_bytes: int


def frame(message: dict[str, Any]) -> bytes:
    """Return a message as bytes with their length before them."""
    body = json.dumps(message).encode("ascii")
    return HEADER.pack(len(body)) + body


def receive(read: Callable[[int], bytes]) -> dict[str, Any] | None:
    """Return the next message, None at the end of the stream; ``read(n)`` gives exactly n bytes unless that ends.

    Raises ValueError when what comes is no message.
    """
    header = read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ValueError("not a message")
    body = read(length)
    if len(body) < length:
        return None
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def pack(document: Document) -> list[Any]:
    """Return a document as JSON takes it."""
    headings = [[heading.offset, heading.level, heading.text] for heading in document.headings]
    return [
        document.key,
        document.text,
        document.title,
        document.kind,
        document.grammar,
        document.language,
        headings,
        list(document.pages),
        document.first_line,
        document.lined,
    ]


def unpack(fields: list[Any]) -> Document:
    """Return the document that ``pack`` packed."""
    key, text, title, kind, grammar, language, headings, pages, first_line, lined = fields
    return Document(
        key,
        text,
        title=title,
        kind=kind,
        grammar=grammar,
        language=language,
        headings=tuple(Heading(*heading) for heading in headings),
        pages=tuple(pages),
        first_line=first_line,
        lined=lined,
    )
