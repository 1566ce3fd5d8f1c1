"""Give an index another encoder: every passage encoded anew from its stored text, switched over in one commit.

No file is read again, so documents that a program handed over are no obstacle. Until the commit every reader, and every
query, has the old vectors and the old encoder; an interrupted run leaves the index as it was.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from sqlalchemy import bindparam, delete, func, insert, select, update

from indexer.catalog import DOCUMENTS, FILES, PASSAGES, SEGMENTS, SETTINGS
from indexer.derive import derive
from indexer.documents import searchable
from indexer.durable import StoredFile, sealed, storage_errors
from indexer.encoders import Encoder, load_encoder
from indexer.format import ENCODER, FUSION
from indexer.format import SEGMENTS as SEGMENTS_FOLDER
from indexer.index import encoder_setting, write_encoder
from indexer.options import Options
from indexer.progress import SILENT, Progress
from indexer.rows import forget_segments
from indexer.vectors import write_segment
from indexer.writer import Writer

_BLOCK_PASSAGES = 4096
_SEGMENT_ROWS = 250_000


@dataclass(frozen=True, slots=True)
class ReencodeReport:
    """What a switch did: ``passages`` encoded anew, 0 where the index had this encoder already."""

    index: Path
    generation: int
    passages: int
    seconds: float


def reencode(folder: Path, options: Options, progress: Progress = SILENT) -> ReencodeReport:
    """Encode every passage of the index at ``folder`` by ``options.model`` and switch over in one commit.

    Learnt fusion weights belong to the old encoder and go with it.
    Raises IndexBusy, ModelError, StorageError, DamagedIndex; the index is then as it was.
    """
    started = time.monotonic()
    with Writer(folder, wait_s=options.wait_s) as writer:
        encoder = load_encoder(options.model, backend=options.backend, device=options.device, progress=progress)
        if encoder.fingerprint == writer.settings["encoder"]["fingerprint"]:
            return ReencodeReport(folder, writer.count()[2], 0, time.monotonic() - started)
        with storage_errors("encoding the index anew"):
            files, segments, places = _write_vectors(writer, encoder, progress)
            files += write_encoder(folder, encoder)
            _switch(writer, encoder, options.model, files, segments, places)
        writer.settings = writer.catalog.settings()
        writer.after_commit()
        derive(writer, progress)
        return ReencodeReport(folder, writer.count()[2], len(places), time.monotonic() - started)


def _texts(writer: Writer) -> Iterator[tuple[int, int, str]]:
    """Stream (passage, document, what is encoded for it), by passage id."""
    columns = select(PASSAGES.c.id, PASSAGES.c.document, DOCUMENTS.c.title, PASSAGES.c.heading, PASSAGES.c.text)
    with writer.catalog.reading() as connection:
        joined = columns.join(DOCUMENTS, DOCUMENTS.c.id == PASSAGES.c.document).order_by(PASSAGES.c.id)
        for passage, document, title, heading, text in connection.execute(joined).yield_per(_BLOCK_PASSAGES):
            yield passage, document, searchable(title, heading, text)


def _write_vectors(
    writer: Writer, encoder: Encoder, progress: Progress
) -> tuple[list[StoredFile], list[dict[str, object]], list[dict[str, object]]]:
    """Write new segments beside the old ones: their files, rows for the segments, and each passage's new place."""
    with writer.catalog.reading() as connection:
        total = connection.execute(select(func.count()).select_from(PASSAGES)).scalar_one()
    progress.start("encode anew", total, "passages")
    files: list[StoredFile] = []
    segments: list[dict[str, object]] = []
    places: list[dict[str, object]] = []
    stream = _texts(writer)
    while taken := list(islice(stream, _SEGMENT_ROWS)):
        vectors = np.empty((len(taken), encoder.dimension), dtype=np.float16)
        for begin in range(0, len(taken), _BLOCK_PASSAGES):
            block = taken[begin : begin + _BLOCK_PASSAGES]
            vectors[begin : begin + len(block)] = encoder.encode_passages([text for _, _, text in block])
            progress.advance(len(block))
        name = secrets.token_hex(8)
        target = writer.folder / SEGMENTS_FOLDER / name
        passages = np.array([passage for passage, _, _ in taken], dtype=np.int64)
        write_segment(target, vectors, passages, np.array([document for _, document, _ in taken], dtype=np.int64))
        files += sealed(target, writer.folder)
        segments.append({"id": name, "rows": len(taken), "dimension": encoder.dimension})
        places += [{"passage": int(passage), "name": name, "at": row} for row, passage in enumerate(passages)]
    progress.finish()
    return files, segments, places


def _switch(
    writer: Writer,
    encoder: Encoder,
    model: str | None,
    files: list[StoredFile],
    segments: list[dict[str, object]],
    places: list[dict[str, object]],
) -> None:
    with writer.catalog.transaction() as connection:
        old = list(connection.execute(select(SEGMENTS.c.id)).scalars())
        if segments:
            connection.execute(insert(SEGMENTS), segments)
            place = update(PASSAGES).where(PASSAGES.c.id == bindparam("passage"))
            connection.execute(place.values(segment=bindparam("name"), row=bindparam("at")), places)
        forget_segments(connection, old)
        connection.execute(delete(FILES).where(FILES.c.path.startswith(f"{ENCODER}/")))
        connection.execute(delete(SETTINGS).where(SETTINGS.c.key == FUSION))
        setting = update(SETTINGS).where(SETTINGS.c.key == "encoder")
        connection.execute(setting.values(value=json.dumps(encoder_setting(encoder, model))))
        writer.record(connection, files)
