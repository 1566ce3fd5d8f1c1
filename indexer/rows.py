"""A commit's rows: which stored passages go, and what is entered, within one transaction of the writer's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, CursorResult, bindparam, delete, func, insert, select, update

from indexer.catalog import DOCUMENTS, FILES, PASSAGES, ROOTS, SEGMENTS, SOURCES, TOMBSTONES
from indexer.documents import passage_digest
from indexer.format import ANN
from indexer.format import SEGMENTS as SEGMENTS_FOLDER
from indexer.staging import Prepared, SourceFile, Staging, document_digest


@dataclass(frozen=True, slots=True)
class Stale:
    """A stored passage that a commit removes."""

    passage: int
    document: int
    segment: str
    row: int


def find_stale(connection: Connection, staging: Staging) -> list[Stale]:
    """Find the stored passages that the staged changes replace or remove."""
    paths, keys = staging.gone_paths(), staging.gone_keys()
    conditions: list[ColumnElement[bool]] = [
        SOURCES.c.path.in_(paths[begin : begin + 500]) for begin in range(0, len(paths), 500)
    ]
    conditions += [
        DOCUMENTS.c.source.is_(None) & DOCUMENTS.c.key.in_(keys[begin : begin + 500])
        for begin in range(0, len(keys), 500)
    ]
    columns = select(PASSAGES.c.id, DOCUMENTS.c.id, PASSAGES.c.segment, PASSAGES.c.row)
    joined = columns.select_from(DOCUMENTS.outerjoin(SOURCES).join(PASSAGES, PASSAGES.c.document == DOCUMENTS.c.id))
    return [Stale(*row) for condition in conditions for row in connection.execute(joined.where(condition))]


def remove(connection: Connection, staging: Staging, stale: list[Stale]) -> None:
    """Remove what the staged changes replace or drop; its rows in segments get tombstones."""
    if stale:
        rows = [{"segment": entry.segment, "row": entry.row} for entry in stale]
        connection.execute(insert(TOMBSTONES), rows)
        connection.execute(
            delete(PASSAGES).where(PASSAGES.c.id == bindparam("stale")),
            [{"stale": entry.passage} for entry in stale],
        )
    gone = [{"gone": path} for path in staging.gone_paths()]
    if gone:
        source = select(SOURCES.c.id).where(SOURCES.c.path == bindparam("gone")).scalar_subquery()
        connection.execute(delete(DOCUMENTS).where(DOCUMENTS.c.source == source), gone)
        connection.execute(delete(SOURCES).where(SOURCES.c.path == bindparam("gone")), gone)
    by_key = [{"gone": key} for key in staging.gone_keys()]
    if by_key:
        handed = DOCUMENTS.c.source.is_(None) & (DOCUMENTS.c.key == bindparam("gone"))
        connection.execute(delete(DOCUMENTS).where(handed), by_key)
    if stale:
        # By tombstones, which are few; asking the passages would read all of them.
        buried = select(func.count()).where(TOMBSTONES.c.segment == SEGMENTS.c.id).scalar_subquery()
        touched = SEGMENTS.c.id.in_(sorted({entry.segment for entry in stale}))
        emptied = select(SEGMENTS.c.id).where(touched & (SEGMENTS.c.rows <= buried))
        forget_segments(connection, list(connection.execute(emptied).scalars()))


def forget_segments(connection: Connection, names: Iterable[str]) -> None:
    """Remove segments and what was derived from them from the catalog, within a transaction."""
    for name in names:
        connection.execute(delete(TOMBSTONES).where(TOMBSTONES.c.segment == name))
        connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{SEGMENTS_FOLDER}/{name}/")))
        connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{ANN}/{name}-")))
        connection.execute(delete(SEGMENTS).where(SEGMENTS.c.id == name))


def store(
    connection: Connection,
    staging: Staging,
    prepared: list[tuple[int, Prepared]],
    first_document: int,
    ids: np.ndarray,
    segment: str | None,
) -> None:
    """Enter what is staged: documents from id ``first_document`` on, passages under ``ids`` [n] in ``segment``."""
    for old, source in staging.moved:
        connection.execute(update(SOURCES).where(SOURCES.c.path == old).values(**_columns(source)))
    for source in staging.seen:
        connection.execute(update(SOURCES).where(SOURCES.c.path == source.path).values(**_columns(source)))
    for path in staging.new_roots:
        connection.execute(insert(ROOTS).prefix_with("OR IGNORE").values(path=path))
    source_ids: list[int | None] = []
    for put, _ in staging.puts:
        result = None if put is None else connection.execute(insert(SOURCES).values(**_columns(put)))
        source_ids.append(None if result is None else _new_id(result))
    documents, rows, at = [], [], 0
    for document_id, (position, owner) in enumerate(prepared, start=first_document):
        document = owner.document
        documents.append(
            {
                "id": document_id,
                "source": source_ids[position],
                "key": document.key,
                "title": document.title,
                "kind": document.kind,
                "language": owner.language or document.language,
                "digest": document_digest(document),
            }
        )
        for passage in owner.passages:
            place = passage.location
            rows.append(
                {
                    "id": int(ids[at]),
                    "document": document_id,
                    "ordinal": passage.ordinal,
                    "text": passage.text,
                    "start": place.start,
                    "end": place.end,
                    "line": place.line,
                    "page": place.page,
                    "heading": place.heading,
                    "digest": passage_digest(document.title, place.heading, passage.text),
                    "segment": segment,
                    "row": at,
                }
            )
            at += 1
    if documents:
        connection.execute(insert(DOCUMENTS), documents)
    if rows:
        connection.execute(insert(PASSAGES), rows)


def _new_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    if key is None:
        raise TypeError("the insert gave no id")
    return int(key[0])


def _columns(source: SourceFile) -> dict[str, Any]:
    return {
        "path": source.path,
        "size": source.size,
        "mtime_ns": source.mtime_ns,
        "ctime_ns": source.ctime_ns,
        "inode": source.inode,
        "seen_ns": source.seen_ns,
        "digest": source.digest,
        "skipped": source.skipped,
        "notes": json.dumps(source.notes),
    }
