"""EPUB, by zipfile and selectolax (EbookLib is AGPL): the chapters in the order of the book's spine."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.archive import Archive
from indexer.readers.compose import Composer, named_title
from indexer.readers.decode import Note, decode
from indexer.readers.html import append_html

CONTAINER = "META-INF/container.xml"
OPF = "{http://www.idpf.org/2007/opf}"
DC = "{http://purl.org/dc/elements/1.1/}"
PAGES = ("application/xhtml+xml", "text/html")


def read_epub(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a book: one document, chapter after chapter."""
    archive = Archive(data)
    rootfile = next((element.get("full-path", "") for element in archive.xml(CONTAINER).iter("{*}rootfile")), "")
    if not rootfile:
        raise Unreadable("a damaged EPUB (it names no book)")
    book = archive.xml(rootfile)
    folder = posixpath.dirname(rootfile)
    manifest = {item.get("id"): item for item in book.iter(f"{OPF}item")}
    composer = Composer()
    missing = 0
    for reference in book.iter(f"{OPF}itemref"):
        item = manifest.get(reference.get("idref"))
        if item is None or item.get("media-type") not in PAGES or item.get("properties") == "nav":
            continue
        chapter = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        if chapter not in archive.names:
            missing += 1
            continue
        try:
            append_html(composer, decode(archive.read(chapter), note))
        except Unreadable as error:
            if not str(error).startswith("empty"):
                missing += 1
    if missing:
        note(f"{missing} chapters are missing or unreadable")
    if not composer.length:
        raise Unreadable("encrypted (DRM)" if "META-INF/encryption.xml" in archive.names else "empty: no chapter")
    title = next((element.text or "" for element in book.iter(f"{DC}title")), "")
    return [composer.document(named_title(title, name))]
