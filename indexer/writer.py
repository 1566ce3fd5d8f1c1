"""Makes generations: stages documents, writes their files beside, commits once, then lets go of old files.

The order is always: segment and postings written and flushed → one SQLite transaction → acknowledge → drop what only
older generations used. Knows nothing of files to be read or of encoders: it is given passages and their vectors.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import DatabaseError, NoResultFound

from indexer import rows
from indexer.catalog import DOCUMENTS, FILES, PASSAGES, ROOTS, SEGMENTS, SETTINGS, SOURCES, STATE, Catalog
from indexer.documents import looked_up, searchable
from indexer.durable import StoredFile, checksum_of, sealed, storage_errors
from indexer.errors import DamagedIndex
from indexer.format import ANN, CATALOG, ENCODER, LEXICAL, LOCK, refuse_unknown
from indexer.format import SEGMENTS as SEGMENTS_FOLDER
from indexer.lexical import ENGLISH, MUTABLE, clone, refuse_unknown_analyser, write_postings
from indexer.lock import WriterLock
from indexer.seal import SEAL, altered, has_log, open_seal, read_seal, went_back, write_seal
from indexer.staging import SourceFile, Staging
from indexer.vectors import open_segment, write_segment

# BM25's statistics count removed passages: above this share of them the postings are written anew.
DEAD_SHARE = 0.1


def _text_for(analyser: str) -> Callable[[str, str | None, str], str]:
    return searchable if analyser == ENGLISH else looked_up  # the first analyser counted a title once


class Writer(Staging):
    """The one writer of an index. A context manager; staged changes that were not committed are forgotten."""

    def __init__(self, folder: Path, *, wait_s: float = 0.0) -> None:
        super().__init__()
        self.folder = folder
        self._lock = WriterLock(folder / LOCK, wait_s=wait_s)

    def __enter__(self) -> Writer:
        """Take the lock, open the catalog, remove what a crash left behind."""
        self._lock.__enter__()
        try:
            with storage_errors("opening the catalog"):
                self._open()
            with storage_errors("cleaning up after an earlier run"):
                self._drop_unused(keep_lexical=())
                for leftover in self.folder.glob("catalog.*.tmp*"):  # of a seal, or of a creation, that was killed
                    leftover.unlink()
        except BaseException:
            if hasattr(self, "catalog"):
                self.catalog.close()
            self._lock.__exit__(None, None, None)
            raise
        self._forget_staged()
        self._checked: set[tuple[int, str]] = set()  # files known to be right: (inode, checksum)
        self._previous_lexical: tuple[str | None, ...] = ()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Fold the log into the catalog, seal it, let go of the lock."""
        try:
            with storage_errors("sealing the catalog"):
                # A full disk may have refused to open the seal after a commit: then the catalog's file stays as it was
                # sealed, and the commit stays in the log, where everyone finds it.
                if self._dirty and self._seal_is_open and self.catalog.checkpoint():
                    write_seal(self.folder)
        finally:
            self.catalog.close()
            self._lock.__exit__(kind, error, at)

    def _open(self) -> None:
        """Open the catalog. One that is not what was sealed is refused: a new seal would hide the damage for good."""
        where: Path = self.folder / SEAL
        try:
            seal = read_seal(self.folder)
            where = self.folder / CATALOG
            wrong = altered(self.folder)
            if not wrong:
                self.catalog = Catalog(self.folder / CATALOG)
                self.settings = self.catalog.settings()
                with self.catalog.reading() as connection:
                    generation = connection.execute(select(STATE.c.generation)).scalar_one()
                wrong = went_back(seal, generation)
        except (DatabaseError, NoResultFound, ValueError) as error:
            wrong = f"damaged ({getattr(error, 'orig', error)})"
        if wrong:
            raise DamagedIndex(f"{where}: {wrong} (nothing was written; mend it with: searchengine verify --repair)")
        refuse_unknown(self.folder, self.settings.get("requires"))
        refuse_unknown_analyser(self.folder, self.settings.get("analyser"))
        # A killed run's log will be folded in; so will one that came back because its emptying was lost with the power.
        self._dirty = seal.is_open or seal.generation != generation or has_log(self.folder)
        if self._dirty:
            open_seal(self.folder, generation)
        self._seal_is_open = self._dirty

    # What is stored -------------------------------------------------------------------------------------------------

    def sources(self) -> Iterator[SourceFile]:
        """List every known file."""
        with self.catalog.reading() as connection:
            # by position: a folder of a million files lists them all at every run
            stored = select(*(SOURCES.c[each.name] for each in fields(SourceFile)))
            for path, size, mtime, ctime, inode, digest, skipped, notes, seen in connection.execute(stored):
                told = tuple(json.loads(notes)) if notes != "[]" else ()
                yield SourceFile(path, size, mtime, ctime, inode, digest, skipped, told, seen)

    def roots(self) -> list[bytes]:
        """List the folders and files that were indexed so far."""
        with self.catalog.reading() as connection:
            return list(connection.execute(select(ROOTS.c.path)).scalars())

    def document_digests(self) -> dict[str, str]:
        """Map the id of each document that a program handed over to its digest."""
        with self.catalog.reading() as connection:
            rows = connection.execute(select(DOCUMENTS.c.key, DOCUMENTS.c.digest).where(DOCUMENTS.c.source.is_(None)))
            return dict(rows.all())

    def stored_vectors(self, digests: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Find vectors that the index holds already: passage digests → {digest: float16 [D]} for those known."""
        found: dict[str, dict[bytes, int]] = {}
        with self.catalog.reading() as connection:
            for begin in range(0, len(digests), 500):
                wanted = PASSAGES.c.digest.in_(digests[begin : begin + 500])
                rows = connection.execute(select(PASSAGES.c.digest, PASSAGES.c.segment, PASSAGES.c.row).where(wanted))
                for digest, segment, row in rows:
                    found.setdefault(segment, {})[digest] = row
            counts = dict(connection.execute(select(SEGMENTS.c.id, SEGMENTS.c.rows)).all())
        vectors: dict[bytes, np.ndarray] = {}
        for name, wanted_rows in found.items():
            self.check_files(f"{SEGMENTS_FOLDER}/{name}")
            segment = open_segment(self.folder / SEGMENTS_FOLDER / name, counts[name], self.dimension)
            vectors |= {digest: np.array(segment.codes[row]) for digest, row in wanted_rows.items()}
        return vectors

    def check_files(self, folder: str) -> None:
        """Refuse to build on damaged files of ``folder`` (a path within the index): new checksums would hide it.

        A file is read once a run at most. Raises DamagedIndex.
        """
        with self.catalog.reading() as connection:
            rows = connection.execute(select(FILES).where(FILES.c.path.startswith(f"{folder}/"))).all()
        for relative, size, checksum in rows:
            path = self.folder / relative
            if path.is_file() and (path.stat().st_ino, checksum) in self._checked:
                continue
            if not path.is_file() or checksum_of(path) != (size, checksum):
                raise DamagedIndex(
                    f"{path}: missing, short or altered (the last committed state is kept; "
                    "mend it with: searchengine verify --repair)"
                )
            self._checked.add((path.stat().st_ino, checksum))

    @property
    def dimension(self) -> int:
        """The width of the index's vectors."""
        return int(self.settings["encoder"]["dimension"])

    def count(self) -> tuple[int, int, int]:
        """Count (documents, passages) and return the generation they belong to."""
        with self.catalog.reading() as connection:
            documents = connection.execute(select(func.count()).select_from(DOCUMENTS)).scalar_one()
            passages = connection.execute(select(func.count()).select_from(PASSAGES)).scalar_one()
            return documents, passages, connection.execute(select(STATE.c.generation)).scalar_one()

    # The commit -----------------------------------------------------------------------------------------------------

    def commit(self) -> int:
        """Make everything staged one generation and return its number; on any error nothing of it is there.

        Raises StorageError when the disk refuses; the files written so far are removed by the next writer.
        """
        with storage_errors("writing to the index"):
            generation = self._commit()
        self._forget_staged()
        self.after_commit()
        return generation

    def after_commit(self) -> None:
        """Open the seal, so that nothing can take the new generation back unseen; let go of files of older ones."""
        self._dirty = True
        with storage_errors("sealing the catalog"):
            open_seal(self.folder, self.count()[2])
            self._seal_is_open = True
        with storage_errors("removing files of older generations"):
            self._drop_unused(keep_lexical=self._previous_lexical)

    def _commit(self) -> int:
        with self.catalog.reading() as connection:
            state = connection.execute(select(STATE)).mappings().one()
            stale = rows.find_stale(connection, self)
            (live,) = connection.execute(select(func.count()).select_from(PASSAGES)).one()
        prepared = self.prepared()
        passages = [
            (document_id, passage, document)
            for document_id, (_, document) in enumerate(prepared, start=state["next_document"])
            for passage in document.passages
        ]
        ids = np.arange(state["next_passage"], state["next_passage"] + len(passages), dtype=np.int64)
        segment, files = None, []
        if passages:
            segment = secrets.token_hex(8)
            target = self.folder / SEGMENTS_FOLDER / segment
            vectors = np.concatenate([document.vectors for _, document in prepared if len(document.passages)])
            write_segment(target, vectors, ids, np.array([document for document, _, _ in passages], dtype=np.int64))
            files += sealed(target, self.folder)
        written = _text_for(self.settings["analyser"])
        added = [
            (
                int(passage_id),
                written(owner.document.title, passage.location.heading, passage.text),
                owner.language or owner.document.language,
            )
            for passage_id, (_, passage, owner) in zip(ids, passages, strict=True)
        ]
        lexical, dead = state["lexical"], state["lexical_dead"]
        if stale or added:
            dead += len(stale)
            anew = lexical is None or dead > DEAD_SHARE * (live - len(stale) + len(added) + dead)
            removed = {entry.passage for entry in stale}
            lexical, lexical_files = self._write_postings(
                lexical, removed, added, state["generation"] + 1, self.settings["analyser"], anew=anew
            )
            files += lexical_files
            dead = 0 if anew else dead
        with self.catalog.transaction() as connection:
            rows.remove(connection, self, stale)
            if segment is not None:
                connection.execute(insert(SEGMENTS).values(id=segment, rows=len(ids), dimension=self.dimension))
            rows.store(connection, self, prepared, state["next_document"], ids, segment)
            if lexical != state["lexical"]:
                connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{LEXICAL}/")))
            self.record(connection, files)
            counters = {
                "lexical": lexical,
                "lexical_dead": dead,
                "next_passage": state["next_passage"] + len(ids),
                "next_document": state["next_document"] + len(prepared),
            }
            connection.execute(update(STATE).values(**counters))
        self._previous_lexical = (state["lexical"],)
        return int(state["generation"]) + 1

    def rewrite_postings(self, *, analyser: str | None = None) -> None:
        """Write the postings anew from the catalog's texts and commit: BM25's statistics forget what was removed.

        ``analyser``: the one that the index has from now on; None leaves it as it is.
        """
        with self.catalog.reading() as connection:
            state = connection.execute(select(STATE)).mappings().one()
        analyser = analyser or self.settings["analyser"]
        with storage_errors("writing the postings anew"):
            lexical, files = self._write_postings(None, set(), [], state["generation"] + 1, analyser, anew=True)
            with self.catalog.transaction() as connection:
                connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{LEXICAL}/")))
                self.record(connection, files)
                connection.execute(update(STATE).values(lexical=lexical, lexical_dead=0))
                named = update(SETTINGS).where(SETTINGS.c.key == "analyser")
                connection.execute(named.values(value=json.dumps(analyser)))
            self.settings["analyser"] = analyser
            self._previous_lexical = (state["lexical"],)
            self.after_commit()

    def store_setting(self, key: str, value: Any) -> int:
        """Commit one setting, a JSON value, and return the new generation; None removes it. Nothing may be staged."""
        with storage_errors("writing a setting"):
            with self.catalog.transaction() as connection:
                connection.execute(delete(SETTINGS).where(SETTINGS.c.key == key))
                if value is not None:
                    connection.execute(insert(SETTINGS).values(key=key, value=json.dumps(value, allow_nan=False)))
            self.settings = self.catalog.settings()
            self.after_commit()
        return self.count()[2]

    def _write_postings(
        self,
        lexical: str | None,
        removed: set[int],
        added: list[tuple[int, str, str]],
        generation: int,
        analyser: str,
        *,
        anew: bool,
    ) -> tuple[str, list[StoredFile]]:
        name = f"{generation}-{secrets.token_hex(4)}"
        target = self.folder / LEXICAL / name
        known: dict[str, StoredFile] = {}
        if anew or lexical is None:
            write_postings(target, (), self._analysed_passages(removed, added, analyser), analyser)
        else:
            with self.catalog.reading() as connection:
                files = connection.execute(select(FILES).where(FILES.c.path.startswith(f"{LEXICAL}/")))
                known = {Path(path).name: StoredFile(path, size, checksum) for path, size, checksum in files}
            known = {file: stored for file, stored in known.items() if file not in MUTABLE}
            self.check_files(f"{LEXICAL}/{lexical}")
            clone(self.folder / LEXICAL / lexical, target)
            write_postings(target, sorted(removed), added, analyser)
        return name, sealed(target, self.folder, known=known)

    def _analysed_passages(
        self, removed: set[int], added: list[tuple[int, str, str]], analyser: str
    ) -> Iterator[tuple[int, str, str]]:
        written = _text_for(analyser)
        columns = select(PASSAGES.c.id, DOCUMENTS.c.title, PASSAGES.c.heading, PASSAGES.c.text, DOCUMENTS.c.language)
        with self.catalog.reading() as connection:
            for passage, title, heading, text, language in connection.execute(columns.join(DOCUMENTS)).yield_per(1000):
                if passage not in removed:
                    yield passage, written(title, heading, text), language
        yield from added

    def record(self, connection: Connection, files: list[StoredFile]) -> None:
        """Enter new files, flushed already, within a transaction."""
        self._checked |= {((self.folder / file.path).stat().st_ino, file.checksum) for file in files}
        if files:
            connection.execute(insert(FILES), [asdict(file) for file in files])

    def _drop_unused(self, *, keep_lexical: Iterable[str | None]) -> None:
        """Remove segments, what was derived from them, postings and encoders that the current generation does not name.

        The previous generation's postings stay one commit longer: a reader may be about to open them.
        """
        with self.catalog.reading() as connection:
            segments = set(connection.execute(select(SEGMENTS.c.id)).scalars())
            lexical = {connection.execute(select(STATE.c.lexical)).scalar_one(), *keep_lexical}
            derived = connection.execute(select(FILES.c.path).where(FILES.c.path.startswith(f"{ANN}/"))).scalars()
            structures = {path.split("/")[1] for path in derived}
        encoders = {self.settings["encoder"]["fingerprint"]}
        places = ((SEGMENTS_FOLDER, segments), (ANN, structures), (LEXICAL, lexical), (ENCODER, encoders))
        for place, kept in places:
            for path in (self.folder / place).iterdir() if (self.folder / place).is_dir() else ():
                if path.name not in kept:
                    shutil.rmtree(path, ignore_errors=True)
