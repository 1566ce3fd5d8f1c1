"""CSV and its kin: each record one line, "column: value" where the first record names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from io import StringIO

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.compose import row
from indexer.readers.decode import Note, decode

DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 64 * 1024
SAMPLE_RECORDS = 50
MAX_NAMED_COLUMNS = 50  # beyond that names drown the values
MAX_NAME_CHARACTERS = 60


def read_csv(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a CSV or TSV file; lines are counted as long as no record spans two of them."""
    text = decode(data, note)
    csv.field_size_limit(max(len(text), 131_072))  # the library's own limit of 128 kB is no error of the file
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text, name), strict=False)
    try:
        lines = list(Rows(reader))
    except csv.Error as error:
        raise Unreadable(f"malformed CSV at line {reader.line_num} ({error})") from error
    is_lined = len(lines) == reader.line_num
    while lines and not lines[-1]:
        lines.pop()
    return [Document("", "\n".join(lines), first_line=1 if is_lined else None, lined=is_lined)]


class Rows:
    """Records as lines of text: the first with two cells as it is, those below with its names if it has names."""

    def __init__(self, records: Iterable[list[str]]):
        self._records = iter(records)

    def __iter__(self) -> Iterator[str]:
        names: list[str] | None = None
        for cells in self._records:
            line = row(cells)
            if names is None and sum(map(bool, cells)) > 1:  # a caption above the table has one cell
                names = _header(cells)
            elif names and line:
                line = _named(names, cells)
            yield line


def _header(cells: list[str]) -> list[str]:
    """Return the column names if the first record looks like names: short words, no numbers, none twice."""
    names = [" ".join(cell.split()) for cell in cells]
    while names and not names[-1]:
        names.pop()
    if not 2 <= len(names) <= MAX_NAMED_COLUMNS or len(set(names)) < len(names):
        return []
    good = all(name and len(name) <= MAX_NAME_CHARACTERS and any(map(str.isalpha, name)) for name in names)
    return names if good else []


def _named(names: list[str], cells: list[str]) -> str:
    pieces = []
    for position, cell in enumerate(cells):
        value = " ".join(cell.split())
        if value:
            pieces.append(f"{names[position]}: {value}" if position < len(names) else value)
    return "; ".join(pieces)


def _delimiter(text: str, name: str) -> str:
    """Choose the delimiter that gives most columns most steadily; csv.Sniffer is slow and guesses letters."""
    if name.lower().endswith((".tsv", ".tab")):
        return "\t"
    best, best_score = ",", 0.0
    for delimiter in DELIMITERS:
        reader = csv.reader(StringIO(text[:SAMPLE_CHARACTERS], newline=""), delimiter=delimiter)
        try:
            widths = [len(record) for record, _ in zip(reader, range(SAMPLE_RECORDS), strict=False) if record]
        except csv.Error:
            continue
        if not widths:
            continue
        common = max(set(widths), key=widths.count)
        score = (common - 1) * widths.count(common) / len(widths)
        if score > best_score:
            best, best_score = delimiter, score
    return best
