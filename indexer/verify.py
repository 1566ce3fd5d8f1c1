"""What could be damaged in an index, how it is seen, and how it is put right.

Reads only, and needs no permission to write. Every byte is compared with its checksum before any library parses it;
what the parts say is then compared with each other. ``repair.py`` puts right what is found here.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.ann import DESCRIPTION, INDEX, folders_of, read_description
from indexer.documents import passage_digest
from indexer.durable import checksum_of
from indexer.encoders import spec
from indexer.errors import DamagedIndex, IncompatibleIndex, SearchEngineError
from indexer.format import ANN, CATALOG, DAMAGED, ENCODER, LEXICAL, LOCK, SEGMENTS, refuse_unknown
from indexer.lexical import Postings
from indexer.seal import SEAL, Seal, altered, read_seal, went_back
from indexer.snapshot import component, connect, owned
from indexer.vectors import open_segment

REPAIR = "searchengine verify --repair"
READ_AGAIN = f"{REPAIR}, then re-index from the source files: searchengine index FOLDER"
# What else may lie in an index: SQLite's own files, and what a killed run left half-written.
_OURS = re.compile(
    r"catalog\.sqlite-(wal|shm)|catalog\.sqlite\.[0-9a-f]+\.tmp(-wal|-shm|-journal)?|catalog\.seal\.\d+\.tmp"
)
_TABLES = {
    "settings": "key value",
    "state": "id generation lexical lexical_dead next_passage next_document",
    "roots": "path",
    "sources": "id path size mtime_ns ctime_ns inode seen_ns digest skipped notes",
    "documents": "id source key title kind language digest",
    "passages": "id document ordinal text start end line page heading digest segment row",
    "segments": "id rows dimension",
    "tombstones": "segment row",
    "files": "path size checksum",
}
# What must find nothing: a column whose values are of another type, rows that name what is not there.
_NONE_OF = {
    "a document of a file that was skipped": "SELECT 1 FROM documents d JOIN sources s ON s.id = d.source"
    " WHERE s.skipped IS NOT NULL",
    "a passage that is buried": "SELECT 1 FROM passages JOIN tombstones USING (segment, row)",
    "two passages in one row of a segment": "SELECT 1 FROM passages GROUP BY segment, row HAVING count(*) > 1",
    "a tombstone outside its segment": "SELECT 1 FROM tombstones t LEFT JOIN segments s ON s.id = t.segment"
    " WHERE s.id IS NULL OR t.row < 0 OR t.row >= s.rows",
    "an id that was not given yet": "SELECT 1 FROM state WHERE next_passage <= (SELECT max(id) FROM passages)"
    " OR next_document <= (SELECT max(id) FROM documents)",
    "a passage of the wrong type": "SELECT 1 FROM passages WHERE typeof(text) <> 'text' OR typeof(row) <> 'integer'"
    " OR typeof(segment) <> 'text' OR typeof(digest) <> 'blob'",
    "a segment of the wrong type": "SELECT 1 FROM segments WHERE typeof(id) <> 'text' OR typeof(rows) <> 'integer'"
    " OR typeof(dimension) <> 'integer' OR rows < 1 OR dimension < 1",
}


STRAY = "does not belong here"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written, and how to put it right."""

    where: str
    what: str
    mend: str = REPAIR


def verify(folder: Path, *, quick: bool = False) -> list[Finding]:
    """Check an index and list what is wrong with it; ``quick`` reads sizes and counts, not every byte.

    Never fails on what it finds. Raises NoIndex where there is none, IncompatibleIndex where a newer version made it.
    A writer may be at work: what is missing because it moved on meanwhile is looked for again.
    """
    for _ in range(_ATTEMPTS):
        before = _generation(folder)
        findings = _findings(folder, quick=quick)
        if not findings or _generation(folder) == before:
            break
    return findings


def _generation(folder: Path) -> object:
    try:
        with closing(connect(folder)) as connection:
            return connection.execute("SELECT generation FROM state").fetchone()
    except (SearchEngineError, sqlite3.Error, OSError):
        return None


def _findings(folder: Path, *, quick: bool) -> list[Finding]:
    try:
        seal, findings = read_seal(folder), []
    except ValueError as error:
        seal, findings = None, [Finding(str(folder / SEAL), str(error))]
    if seal is not None and seal.generation and not (folder / CATALOG).is_file():
        return [Finding(str(folder / CATALOG), "missing", "re-index from the source files: searchengine index FOLDER")]
    try:
        connection = connect(folder)
    except DamagedIndex as error:
        what = str(error).removeprefix(f"{folder / CATALOG}: ").removeprefix(f"{folder}: ")
        return [*findings, Finding(str(folder / CATALOG), what.partition(" (searchengine")[0], READ_AGAIN)]
    try:
        broken = _attempt(folder / CATALOG, READ_AGAIN, lambda: _catalog(folder, connection, seal, quick=quick))
        findings += broken
        if not broken:  # else nothing that the catalog says could be compared with anything
            files = _attempt(folder, REPAIR, lambda: _files(folder, connection, quick=quick))
            findings += files
            damaged = {finding.where for finding in files}
            findings += _attempt(folder, REPAIR, lambda: _contents(folder, connection, damaged))
    finally:
        connection.close()
    return findings


def _attempt(where: Path, mend: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; that it fails is a finding, too."""
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except IncompatibleIndex:
        raise
    except (SearchEngineError, sqlite3.Error, OSError, ValueError, TypeError, LookupError) as error:
        findings.append(Finding(str(where), f"cannot be checked: {str(error)[:200]}", mend))
    except (ArithmeticError, MemoryError, RecursionError, AttributeError) as error:
        findings.append(Finding(str(where), f"holds nonsense: {str(error)[:200]}", mend))
    return findings


def _catalog(folder: Path, connection: sqlite3.Connection, seal: Seal | None, *, quick: bool) -> Iterator[Finding]:
    where = str(folder / CATALOG)
    connection.execute("BEGIN")  # until the end: while it lasts, no writer folds its log into the file
    (generation,) = connection.execute("SELECT generation FROM state").fetchone()
    if seal is not None:
        wrong = went_back(seal, generation) or altered(folder, most_bytes=0 if quick else None)
        if wrong:
            yield Finding(where, wrong, READ_AGAIN)
            return
    for table, columns in _TABLES.items():
        found = connection.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchall()
        names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        if found != [("table",)] or names != columns.split():
            yield Finding(where, f"its table {table} is not the one that was made", READ_AGAIN)
            return
    settings = _settings(connection)
    refuse_unknown(folder, settings["requires"])
    component(settings["encoder"]["fingerprint"])
    if quick:
        return
    (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        yield Finding(where, f"damaged: {answer[:200]}", READ_AGAIN)
        return
    for table, *_ in connection.execute("PRAGMA foreign_key_check").fetchmany(1):
        yield Finding(where, f"a row of {table} names what is not there", READ_AGAIN)
    for what, statement in _NONE_OF.items():
        if connection.execute(f"{statement} LIMIT 1").fetchone():
            yield Finding(where, f"holds {what}", READ_AGAIN)
            return
    if seal is None or seal.is_open:  # the texts have no other witness then
        texts = connection.execute(
            "SELECT p.id, d.title, p.heading, p.text, p.digest FROM passages p JOIN documents d ON d.id = p.document"
        )
        for passage, title, heading, text, digest in texts:
            if passage_digest(title, heading, text) != digest:
                yield Finding(where, f"the text of passage {passage} is altered", READ_AGAIN)
                return


def _settings(connection: sqlite3.Connection) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM settings")}


def _files(folder: Path, connection: sqlite3.Connection, *, quick: bool) -> Iterator[Finding]:
    named = set()
    for relative, size, checksum in connection.execute("SELECT path, size, checksum FROM files"):
        path = folder / owned(relative)
        named.add(path)
        if path.is_symlink():
            yield Finding(str(path), "a link, where an index keeps the file itself")
        elif not path.is_file():
            yield Finding(str(path), "missing")
        elif (found := path.stat().st_size) != size:
            yield Finding(str(path), f"{found} bytes long instead of {size}")
        elif not quick and checksum_of(path)[1] != checksum:
            yield Finding(str(path), "altered: its checksum is wrong")
    yield from _unnamed(folder, named)
    (lexical,) = connection.execute("SELECT lexical FROM state").fetchone()
    places = [folder / LEXICAL / component(lexical)] if lexical is not None else []
    places += [folder / SEGMENTS / component(name) for (name,) in connection.execute("SELECT id FROM segments")]
    places.append(folder / ENCODER / component(_settings(connection)["encoder"]["fingerprint"]))
    for place in places:
        if not any(path.parent == place for path in named):
            yield Finding(str(place), "has no checksums in the catalog")


def _unnamed(folder: Path, named: set[Path]) -> Iterator[Finding]:
    """Find what no row names. Whole folders of other generations are legal: the next writer removes them."""
    used = {path.parent for path in named}
    for path in sorted(folder.iterdir()):
        if path.name in (SEGMENTS, ANN, LEXICAL, ENCODER) and path.is_dir():
            for inner in sorted(path.iterdir()):
                if not inner.is_dir() or inner.is_symlink() or (path.name == ENCODER and inner not in used):
                    yield Finding(str(inner), STRAY)
        elif path.name not in (CATALOG, SEAL, LOCK, DAMAGED) and not _OURS.fullmatch(path.name):
            yield Finding(str(path), STRAY)
    for place in sorted(used):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path not in named and not (path.name.endswith(".lock") and place.parent.name == LEXICAL):
                yield Finding(str(path), STRAY)


def _contents(folder: Path, connection: sqlite3.Connection, damaged: set[str]) -> Iterator[Finding]:
    """Compare segments, postings and encoder with the catalog; those with a damaged file are not opened."""
    unsound = {path for where in damaged for path in (Path(where), Path(where).parent)}
    settings = _settings(connection)
    dimension = settings["encoder"]["dimension"]
    for name, rows, width in connection.execute("SELECT id, rows, dimension FROM segments ORDER BY id").fetchall():
        place = folder / SEGMENTS / component(name)
        if place not in unsound:
            what = _segment(connection, place, rows, width) if width == dimension else f"of width {width}"
            if what:
                yield Finding(str(place), what)
    yield from _derived(folder, connection, unsound)
    (lexical,) = connection.execute("SELECT lexical FROM state").fetchone()
    passages = _column(connection, "SELECT id FROM passages ORDER BY id")
    if lexical is None:
        if len(passages):
            yield Finding(str(folder / LEXICAL), "no postings, though there are passages")
    elif (place := folder / LEXICAL / component(lexical)) not in unsound and not _same_passages(place, passages):
        yield Finding(str(place), "its passages are not those of the catalog")
    place = folder / ENCODER / component(settings["encoder"]["fingerprint"])
    if place not in unsound:
        described, _ = spec.read(place)
        if (described.fingerprint, described.dimension) != (place.name, dimension):
            yield Finding(str(place), "not the encoder that the settings name")


def _derived(folder: Path, connection: sqlite3.Connection, unsound: set[Path]) -> Iterator[Finding]:
    """Compare what was derived from segments with the segments it was derived from."""
    paths = {path for (path,) in connection.execute("SELECT path FROM files WHERE path GLOB ?", (f"{ANN}/*",))}
    sizes = {name: size for name, *size in connection.execute("SELECT id, rows, dimension FROM segments")}
    for segment, name in folders_of(paths).items():
        place = folder / ANN / component(name)
        if place in unsound:
            continue
        if segment not in sizes:
            yield Finding(str(place), "derived from a segment that is not there")
        elif not {f"{ANN}/{name}/{INDEX}", f"{ANN}/{name}/{DESCRIPTION}"} <= paths:
            yield Finding(str(place), "not all of its files have checksums in the catalog")
        else:
            said = read_description(place)
            if [said.rows, said.dimension] != sizes[segment]:
                yield Finding(str(place), "not derived from the segment as it is")


def _same_passages(postings: Path, passages: np.ndarray) -> bool:
    return bool(np.array_equal(Postings(postings).passage_ids(), passages))


def _segment(connection: sqlite3.Connection, place: Path, rows: int, width: int) -> str:
    dead = _column(connection, "SELECT row FROM tombstones WHERE segment = ?", place.name)
    try:
        segment = open_segment(place, rows, width, dead.tolist())
    except SearchEngineError as error:
        return str(error).partition(": ")[2]
    stored = connection.execute("SELECT id, document, row FROM passages WHERE segment = ? ORDER BY row", (place.name,))
    ids, documents, at = np.array(stored.fetchall(), dtype=np.int64).reshape(-1, 3).T
    alive = np.flatnonzero(segment.alive())
    if not np.array_equal(alive, at) or not np.array_equal(segment.passages[alive], ids):
        return "its passages are not those of the catalog"
    if not np.array_equal(segment.documents[alive], documents):
        return "its documents are not those of the catalog"
    if np.any(np.diff(segment.passages) <= 0):
        return "its passages are out of order"
    for begin in range(0, rows, 65_536):
        norms = np.linalg.norm(segment.codes[begin : begin + 65_536].astype(np.float32), axis=1)
        if not np.all(np.abs(norms - 1) < 0.01):  # written so that NaN is wrong too
            return "holds a vector that is not of unit length"
    return ""


def _column(connection: sqlite3.Connection, statement: str, *values: str) -> np.ndarray:
    return np.array([value for (value,) in connection.execute(statement, values)], dtype=np.int64)
