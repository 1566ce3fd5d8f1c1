"""Bytes → clean Unicode: byte order marks, UTF-8, UTF-16 and UTF-32 without a mark, a guess, at last replacement."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from indexer.errors import Unreadable
from indexer.readers.language import likeness

Note = Callable[[str], None]  # a reader tells it what a person should know about a file that it could read

MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")
OTHER_SCRIPTS = ("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949")
SAMPLE_BYTES = 64 * 1024
MAX_CONTROL_SHARE = 0.001
UNCLEAN = re.compile("[\x00\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # ESC is left out: logs of terminals are text


def clean(text: str) -> str:
    """Replace NUL and lone surrogates, which neither SQLite nor a tokenizer takes, one for one by U+FFFD."""
    return UNCLEAN.sub("\ufffd", text)


def decode(data: bytes, note: Note, *, declared: str = "") -> str:
    """Decode a text file: no mark, newlines as LF, clean; ``declared`` is the encoding that the file itself names.

    ``note`` is told of characters that were lost. Raises Unreadable("binary file") above 0.1 % control characters.
    """
    text = _decoded(data, note, declared).replace("\r\n", "\n").replace("\r", "\n")
    controls = len(CONTROL.findall(text))
    if controls > MAX_CONTROL_SHARE * len(text):
        raise Unreadable("binary file")
    if lost := len(UNCLEAN.findall(text)):
        note(f"{lost} NUL characters or lone surrogates replaced")
        text = clean(text)
    if not text.strip():
        raise Unreadable("empty" if not data else "empty: white space only")
    return text


def _decoded(data: bytes, note: Note, declared: str) -> str:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _lenient(data[len(mark) :], encoding, note)
    wide = _wide_encoding(data)
    for encoding in (wide, "utf-8" if b"\x1b" not in data else "", _known(declared)):
        # UTF-8 before what is declared: pages lie about it more often than other bytes happen to be valid UTF-8.
        # With an ESC the declared one may be ISO-2022, whose bytes are all ASCII.
        text = _strict(data, encoding)
        if text is not None:
            return text
    text = _strict(data, "utf-8")
    if text is not None:
        return text
    if _mostly_utf8(data):
        return _lenient(data, "utf-8", note)
    text = _strict(data, _guessed(data))
    return text if text is not None else _lenient(data, "cp1252", note)


def _strict(data: bytes, encoding: str) -> str | None:
    if not encoding:
        return None
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError, ValueError):
        return None


def _lenient(data: bytes, encoding: str, note: Note) -> str:
    text = data.decode(encoding, "replace")
    if lost := text.count("\ufffd"):
        note(f"{lost} characters replaced: not valid {encoding}")
    return text


def _known(declared: str) -> str:
    """Return the codec for a declared name, "" for none or one that is no text encoding (such as "hex")."""
    try:
        codec = codecs.lookup(declared.strip().strip("\"'")) if declared else None
    except (LookupError, ValueError):
        return ""
    if codec is None or not getattr(codec, "_is_text_encoding", True):
        return ""
    # The web's rule: who says Latin-1 or ASCII means Windows-1252.
    return "cp1252" if codec.name in ("iso8859-1", "ascii") else codec.name


def _wide_encoding(data: bytes) -> str:
    """Recognise UTF-16 and UTF-32 without a mark by where their zero bytes stand."""
    sample = data[: SAMPLE_BYTES // 16]
    if b"\0" not in sample or len(data) % 2:
        return ""
    if len(data) % 4 == 0:
        zeros = [sample[offset::4].count(0) / max(1, len(sample[offset::4])) for offset in range(4)]
        if zeros[0] > 0.95 and zeros[1] > 0.9 and zeros[3] < 0.1:
            return "utf-32-be"
        if zeros[3] > 0.95 and zeros[2] > 0.9 and zeros[0] < 0.1:
            return "utf-32-le"
    even, odd = (sample[offset::2].count(0) / max(1, len(sample[offset::2])) for offset in range(2))
    if even > 0.3 and odd < 0.05:
        return "utf-16-be"
    if odd > 0.3 and even < 0.05:
        return "utf-16-le"
    return ""


def _guessed(data: bytes) -> str:
    """Return the likeliest legacy encoding, "" for none: charset-normalizer tells scripts, not Latin alphabets."""
    sample = data[:SAMPLE_BYTES]
    if len(CONTROL.findall(sample.decode("latin-1"))) > 0.02 * len(sample):
        return ""  # binary in any single-byte encoding: no need for a slow guess
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=[*LATIN, *OTHER_SCRIPTS]).best()
    if best is None or best.encoding not in LATIN:
        return best.encoding if best is not None else ""
    # It answered cp1250 for French and cp1257 for Turkish. Windows-1252 unless the words say otherwise.
    scores = {encoding: likeness(text) for encoding in LATIN if (text := _strict(sample, encoding)) is not None}
    if not scores:
        return ""
    return max(scores, key=lambda encoding: scores[encoding] * (1.05 if encoding == "cp1252" else 1))


def _mostly_utf8(data: bytes) -> bool:
    """Say whether a few broken bytes stand among valid multi-byte UTF-8."""
    text = data[:SAMPLE_BYTES].decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - broken > 5 * broken
