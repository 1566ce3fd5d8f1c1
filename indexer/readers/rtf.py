"""RTF, by striprtf: text without its formatting."""

from __future__ import annotations

from striprtf.striprtf import rtf_to_text

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.compose import Composer, named_title
from indexer.readers.decode import Note

TITLE_GROUP = rb"{\title "


def read_rtf(data: bytes, name: str, note: Note) -> list[Document]:
    """Read an RTF file."""
    try:
        text = rtf_to_text(data.decode("latin-1"), errors="replace")  # RTF is ASCII; other characters are escaped
    except (ValueError, LookupError, IndexError, UnicodeError) as error:
        raise Unreadable(f"damaged RTF ({type(error).__name__})") from error
    composer = Composer()
    composer.paragraph(text)
    _, found, rest = data[:100_000].partition(TITLE_GROUP)
    title = rest.partition(b"}")[0].decode("latin-1") if found else ""
    return [composer.document("" if "\\" in title else named_title(title, name))]
