"""Which format a file has: by its first bytes, then by the members of an archive, then by its extension."""

from __future__ import annotations

import os
import re
import zipfile
from io import BytesIO

from indexer.errors import Unreadable
from indexer.readers.code import GRAMMARS, NAMED_FILES

EXTENSIONS = {
    "markdown": ".md .markdown .mdown .mkd .mdx .qmd .rmd",
    "rst": ".rst .rest",
    "org": ".org",
    "html": ".html .htm .xhtml .shtml",
    "csv": ".csv .tsv .tab .psv",
    "jsonl": ".jsonl .ndjson .jsonlines",
    "notebook": ".ipynb",
    "mail": ".eml",
    "text": ".txt .text .log .json .yaml .yml .toml .ini .cfg .conf .xml .tex .srt .vtt .adoc .asciidoc .properties",
}
FORMATS = {suffix: name for name, suffixes in EXTENSIONS.items() for suffix in suffixes.split()}
BINARY_ONLY = {  # extension: what the content would have to be; text under these names is a mistake, not a document
    ".pdf": "PDF",
    ".docx": "Word file",
    ".docm": "Word file",
    ".pptx": "PowerPoint file",
    ".pptm": "PowerPoint file",
    ".xlsx": "Excel file",
    ".xlsm": "Excel file",
    ".odt": "OpenDocument file",
    ".ods": "OpenDocument file",
    ".odp": "OpenDocument file",
    ".epub": "EPUB book",
}
MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"II*\x00", "TIFF image"),
    (b"MM\x00*", "TIFF image"),
    (b"RIFF", "RIFF media"),
    (b"ID3", "MP3 sound"),
    (b"OggS", "Ogg media"),
    (b"fLaC", "FLAC sound"),
    (b"\x1aE\xdf\xa3", "Matroska video"),
    (b"\x7fELF", "program"),
    (b"MZ\x90\x00", "program"),
    (b"\xca\xfe\xba\xbe", "Java class or program"),
    (b"SQLite format 3\x00", "SQLite database"),
    (b"\x1f\x8b", "gzip archive: unpack it first"),
    (b"BZh", "bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\x00", "xz archive: unpack it first"),
    (b"7z\xbc\xaf'\x1c", "7z archive: unpack it first"),
    (b"Rar!\x1a\x07", "RAR archive: unpack it first"),
    (b"(\xb5/\xfd", "zstd archive: unpack it first"),
)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MARKUP = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)


def recognise(data: bytes, name: str) -> str:
    """Return the format that reads these bytes. Raises Unreadable for an empty or binary file, with what it is."""
    if not data:
        raise Unreadable("empty")
    base = os.path.basename(name).lower()
    suffix = os.path.splitext(base)[1]
    if data.startswith(b"%PDF-") or (suffix == ".pdf" and b"%PDF-" in data[:1024]):  # some begin with stray bytes
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return _archive_format(data)
    if data.startswith(b"{\\rtf"):
        return "rtf"
    if data.startswith(OLE):
        # A password-protected Office file is an OLE container with a stream of this name.
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise Unreadable("encrypted (save it without a password)")
        raise Unreadable("an old binary Office format (save it as .docx, .xlsx or .pptx)")
    if base.endswith((".jsonl.gz", ".ndjson.gz")):
        return "jsonl"
    if suffix in BINARY_ONLY:
        raise Unreadable(f"named {suffix}, but no {BINARY_ONLY[suffix]}")
    for magic, what in MAGIC:
        if data.startswith(magic) and (b"\0" in data[:4096] or not data[:512].isascii()):
            raise Unreadable(f"binary file ({what})")
    if suffix in GRAMMARS or base in NAMED_FILES:
        return "code"
    if suffix in FORMATS:
        return FORMATS[suffix]
    if data.startswith(b"#!"):
        return "code"
    return "html" if MARKUP.match(data[:1024]) else "text"


def _archive_format(data: bytes) -> str:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = set(archive.namelist())
            mimetype = b""
            if "mimetype" in members:
                with archive.open("mimetype") as member:
                    mimetype = member.read(128).strip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise Unreadable("a damaged zip container") from error
    if mimetype == b"application/epub+zip" or "META-INF/container.xml" in members:
        return "epub"
    if mimetype.startswith(b"application/vnd.oasis.opendocument."):
        return "opendocument"
    if "[Content_Types].xml" in members:
        for part, found in (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx")):
            if any(member.startswith(part) and member.endswith(".xml") for member in members):
                return found
        raise Unreadable("an Office container without a document in it")
    raise Unreadable("a zip archive: unpack it first")
