"""Small or half-dead segments become one; rows under tombstones are dropped. No passage changes its id or its vector.

Segments grow to shards of about a million rows. Bounded: vectors pass through in blocks, ids alone lie in memory.
Writes beside and commits once, like any other write.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import bindparam, func, insert, select, update

from indexer.catalog import PASSAGES, SEGMENTS, TOMBSTONES
from indexer.derive import derive, set_wish
from indexer.durable import sealed, storage_errors
from indexer.format import SEGMENTS as FOLDER
from indexer.lexical import ANALYSER
from indexer.progress import SILENT, Progress
from indexer.rows import forget_segments
from indexer.vectors import Segment, open_segment, write_segment_of
from indexer.writer import DEAD_SHARE, Writer

SHARD_ROWS = 1_000_000
_TIER = 8  # so many segments of a like size are merged into one
_BLOCK_ROWS = 16_384


def merge_segments(writer: Writer, *, everything: bool = False) -> int:
    """Merge what is worth merging and return how many segments were rewritten; ``everything``: all that may be merged.

    The writer must have nothing staged.
    """
    merged = 0
    for group in _groups(writer, everything=everything):
        _merge(writer, group)
        merged += len(group)
    return merged


def optimize(
    folder: Path,
    *,
    wait_s: float = 0.0,
    ann: str | None = None,
    recall: float | None = None,
    progress: Progress = SILENT,
) -> int:
    """Merge all that may be merged, write the postings anew without what was removed, build what searches large shards.

    Counts the merged segments. ``ann`` and ``recall``: what shards are searched by from now on; None leaves it.
    An index whose texts were analysed by an older version is analysed as a new one from then on.
    """
    with Writer(folder, wait_s=wait_s) as writer:
        set_wish(writer, ann, recall)
        merged = merge_segments(writer, everything=True)
        writer.rewrite_postings(analyser=ANALYSER)
        derive(writer, progress)
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
        if packs[-1] and rows + live > SHARD_ROWS:
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
    passages = np.concatenate([segment.passages[segment.alive()] for segment in segments])
    if not len(passages):
        return  # a commit has removed such segments already
    documents = np.concatenate([segment.documents[segment.alive()] for segment in segments])
    order = np.argsort(passages, kind="stable")
    replace_segments(writer, names, _vectors(segments, order), passages[order], documents[order])


def replace_segments(
    writer: Writer, names: Sequence[str], vectors: Iterable[np.ndarray], passages: np.ndarray, documents: np.ndarray
) -> None:
    """Commit one new segment in place of others: blocks of vectors [m, D], passages [n] ascending, documents [n]."""
    name = secrets.token_hex(8)
    target = writer.folder / FOLDER / name
    with storage_errors("merging segments"):
        write_segment_of(target, vectors, writer.dimension, passages, documents)
        files = sealed(target, writer.folder)
        with writer.catalog.transaction() as connection:
            connection.execute(insert(SEGMENTS).values(id=name, rows=len(passages), dimension=writer.dimension))
            place = update(PASSAGES).where(PASSAGES.c.id == bindparam("passage"))
            place = place.values(segment=name, row=bindparam("at"))
            for begin in range(0, len(passages), _BLOCK_ROWS):
                ids = passages[begin : begin + _BLOCK_ROWS].tolist()
                rows = [{"passage": passage, "at": row} for row, passage in enumerate(ids, start=begin)]
                connection.execute(place, rows)
            forget_segments(connection, names)
            writer.record(connection, files)
        writer.after_commit()


def _vectors(segments: Sequence[Segment], order: np.ndarray) -> Iterator[np.ndarray]:
    """Gather the live rows of segments in ``order`` [n], which counts them one segment after the other, in blocks."""
    rows = np.concatenate([np.flatnonzero(segment.alive()) for segment in segments])
    counts = [int(np.count_nonzero(segment.alive())) for segment in segments]
    owners = np.repeat(np.arange(len(segments)), counts)
    for begin in range(0, len(order), _BLOCK_ROWS):
        at = order[begin : begin + _BLOCK_ROWS]
        block = np.empty((len(at), segments[0].codes.shape[1]), np.float16)
        for owner in np.unique(owners[at]):
            mine = np.flatnonzero(owners[at] == owner)
            block[mine] = segments[owner].vectors(rows[at[mine]])  # fp16 again: the very values that were stored
        yield block
