"""Plain text and configuration files: kept as they are, so that a line of the text is the line of the file."""

from __future__ import annotations

from indexer.documents import Document
from indexer.readers.decode import Note, decode


def read_text(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a text file as it stands."""
    return [Document("", decode(data, note), first_line=1, lined=True)]
