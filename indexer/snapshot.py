"""One generation of an index, opened for reading. The query path's only door to SQLite, by the standard library alone.

A query is one read transaction: what it ranks, filters and fetches comes from one generation. Files stay readable
after the writer has unlinked them, because they are open or mapped here. What is read was checked before: by size
always, by checksum up to 64 MB in all, smallest file first (8 ms, once a generation); the rest is verify's task. The
encoder's graph and tokenizer check themselves when they are loaded.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.ann import Ann, folders_of, read_description
from indexer.documents import Location
from indexer.durable import checksum_of
from indexer.errors import DamagedIndex, IncompatibleIndex, NoIndex, SearchEngineError
from indexer.format import ANN, CATALOG, ENCODER, FORMAT, LEXICAL, SEGMENTS, refuse_unknown
from indexer.lexical import Postings, refuse_unknown_analyser
from indexer.seal import SEAL, Seal, altered, has_log, read_seal, went_back
from indexer.vectors import Segment, open_segment

_ATTEMPTS = 5
_CHECKED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as a hit needs it. ``path`` is None for a document that a program handed over."""

    id: int
    document: int
    ordinal: int
    text: str
    location: Location
    key: str
    title: str
    path: str | None


@dataclass(frozen=True, slots=True)
class Generation:
    """The files and settings of one generation, open."""

    number: int
    settings: dict[str, Any]
    segments: tuple[Segment, ...]
    postings: Postings | None


class Snapshot:
    """An index opened for reading: any number of processes may, also while one writes.

    Use ``with snapshot.reading():`` around everything that belongs to one query.
    """

    def __init__(self, folder: Path, *, check: bool = False) -> None:
        """Open an index; ``check``: compare every byte with its checksum, not only the first 64 MB."""
        self.folder = folder
        self._most_bytes = None if check else _CHECKED_BYTES
        self._generation: Generation | None = None
        self._connect()

    def _connect(self) -> None:
        self._connection = connect(self.folder)
        self._catalog = _identity(self.folder)

    def close(self) -> None:
        """Let go of the catalog."""
        self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[Generation]:
        """Open one read transaction on the newest generation and yield that generation; may be nested."""
        if self._generation is not None and self._connection.in_transaction:
            yield self._generation
            return
        generation = self._begin()
        try:
            yield generation
        finally:
            self._connection.rollback()

    def _begin(self) -> Generation:
        for attempt in range(_ATTEMPTS):
            try:
                if self._catalog != _identity(self.folder):  # indexed anew: another folder has taken this one's place
                    left, self._generation = self._connection, None
                    self._connect()  # where this fails, the old connection is there to fail with again
                    left.close()
                seal = self._seal()
                with sentences(self.folder):
                    self._connection.execute("BEGIN")
                    (number,) = self._connection.execute("SELECT generation FROM state").fetchone()
                    if self._generation is None or self._generation.number != number:
                        self._check_catalog(seal, number)
                        self._generation = self._open(number)
                return self._generation
            except (FileNotFoundError, DamagedIndex):
                self._connection.rollback()
                if attempt == _ATTEMPTS - 1:
                    raise
                # A writer may have moved on by two generations between our reading the catalog and the files.
                time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  # jitter, not a secret
            except BaseException:
                self._connection.rollback()
                raise
        raise AssertionError("unreachable")

    def _open(self, number: int) -> Generation:
        rows = self._connection.execute("SELECT key, value FROM settings").fetchall()
        settings = {key: json.loads(value) for key, value in rows}
        dead: dict[str, list[int]] = {}
        for segment, row in self._connection.execute("SELECT segment, row FROM tombstones"):
            dead.setdefault(segment, []).append(row)
        self._check_files()
        refuse_unknown(self.folder, settings["requires"])
        refuse_unknown_analyser(self.folder, settings["analyser"])
        component(settings["encoder"]["fingerprint"])
        derived = self._derived()
        segments = tuple(
            open_segment(
                self.folder / SEGMENTS / component(name), count, dimension, dead.get(name, ()), derived.get(name)
            )
            for name, count, dimension in self._connection.execute(
                "SELECT id, rows, dimension FROM segments ORDER BY id"
            )
        )
        (lexical,) = self._connection.execute("SELECT lexical FROM state").fetchone()
        postings = Postings(self.folder / LEXICAL / component(lexical), settings["analyser"]) if lexical else None
        return Generation(number, settings, segments, postings)

    def _derived(self) -> dict[str, Ann]:
        """Open what segments' scans are spared by: {segment: structure}."""
        paths = [
            path for (path,) in self._connection.execute("SELECT path FROM files WHERE path GLOB ?", (f"{ANN}/*",))
        ]
        return {
            segment: Ann(place, read_description(place))
            for segment, name in folders_of(paths).items()
            for place in (self.folder / ANN / component(name),)
        }

    def _seal(self) -> Seal | None:
        try:
            return read_seal(self.folder)
        except ValueError:
            return None  # the catalog is not at fault: verify names the seal, an answer can do without

    def _check_catalog(self, seal: Seal | None, number: int) -> None:
        if seal is None:
            return
        try:
            wrong = went_back(seal, number) or altered(self.folder, most_bytes=self._most_bytes)
        except ValueError as error:
            raise DamagedIndex(_mendable(self.folder / SEAL, f"{error}")) from None
        if wrong:
            raise DamagedIndex(_mendable(self.folder / CATALOG, wrong))

    def _check_files(self) -> None:
        left = self._most_bytes
        files = self._connection.execute("SELECT path, size, checksum FROM files ORDER BY size, path").fetchall()
        for relative, size, checksum in files:
            path = self.folder / owned(relative)
            if path.parts[-3] == ENCODER and path.suffix != ".json":
                continue  # hashed when it is loaded, against encoder.json
            found = path.stat().st_size
            if found != size:
                raise DamagedIndex(_mendable(path, f"{found} bytes long instead of {size}"))
            if left is not None:
                left -= size
                if left < 0:
                    continue
            if checksum_of(path)[1] != checksum:
                raise DamagedIndex(_mendable(path, "altered, its checksum is wrong"))

    def rows(self, statement: str, parameters: Sequence[object] | dict[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run one bound SELECT on the catalog."""
        with sentences(self.folder):
            return self._connection.execute(statement, parameters).fetchall()

    def passages(self, ids: Sequence[int]) -> list[StoredPassage]:
        """Fetch passages in the order of ``ids``."""
        found = self.rows(
            'SELECT p.id, p.document, p.ordinal, p.text, p.start, p."end", p.line, p.page, p.heading,'
            " d.key, d.title, s.path"
            " FROM passages p JOIN documents d ON d.id = p.document LEFT JOIN sources s ON s.id = d.source"
            " WHERE p.id IN (SELECT value FROM json_each(?))",
            (json.dumps([int(passage) for passage in ids]),),
        )
        stored = {}
        for passage, document, ordinal, text, start, end, line, page, heading, key, title, path in found:
            place = Location(start, end, line, page, heading)
            name = None if path is None else os.fsdecode(path)
            stored[passage] = StoredPassage(passage, document, ordinal, text, place, key, title, name)
        with sentences(self.folder):
            return [stored[int(passage)] for passage in ids]

    def names(self, documents: Sequence[int]) -> list[str]:
        """Name documents in the order given, as hits name them."""
        found = self.rows(
            "SELECT d.id, d.key, s.path FROM documents d LEFT JOIN sources s ON s.id = d.source"
            " WHERE d.id IN (SELECT value FROM json_each(?))",
            (json.dumps([int(document) for document in documents]),),
        )
        names = {
            document: document_name(key, None if path is None else os.fsdecode(path)) for document, key, path in found
        }
        with sentences(self.folder):
            return [names[int(document)] for document in documents]

    def count(self) -> tuple[int, int]:
        """Count (documents, passages)."""
        ((documents,),) = self.rows("SELECT count(*) FROM documents")
        ((passages,),) = self.rows("SELECT count(*) FROM passages")
        return documents, passages


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = (folder / CATALOG).stat()
    except FileNotFoundError:
        raise NoIndex(f"{folder}: the index was removed") from None
    return status.st_dev, status.st_ino


def document_name(key: str, path: str | None) -> str:
    """Name a document: its file's path, its line's id behind a #, or the id a program gave it."""
    if path is None:
        return key
    return f"{path}#{key}" if key else path


def documents_of(segments: Sequence[Segment], passages: np.ndarray) -> np.ndarray:
    """Tell the document of each passage: int64 [n] → int64 [n]."""
    documents = np.full(len(passages), -1, dtype=np.int64)
    for segment in segments:
        positions, rows = segment.rows_of(passages)
        documents[positions] = segment.documents[rows]
    return documents


def component(name: object) -> str:
    """Return a name that the catalog gives to a folder; raise ValueError where it would lead elsewhere."""
    if not isinstance(name, str) or not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r:.80} is no name of a folder")
    return name


def owned(relative: object) -> str:
    """Return a path that the catalog gives to a file, PLACE/FOLDER/FILE; raise ValueError where it leads elsewhere."""
    if not isinstance(relative, str):
        raise ValueError(f"{relative!r:.80} is no path")
    place, *rest = relative.split("/")
    if place not in (SEGMENTS, ANN, LEXICAL, ENCODER) or len(rest) != 2:
        raise ValueError(f"{relative!r:.80} is no path within an index")
    return "/".join((place, *map(component, rest)))


@contextmanager
def sentences(folder: Path) -> Iterator[None]:
    """Turn what a damaged catalog makes SQLite, JSON and our own reading of it raise into a sentence."""
    try:
        yield
    except SearchEngineError:
        raise
    except OSError as error:
        raise DamagedIndex(_mendable(Path(error.filename or folder), error.strerror or str(error))) from error
    except (sqlite3.Error, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise DamagedIndex(_mendable(folder / CATALOG, f"damaged ({str(error)[:80]})")) from error


def _mendable(path: Path, what: str) -> str:
    return f"{path}: {what} (searchengine verify says more, verify --repair mends it)"


def connect(folder: Path) -> sqlite3.Connection:
    """Open the catalog for reading, wherever it lies; raises NoIndex, DamagedIndex, IncompatibleIndex."""
    path = folder / CATALOG
    if not path.is_file():
        raise NoIndex(f"{folder}: no index here (make one with: searchengine index FOLDER)")
    options = "mode=ro"
    if not os.access(folder, os.W_OK):  # SQLite cannot make its shared memory there
        if has_log(folder):
            raise DamagedIndex(
                f"{folder}: has a writer's unfinished work and is read-only here; open it once where it can be written"
            )
        options = "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{options}", uri=True, isolation_level=None, check_same_thread=False
        )
        for pragma in ("query_only=ON", "mmap_size=0", "trusted_schema=OFF", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise DamagedIndex(f"{path}: not a catalog ({error}); searchengine verify says more") from error
    if not 0 < version <= FORMAT:
        with sentences(folder):
            wrong = altered(folder) or ("damaged (no format)" if version <= 0 else "")
        connection.close()
        if wrong:
            raise DamagedIndex(_mendable(path, wrong))
        raise IncompatibleIndex(
            f"{folder}: made by a newer searchengine (format {version}, this one knows {FORMAT}); upgrade it"
        )
    return connection
