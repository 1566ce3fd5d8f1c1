"""Builds the structures that an index's shards are searched by, from their stored vectors; each is one commit.

Whatever stops it, shards without one are scanned. Bounded: a sample of vectors is trained on, the rest is added in
blocks, and the structure itself (about 400 bytes a passage at most) is what lies in memory.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, delete, select, update

from indexer.ann import DESCRIPTION, INDEX, Ann, Description, folders_of, read_description
from indexer.calibrate import calibrate, efforts, make_questions, nearest_rows
from indexer.catalog import FILES, SEGMENTS, SETTINGS, TOMBSTONES
from indexer.durable import sealed, storage_errors, sync_folder, write_bytes
from indexer.errors import SearchEngineError
from indexer.format import ANN
from indexer.format import SEGMENTS as SEGMENTS_FOLDER
from indexer.kinds import BYTES, Wish, check, choose, core_of, make, wish_of
from indexer.progress import SILENT, Progress
from indexer.vectors import Segment, open_segment
from indexer.writer import Writer

_BLOCK_ROWS = 16_384
_TRAINED_ON = 40  # vectors a list or a code word; FAISS asks for 39 at least
_FEWEST_TRAINED_ON = 20_000

# What it costs to look at a code of an inverted list, and at a step of efSearch, in candidates scored again (1 µs).
_CODE_COST = 0.02
_STEP_COST = 1.5


class CannotBuild(SearchEngineError):
    """FAISS cannot make this structure of this shard."""


def set_wish(writer: Writer, kind: str | None, recall: float | None) -> None:
    """Store what the index's shards shall be searched by; None leaves it as it is. Raises UsageError."""
    old = wish_of(writer.settings)
    new = Wish(old.kind if kind is None else kind, old.recall if recall is None else recall)
    check(new.kind, writer.dimension)
    if new != old:
        writer.store_setting(ANN, asdict(new))


def derive(writer: Writer, progress: Progress = SILENT) -> int:
    """Build what the index asks for and some shard lacks, drop what it no longer asks for; count what was built.

    What FAISS cannot build of some shard is noted, and the shard is scanned.
    """
    wish = wish_of(writer.settings)
    with writer.catalog.reading() as connection:
        segments = connection.execute(select(SEGMENTS.c.id, SEGMENTS.c.rows)).all()
    present = _folders(writer)
    built = 0
    for name, rows in segments:
        factory = choose(wish.kind, rows, writer.dimension)
        place = present.get(name)
        if place is not None and (factory is None or not _fits(writer.folder / ANN / place, factory, wish)):
            drop(writer, [place])
            place = None
        if factory is None or place is not None:
            continue
        try:
            build(writer, name, factory, wish, progress)
            built += 1
        except CannotBuild as error:
            progress.note(str(error))
    if ANN in writer.settings["requires"] and not built and not _folders(writer):  # a merge has dropped the last one
        drop(writer, [])
    return built


def _folders(writer: Writer) -> dict[str, str]:
    with writer.catalog.reading() as connection:
        return folders_of(connection.execute(select(FILES.c.path).where(FILES.c.path.startswith(f"{ANN}/"))).scalars())


def _fits(folder: Path, factory: str, wish: Wish) -> bool:
    try:
        said = read_description(folder)
    except (SearchEngineError, FileNotFoundError):
        return False
    return (said.factory, said.target) == (factory, wish.recall)


def drop(writer: Writer, names: Iterable[str]) -> None:
    """Commit that some folders under ``ann/`` are no longer used."""
    with storage_errors("dropping search structures"):
        with writer.catalog.transaction() as connection:
            for name in names:
                connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{ANN}/{name}/")))
            _state_need(connection, writer)
        writer.settings = writer.catalog.settings()
        writer.after_commit()


def build(writer: Writer, segment: str, factory: str, wish: Wish, progress: Progress = SILENT) -> Description:
    """Build one structure for a segment, find out how hard it must look, and commit it.

    Raises CannotBuild where FAISS refuses, StorageError where the disk does; nothing is committed then.
    """
    writer.check_files(f"{SEGMENTS_FOLDER}/{segment}")
    with writer.catalog.reading() as connection:
        (rows,) = connection.execute(select(SEGMENTS.c.rows).where(SEGMENTS.c.id == segment)).one()
        buried = select(TOMBSTONES.c.row).where(TOMBSTONES.c.segment == segment)
        dead = list(connection.execute(buried).scalars())
    opened = open_segment(writer.folder / SEGMENTS_FOLDER / segment, rows, writer.dimension, dead)
    target = writer.folder / ANN / f"{segment}-{secrets.token_hex(4)}"
    with storage_errors("building a search structure"):
        if not target.parent.is_dir():
            target.parent.mkdir()
            sync_folder(writer.folder)
        target.mkdir()
        try:
            description = derive_segment(opened, target, factory, wish, progress)
        except RuntimeError as error:  # FAISS's for any failure
            shutil.rmtree(target)
            if "interrupted" in str(error):  # FAISS looks for Ctrl-C itself, and says so in its own way
                raise KeyboardInterrupt from error
            reason = str(error).strip().splitlines()[-1].rpartition("Error: ")[2][:160]
            raise CannotBuild(
                f"segment {segment}: FAISS cannot make {factory} of {rows:,} passages ({reason}); they are scanned "
                "(choose another kind with: searchengine optimize --ann KIND)"
            ) from None
        files = sealed(target, writer.folder)
        with writer.catalog.transaction() as connection:
            writer.record(connection, files)
            _state_need(connection, writer)
        writer.settings = writer.catalog.settings()
        writer.after_commit()
    if description.recall < wish.recall:
        progress.note(
            f"segment {segment}: {factory} reaches a recall@10 of {description.recall:.3f}, not {wish.recall:g} "
            "(see searchengine status)"
        )
    return description


def derive_segment(
    segment: Segment, target: Path, factory: str, wish: Wish, progress: Progress = SILENT
) -> Description:
    """Build a structure of a segment into the folder ``target`` and say how to search it.

    Raises RuntimeError, FAISS's for any failure, and UsageError for what is no factory string.
    """
    import faiss

    started = time.monotonic()
    rows, dimension = segment.codes.shape
    index = make(factory, dimension)
    core = core_of(index)
    of_bytes = BYTES in factory
    scale = 127 / _peak(segment) if of_bytes else 1.0
    lists = core.nlist if isinstance(core, faiss.IndexIVF) else 0
    parameter = "nprobe" if lists else "efSearch" if isinstance(core, faiss.IndexHNSW) else ""
    if not index.is_trained:
        if lists > rows:
            raise RuntimeError(f"Error: {lists:,} lists need at least as many passages")
        trained_on = min(rows, max(_TRAINED_ON * lists, _FEWEST_TRAINED_ON))
        sample = np.sort(np.random.default_rng(0).choice(rows, trained_on, replace=False))
        index.train(_coded(segment.vectors(sample), scale))
    progress.start("build", rows, "vectors")
    for begin in range(0, rows, _BLOCK_ROWS):
        vectors = segment.block(begin, begin + _BLOCK_ROWS).astype(np.float32)
        index.add(_coded(vectors, scale))
        progress.advance(len(vectors))
    progress.finish()
    faiss.write_index(index, str(target / INDEX))
    del index, core
    description = Description(
        kind=wish.kind,
        factory=factory,
        rows=rows,
        dimension=dimension,
        scale=scale,
        exact=factory == BYTES,
        target=wish.recall,
        recall=1.0,
        questions=0,
        parameter=parameter,
        effort=0,
        rerank=0,
        lists=lists,
        seconds=0.0,
    )
    if not description.exact:
        description = _calibrated(segment, Ann(target, description))
    description = replace(description, seconds=round(time.monotonic() - started, 3))
    write_bytes(target / DESCRIPTION, description.to_json().encode())
    return description


def _calibrated(segment: Segment, ann: Ann) -> Description:
    """Find out how hard a structure must look; raises RuntimeError where it cannot leave rows out."""
    said = ann.description
    questions, own = make_questions(segment)
    alive = segment.alive()
    truth = nearest_rows(segment, questions, own)
    bitmap = np.packbits(alive, bitorder="little")
    ladder = efforts(said.parameter, said.lists or said.rows)
    ann.nearest(questions[0], 1, ladder[0], bitmap)
    found = calibrate(
        lambda question, depth, effort: ann.nearest(
            question, min(depth, said.rows), effort, bitmap if len(segment.dead) else None
        ),
        questions,
        truth,
        own,
        said.target,
        ladder,
        said.rows / said.lists * _CODE_COST if said.lists else _STEP_COST,
    )
    return replace(
        said, effort=found.effort, rerank=found.rerank, recall=round(found.recall, 4), questions=found.questions
    )


def _peak(segment: Segment) -> float:
    blocks = range(0, len(segment.passages), _BLOCK_ROWS)
    return max(float(np.abs(segment.block(begin, begin + _BLOCK_ROWS)).max()) for begin in blocks) or 1.0


def _coded(vectors: np.ndarray, scale: float) -> np.ndarray:
    """Bring vectors, in place, to the range of a byte, where that is what codes them; FAISS would cut, not round."""
    if scale != 1:
        np.multiply(vectors, scale, out=vectors)  # in place: of a shard of a million, 250 MB are trained on
        np.round(vectors, out=vectors)
    return vectors


def _state_need(connection: Connection, writer: Writer) -> None:
    """Say whether a reader must know of ``ann/``, within a transaction."""
    used = connection.execute(select(FILES.c.path).where(FILES.c.path.startswith(f"{ANN}/")).limit(1)).first()
    others = [name for name in writer.settings["requires"] if name != ANN]
    needed = json.dumps([*others, ANN] if used else others)
    connection.execute(update(SETTINGS).where(SETTINGS.c.key == "requires").values(value=needed))
