"""SQLite through SQLAlchemy: the index's tables, and the transaction that is its only commit point.

For writers. Queries read the same tables through ``snapshot.py``, which spares them the 0.15 s import of SQLAlchemy.
ARCHITECTURE.md describes each table; a test compares the two.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError

from indexer.durable import StoredFile
from indexer.errors import IncompatibleIndex, StorageError
from indexer.format import APPLICATION_ID, FORMAT

TABLES = MetaData()

# One row a setting, its value in JSON: format, requires (features a reader must know), encoder, splitting, base.
SETTINGS = Table("settings", TABLES, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

# One row: what the current generation is made of beside the tables.
STATE = Table(
    "state",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("lexical", Text),  # the folder under lexical/, NULL before the first commit
    Column(
        "lexical_dead", BigInteger, nullable=False
    ),  # passages removed from the postings since they were last rebuilt
    Column("next_passage", BigInteger, nullable=False),  # ids are never used again
    Column("next_document", BigInteger, nullable=False),
)

# The folders and files that `index` was called with.
ROOTS = Table("roots", TABLES, Column("path", LargeBinary, primary_key=True))

# Files on disk, those that gave no document included. Paths are bytes: a name need not be UTF-8.
SOURCES = Table(
    "sources",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("path", LargeBinary, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),  # sha256 of the bytes, "" where they were not read
    Column("skipped", Text),  # why it gave no document
    Column("notes", Text, nullable=False),  # JSON list: what was left out of it
)

DOCUMENTS = Table(
    "documents",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("source", Integer, ForeignKey("sources.id"), index=True),  # NULL: handed over by a program
    Column("key", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("digest", Text, nullable=False),  # xxh3-128 of what was handed over
    UniqueConstraint("source", "key"),
    Index("documents_by_key", "key"),
)

PASSAGES = Table(
    "passages",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("document", Integer, ForeignKey("documents.id"), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("line", BigInteger),
    Column("page", BigInteger),
    Column("heading", Text),
    Column(
        "digest", LargeBinary, nullable=False, index=True
    ),  # xxh3-128 of what was encoded: equal ones share a vector
    # Without the index, each segment that a merge drops has SQLite look for its passages in all of them.
    Column("segment", Text, ForeignKey("segments.id"), nullable=False, index=True),
    Column("row", BigInteger, nullable=False),
)

SEGMENTS = Table(
    "segments",
    TABLES,
    Column("id", Text, primary_key=True),  # the folder under segments/
    Column("rows", BigInteger, nullable=False),
    Column("dimension", Integer, nullable=False),
)

# Rows of segments whose passages are gone; a merge drops them.
TOMBSTONES = Table(
    "tombstones",
    TABLES,
    Column("segment", Text, ForeignKey("segments.id"), primary_key=True),
    Column("row", BigInteger, primary_key=True),
)

# Every file of the current generation beside the catalog itself.
FILES = Table(
    "files",
    TABLES,
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("checksum", Text, nullable=False),  # xxh3-128
)

_DISK_REFUSES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Catalog:
    """The index's metadata in one SQLite file, opened for writing: the only place where anything becomes committed.

    The writer's lock must be held as long as this lives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)
        with self._engine.connect() as connection:
            application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        if version > FORMAT or (version and application != APPLICATION_ID):
            self.close()
            raise IncompatibleIndex(
                f"{path.parent}: made by a newer searchengine (format {version}, this one knows {FORMAT}); upgrade it"
            )

    @classmethod
    def create(cls, path: Path, settings: dict[str, Any], files: list[StoredFile]) -> Catalog:
        """Make a new catalog at generation 0 with its settings and first files; it is whole or not there at all."""
        engine = _engine(path)
        with engine.connect() as connection, _transaction(connection):
            TABLES.create_all(connection)
            rows = [{"key": key, "value": json.dumps(value)} for key, value in settings.items()]
            connection.execute(insert(SETTINGS), rows)
            state = {
                "id": 1,
                "generation": 0,
                "lexical": None,
                "lexical_dead": 0,
                "next_passage": 1,
                "next_document": 1,
            }
            connection.execute(insert(STATE), state)
            if files:
                connection.execute(insert(FILES), [asdict(file) for file in files])
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")
        engine.dispose()
        return cls(path)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection for reads of the writer's own."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Make the block one generation: all of it is committed when it ends, or none of it.

        Every file that the block's rows name must be flushed to disk already.
        """
        with self._engine.connect() as connection, _transaction(connection):
            yield connection
            connection.execute(update(STATE).values(generation=STATE.c.generation + 1))

    def settings(self) -> dict[str, Any]:
        """Return every setting by its name."""
        with self.reading() as connection:
            return {key: json.loads(value) for key, value in connection.execute(select(SETTINGS))}

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the catalog's own file; False where a reader is in the way."""
        with self._engine.connect() as connection:
            busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy

    def close(self, *, keep_log: bool = True) -> None:
        """Close every connection. The empty log stays, unless nobody else can have the catalog open.

        SQLite removes the log with the last connection, which it tells by POSIX locks on the catalog. Those vanish
        when their process closes any other descriptor of that file, and readers read it to check its seal: they would
        go on with a log that is gone and never see another commit. A connection that may not write cannot remove it.
        """
        guard = None
        with suppress(sqlite3.Error):
            if keep_log:
                guard = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
                guard.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # takes its lock
        self._engine.dispose()
        if guard is not None:
            guard.close()


def _engine(path: Path) -> Engine:
    # AUTOCOMMIT: the driver leaves BEGIN to us.
    engine = create_engine(URL.create("sqlite", database=str(path)), isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # NORMAL loses commits, and with them whole indexes, when the power goes
            "wal_autocheckpoint=0",  # checkpoints are ours, under the lock
            "mmap_size=0",
            "foreign_keys=ON",
            "busy_timeout=5000",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "handle_error")
    def name_the_disk(context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_REFUSES:
            raise StorageError(
                f"{path}: {error} (the last committed state is intact; "
                "free some space or fix the permissions, then run the same command again)"
            ) from error

    return engine


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # a read that turns into a write later can deadlock
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except OperationalError as error:
        _roll_back(connection)
        raise StorageError(
            f"the catalog could not be written: {error.orig} (the last committed state is intact)"
        ) from error
    except BaseException:  # Ctrl-C included
        _roll_back(connection)
        raise


def _roll_back(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    if driver is not None:
        with suppress(sqlite3.Error):  # a disk that refused the commit may refuse this too: the first error counts
            driver.rollback()  # not SQL "ROLLBACK": on a full disk that hides the first error


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
