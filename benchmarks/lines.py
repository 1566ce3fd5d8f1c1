"""A data set's text file, plain or gzipped, line by line with its number; a bad line is a DataError that names it.

Knows nothing of what a line means beyond "a JSON object".
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.errors import DataError

BOM = b"\xef\xbb\xbf"
UNCLEAN = re.compile("[\x00\ud800-\udfff]")  # neither SQLite nor tantivy takes these, and JSON can spell them
SHOWN_CHARACTERS = 80


def shown(text: str) -> str:
    """Quote a data set's text for a message: control characters escaped, cut at 80 characters."""
    quoted = json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return quoted if len(quoted) <= SHOWN_CHARACTERS else quoted[: SHOWN_CHARACTERS - 2] + '…"'


def find_file(folder: Path, name: str) -> tuple[Path | None, str]:
    """Find ``name`` or ``name``.gz in a folder → its path (None without either) and what to tell the user, or ""."""
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.exists():
        return plain, f"{plain} is read, {packed.name} beside it is not" if packed.exists() else ""
    return (packed, "") if packed.exists() else (None, "")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of each line that is not blank; CRLF and a byte order mark are fine.

    Raises DataError for a file that cannot be read, is no UTF-8, or is damaged gzip: then with its last good line.
    """
    number = 0
    try:
        # Bytes, not text: only \n and \r\n end a line here, and each line's encoding error can name its own line.
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if number == 1 and raw.startswith(BOM):
                    raw = raw[len(BOM) :]
                line = raw.rstrip(b"\r\n").decode("utf-8")
                if line and not line.isspace():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: not UTF-8 at byte {error.start + 1} of the line (convert it)") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "truncated" if isinstance(error, EOFError) else "damaged"
        where = f"the last good line is {number}" if number else "no line can be read"
        raise DataError(f"{path}: {what} gzip file, {where} (download it again)") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSONL file; NUL and lone surrogates in its strings become U+FFFD.

    Raises DataError as ``read_lines`` does, and for a line that is no JSON object.
    """
    for number, line in read_lines(path):
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: broken JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:  # a number of 10,000 digits; 10,000 brackets
            raise DataError(f"{path}:{number}: JSON that cannot be read: {str(error)[:SHOWN_CHARACTERS]}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path}:{number}: a JSON object is expected, not {type(found).__name__}")
        if "\\u" in line:  # only an escape can spell such characters, so that other lines are spared the search
            for key, value in found.items():
                if isinstance(value, str):
                    found[key] = UNCLEAN.sub("\ufffd", value)
        yield number, found
