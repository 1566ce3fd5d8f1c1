"""``--where``: a small grammar of our own → bound SQL and path patterns → the documents that may be hits.

    path:docs/** ext:pdf,docx modified:>2024-01-01 lang:en -title:draft size:<100kb "path:with space/*"

Conditions stand beside each other and must all hold; a comma offers alternatives; a leading minus negates.
No text of the user's ever becomes SQL: it is compared as a bound parameter or by a regular expression of ours.
"""

from __future__ import annotations

import calendar
import difflib
import fnmatch
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from indexer.errors import UsageError
from indexer.snapshot import Snapshot

FIELDS = ("path", "ext", "kind", "lang", "title", "modified", "size")
_MAX_CONDITIONS = 64
_MAX_PATTERN = 256
_COMPARED = re.compile(r"(>=|<=|>|<|=)?(.+)", re.DOTALL)
_SIZE = re.compile(r"(\d{1,15})(b|kb|mb|gb)?", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30}


@dataclass(frozen=True, slots=True)
class _Row:
    """What a condition may look at."""

    name: str
    kind: str
    language: str
    title: str
    size: int | None
    modified_s: float | None


_Condition = Callable[[_Row], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed ``--where`` expression."""

    expression: str
    conditions: tuple[_Condition, ...]

    def documents(self, snapshot: Snapshot) -> np.ndarray:
        """List the documents that pass: int64 [n], ascending. Must stand within ``snapshot.reading()``."""
        statement = (
            "SELECT d.id, d.key, d.kind, d.language, d.title, s.path, s.size, s.mtime_ns"
            " FROM documents d LEFT JOIN sources s ON s.id = d.source ORDER BY d.id"
        )
        passing = []
        for document, key, kind, language, title, path, size, mtime_ns in snapshot.rows(statement):
            name = key if path is None else os.fsdecode(path)
            row = _Row(name, kind, language, title, size, None if mtime_ns is None else mtime_ns / 1e9)
            if all(condition(row) for condition in self.conditions):
                passing.append(document)
        return np.array(passing, dtype=np.int64)


def parse(expression: str) -> Filter:
    """Read a ``--where`` expression; raise UsageError naming the condition that is not understood."""
    try:
        words = shlex.split(expression)
    except ValueError as error:
        raise UsageError(f"--where: {error} in {_shown(expression)}") from error
    if not words:
        raise UsageError("--where: nothing to filter by (such as: path:docs/** ext:pdf modified:>2024-01-01)")
    if len(words) > _MAX_CONDITIONS:
        raise UsageError(f"--where: at most {_MAX_CONDITIONS} conditions, not {len(words)}")
    return Filter(expression, tuple(_condition(word) for word in words))


def _condition(word: str) -> _Condition:
    negated = word.startswith("-")
    field, colon, value = word.removeprefix("-").partition(":")
    if not colon or not value:
        raise UsageError(f"--where: {_shown(word)} is no condition (write FIELD:VALUE, such as ext:pdf)")
    if field not in FIELDS:
        near = difflib.get_close_matches(field, FIELDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)}"
        raise UsageError(f"--where: no field {_shown(field)} ({hint})")
    alternatives = [_alternative(field, part) for part in value.split(",") if part]
    if not alternatives:
        raise UsageError(f"--where: {_shown(word)} names no value")

    def holds(row: _Row) -> bool:
        return any(alternative(row) for alternative in alternatives) != negated

    return holds


def _alternative(field: str, value: str) -> _Condition:
    if len(value) > _MAX_PATTERN:
        raise UsageError(f"--where: a value of {len(value)} characters; at most {_MAX_PATTERN}")
    match field:
        case "path":
            matches = _glob(value)
            return lambda row: matches(row.name)
        case "ext":
            suffix = "." + value.lower().removeprefix(".")
            return lambda row: row.name.lower().endswith(suffix)
        case "kind":
            return lambda row: row.kind == value.lower()
        case "lang":
            return lambda row: row.language == value.lower()
        case "title":
            return lambda row: value.casefold() in row.title.casefold()
        case "modified":
            return _modified(value)
        case _:
            return _size(value)


def _glob(pattern: str) -> Callable[[str], bool]:
    """Understand a path pattern: ``*`` stays within a folder, ``**`` crosses them, a folder's name covers all in it.

    A pattern without a slash is looked for at any depth, as in .gitignore. Folders are matched one by one, because
    one regular expression for a whole path takes exponential time on patterns such as ``*a*a*a``.
    """
    parts = pattern.removeprefix("./").rstrip("/").split("/")
    if len(parts) == 1:
        parts = ["**", *parts]
    matchers = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]

    def matches(name: str) -> bool:
        folders = name.split("/")
        reachable = {0}  # how many folders of the name the pattern so far may have used up
        for matcher in matchers:
            if matcher is None:
                reachable = set(range(min(reachable, default=len(folders) + 1), len(folders) + 1))
            else:
                reachable = {at + 1 for at in reachable if at < len(folders) and matcher.match(folders[at])}
        return bool(reachable)

    return matches


def _modified(value: str) -> _Condition:
    operator, begin, end = _compared("modified", value, _date_range)
    bounds: dict[str, _Condition] = {
        "=": lambda row: row.modified_s is not None and begin <= row.modified_s < end,
        ">": lambda row: row.modified_s is not None and row.modified_s >= end,
        ">=": lambda row: row.modified_s is not None and row.modified_s >= begin,
        "<": lambda row: row.modified_s is not None and row.modified_s < begin,
        "<=": lambda row: row.modified_s is not None and row.modified_s < end,
    }
    return bounds[operator]


def _size(value: str) -> _Condition:
    operator, size, _ = _compared("size", value, _bytes)
    bounds: dict[str, _Condition] = {
        "=": lambda row: row.size is not None and row.size == size,
        ">": lambda row: row.size is not None and row.size > size,
        ">=": lambda row: row.size is not None and row.size >= size,
        "<": lambda row: row.size is not None and row.size < size,
        "<=": lambda row: row.size is not None and row.size <= size,
    }
    return bounds[operator]


def _compared(field: str, value: str, read: Callable[[str], tuple[float, float] | None]) -> tuple[str, float, float]:
    match = _COMPARED.fullmatch(value)
    found = read(match[2]) if match else None
    if match is None or found is None:
        example = "modified:>2024-01-31" if field == "modified" else "size:<100kb"
        raise UsageError(f"--where: {_shown(value)} is no value for {field} (write it as in {example})")
    return match[1] or "=", *found


def _date_range(text: str) -> tuple[float, float] | None:
    """Turn 2024, 2024-03 or 2024-03-31 into the seconds (UTC) where it begins and ends."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match[1]), int(match[2] or 1), int(match[3] or 1)
    last_month = month if match[2] else 12
    try:
        begin = datetime(year, month, day, tzinfo=UTC)
        last_day = day if match[3] else calendar.monthrange(year, last_month)[1]
        end = datetime(year, last_month, last_day, tzinfo=UTC)
    except ValueError:
        return None
    return begin.timestamp(), end.timestamp() + 86_400


def _bytes(text: str) -> tuple[float, float] | None:
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    size = int(match[1]) * _UNITS[(match[2] or "b").lower()]
    return size, size


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:79] + "…")
