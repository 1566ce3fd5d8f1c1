"""Qrels: which document is relevant to which query, and how much. One file of judgements → a dictionary.

Knows nothing of corpus and queries: whether an id exists is for beir.py to ask.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.lines import read_lines, shown
from indexer.errors import DataError

Qrels = dict[str, dict[str, int]]

HEADER_ENDS = {"score", "relevance", "rel", "label"}
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")  # int() also takes 1_000 and Arabic digits; the measures hold 32 bits


def read_qrels(path: Path, *, keep_first: bool = False) -> tuple[Qrels, int]:
    """Read judgements, query id → document id → grade → and how many contradicted an earlier one.

    Three columns (query, document, grade; with or without a header) or TREC's four (query, iteration, document, grade),
    tab separated or, without any tab in a line, by spaces. Quotes mean nothing; ids stay strings.
    Raises DataError with the line: another number of columns than above, a grade that is no integer or is negative,
    a pair judged twice with different grades (``keep_first``: the first counts).
    """
    qrels: Qrels = {}
    columns = conflicts = 0
    for number, line in read_lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if columns == 0:
            columns = len(fields)
            if columns not in (3, 4):
                raise DataError(f"{path}:{number}: {columns} columns; 3 (query, document, score) or TREC's 4 expected")
            if fields[-1].strip().lower() in HEADER_ENDS:
                continue
        if len(fields) != columns:
            raise DataError(f"{path}:{number}: {len(fields)} columns, the first line has {columns} (an id with a tab?)")
        query, document, grade = fields[0], fields[-2], parse_grade(fields[-1].strip(), path, number)
        judged = qrels.setdefault(query, {})
        if judged.setdefault(document, grade) != grade:
            if not keep_first:
                raise DataError(
                    f"{path}:{number}: query {shown(query)} and document {shown(document)} are judged twice, "
                    f"{judged[document]} and {grade} (--keep-first keeps the first)"
                )
            conflicts += 1
    return qrels, conflicts


def parse_grade(text: str, path: Path, line: int) -> int:
    """Read a grade of relevance, an integer from 0. Raises DataError naming file and line."""
    if not WHOLE_NUMBER.fullmatch(text):
        raise DataError(f"{path}:{line}: the score {shown(text)} is not an integer")
    if (grade := int(text)) < 0:
        raise DataError(f"{path}:{line}: the score {grade} is negative")
    return grade
