"""Zip containers from strangers: how much they may inflate to, and XML without DTD, entities or network.

Nothing is ever extracted to disk, so a member named ../../x is only a name.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from io import BytesIO
from typing import Any

from indexer.errors import Unreadable

MAX_MEMBERS = 100_000
MAX_INFLATED_BYTES = 512 * 2**20
MAX_RATIO = 100
RATIO_MATTERS_BYTES = 32 * 2**20  # below this any ratio is harmless; empty spreadsheets compress 200 times
CHUNK_BYTES = 1 << 20
DECLARATION = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
ENCODING = re.compile(rb"""<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]+)""")
PLAIN_ENCODINGS = {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"utf-16", b"iso-8859-1", b"windows-1252"}
XML_PARTS = (".xml", ".rels", ".vml")
STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")  # ISO 29500 strict; libraries know the transitional names
USUAL = rb"http://schemas.openxmlformats.org/\1/2006/"
DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)

# How the libraries that parse a container fail on a damaged one; lxml's XMLSyntaxError is a SyntaxError.
LIBRARY_DAMAGE = (*DAMAGE, LookupError, AttributeError, TypeError, SyntaxError)


class Archive:
    """A zip container whose inflated bytes are counted."""

    def __init__(self, data: bytes):
        """Open it. Raises Unreadable when it is damaged, encrypted or declares too much."""
        self._data = data
        self._inflated = 0
        try:
            self._zip = zipfile.ZipFile(BytesIO(data))
        except DAMAGE as error:
            raise Unreadable("a damaged zip container") from error
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS:
            raise Unreadable(f"a container of more than {MAX_MEMBERS:,} members")
        if any(member.flag_bits & 1 for member in members):
            raise Unreadable("encrypted (save it without a password)")
        self._refuse_bomb(sum(member.file_size for member in members))
        self.names = {member.filename for member in members}

    def read(self, name: str) -> bytes:
        """Inflate one member. Raises Unreadable when it is missing, damaged, or the sum grows too large."""
        chunks: list[bytes] = []
        try:
            with self._zip.open(name) as member:
                while chunk := member.read(CHUNK_BYTES):
                    self._inflated += len(chunk)
                    self._refuse_bomb(self._inflated)
                    chunks.append(chunk)
        except KeyError as error:
            raise Unreadable(f"{name[:80]!a} is missing in the container") from error
        except (*DAMAGE, RuntimeError) as error:
            raise Unreadable(f"a damaged zip container ({name[:80]!a})") from error
        return b"".join(chunks)

    def xml(self, name: str) -> Any:
        """Parse one member as XML and return its root element."""
        return parse_xml(self.read(name), name)

    def checked(self) -> BytesIO:
        """Return an Office container for a library that parses it in its own way, once no XML part has a DTD.

        The "strict" dialect, which the libraries do not know, is rewritten into the usual one.
        """
        strict = False
        for name in self.names:
            if name.lower().endswith(XML_PARTS):
                part = self.read(name)
                refuse_declarations(part, name)
                strict = strict or STRICT.search(part) is not None
        if not strict:
            return BytesIO(self._data)
        rewritten = BytesIO()
        with zipfile.ZipFile(rewritten, "w") as target:
            for name in sorted(self.names):
                part = self.read(name)
                target.writestr(name, STRICT.sub(USUAL, part) if name.lower().endswith(XML_PARTS) else part)
        rewritten.seek(0)
        return rewritten

    def _refuse_bomb(self, inflated: int) -> None:
        if inflated > MAX_INFLATED_BYTES:
            raise Unreadable(f"inflates to more than {MAX_INFLATED_BYTES // 2**20} MB")
        if inflated > RATIO_MATTERS_BYTES and inflated > MAX_RATIO * len(self._data):
            raise Unreadable(f"inflates more than {MAX_RATIO} times")


def parse_xml(data: bytes, name: str) -> Any:
    """Parse XML that declares nothing. Raises Unreadable when it is malformed or has a DTD."""
    from lxml import etree

    refuse_declarations(data, name)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"malformed XML in {name[:80]!a}") from error


def refuse_declarations(data: bytes, name: str) -> None:
    """Raise Unreadable when XML has a DTD or an encoding in which one could hide."""
    encoding = ENCODING.search(data[:200])
    if encoding and encoding[1].lower() not in PLAIN_ENCODINGS:
        raise Unreadable(f"XML in an unusual encoding ({name[:80]!a})")
    narrow = data.replace(b"\0", b"") if data[:4].count(0) or data[:2] in (b"\xff\xfe", b"\xfe\xff") else data
    if DECLARATION.search(narrow):
        raise Unreadable(f"XML with a DTD or entities, which is not read ({name[:80]!a})")
