"""Small or half-dead segments become one; rows under tombstones are dropped. No passage changes its id or its vector.

Bounded: a merge reads at most a quarter of a million rows. Writes beside and commits once, like any other write.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import bindparam, func, insert, select, update

from indexer.catalog import PASSAGES, SEGMENTS, TOMBSTONES
from indexer.durable import sealed, storage_errors
from indexer.format import SEGMENTS as FOLDER
from indexer.lexical import ANALYSER
from indexer.rows import forget_segments
from indexer.vectors import Segment, open_segment, write_segment
from indexer.writer import DEAD_SHARE, Writer

_MAX_ROWS = 250_000
_TIER = 8  # so many segments of a like size are merged into one


def merge_segments(writer: Writer, *, everything: bool = False) -> int:
    """Merge what is worth merging and return how many segments were rewritten; ``everything``: all that may be merged.

    The writer must have nothing staged.
    """
    merged = 0
    for group in _groups(writer, everything=everything):
        _merge(writer, group)
        merged += len(group)
    return merged


def optimize(folder: Path, *, wait_s: float = 0.0) -> int:
    """Merge all that may be merged and write the postings anew, without what was removed; count the merged segments.

    An index whose texts were analysed by an older version is analysed as a new one from then on.
    """
    with Writer(folder, wait_s=wait_s) as writer:
        merged = merge_segments(writer, everything=True)
        writer.rewrite_postings(analyser=ANALYSER)
        return merged


def _groups(writer: Writer, *, everything: bool) -> list[list[str]]:
    """Choose segments to merge with each other: those of a tier that is full, and those with too many dead rows."""
    with writer.catalog.reading() as connection:
        rows = connection.execute(select(SEGMENTS.c.id, SEGMENTS.c.rows)).all()
        counted = select(TOMBSTONES.c.segment, func.count()).group_by(TOMBSTONES.c.segment)
        dead: dict[str, int] = dict(connection.execute(counted).all())
    tiers: dict[int, list[tuple[str, int]]] = {}
    chosen: list[tuple[str, int]] = []
    for name, count in sorted(rows, key=lambda row: row[1]):
        live = count - dead.get(name, 0)
        if everything or dead.get(name, 0) > DEAD_SHARE * count:
            chosen.append((name, live))
        else:
            tiers.setdefault(len(f"{live:o}"), []).append((name, live))  # a tier a power of eight
    groups = [_packed(chosen)] if chosen else []
    groups += [_packed(tier) for tier in tiers.values() if len(tier) >= _TIER]
    flat = [group for packs in groups for group in packs]
    return [group for group in flat if len(group) > 1 or dead.get(group[0])]


def _packed(segments: Sequence[tuple[str, int]]) -> list[list[str]]:
    packs: list[list[str]] = [[]]
    rows = 0
    for name, live in segments:
        if packs[-1] and rows + live > _MAX_ROWS:
            packs.append([])
            rows = 0
        packs[-1].append(name)
        rows += live
    return packs


def _merge(writer: Writer, names: list[str]) -> None:
    with writer.catalog.reading() as connection:
        counts = dict(connection.execute(select(SEGMENTS.c.id, SEGMENTS.c.rows)).all())
        buried = connection.execute(select(TOMBSTONES).where(TOMBSTONES.c.segment.in_(names))).all()
    dead = {name: [row for segment, row in buried if segment == name] for name in names}
    for name in names:
        writer.check_files(f"{FOLDER}/{name}")
    segments = [
        open_segment(writer.folder / FOLDER / name, counts[name], writer.dimension, dead[name]) for name in names
    ]
    vectors, passages, documents = _live_rows(segments)
    if not len(passages):
        return  # a commit has removed such segments already
    replace_segments(writer, names, vectors, passages, documents)


def replace_segments(
    writer: Writer, names: Sequence[str], vectors: np.ndarray, passages: np.ndarray, documents: np.ndarray
) -> None:
    """Commit one new segment in place of others: vectors [n, D], passages [n] ascending, documents [n] are its rows."""
    name = secrets.token_hex(8)
    target = writer.folder / FOLDER / name
    with storage_errors("merging segments"):
        write_segment(target, vectors, passages, documents)
        files = sealed(target, writer.folder)
        rows = [{"passage": int(passage), "at": row} for row, passage in enumerate(passages)]
        with writer.catalog.transaction() as connection:
            connection.execute(insert(SEGMENTS).values(id=name, rows=len(rows), dimension=writer.dimension))
            place = update(PASSAGES).where(PASSAGES.c.id == bindparam("passage"))
            connection.execute(place.values(segment=name, row=bindparam("at")), rows)
            forget_segments(connection, names)
            writer.record(connection, files)
        writer.after_commit()


def _live_rows(segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    alive = [np.flatnonzero(segment.alive()) for segment in segments]
    vectors = np.concatenate([segment.codes[rows] for segment, rows in zip(segments, alive, strict=True)])
    passages = np.concatenate([segment.passages[rows] for segment, rows in zip(segments, alive, strict=True)])
    documents = np.concatenate([segment.documents[rows] for segment, rows in zip(segments, alive, strict=True)])
    order = np.argsort(passages, kind="stable")
    return vectors[order], passages[order], documents[order]
