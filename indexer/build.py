"""▶ The main path: walk → read → split → encode → commit. Streamed: memory does not grow with the corpus.

``index_paths`` keeps an index equal to what is on disk under the paths given; ``index_documents`` stores documents that
a program hands over. Both encode only what the index has no vector for yet, and commit every thousand documents or
thirty seconds, so that an interrupted run resumes with what is missing.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexer.changes import Changes, find_changes, under
from indexer.derive import derive, set_wish
from indexer.documents import Document, Passage, passage_digest, searchable
from indexer.encoders import load_encoder, load_stored_encoder
from indexer.errors import ModelError, NothingToIndex
from indexer.format import ENCODER
from indexer.index import Splitting, base_of, base_setting, check_encoder, check_splitting, create_index, is_index
from indexer.merge import merge_segments
from indexer.options import Options
from indexer.progress import SILENT, Progress
from indexer.readers.language import detect
from indexer.readers.worker import FileRequest
from indexer.staging import Prepared, SourceFile, document_digest, encode_path
from indexer.work import LocalWork, Read, Work
from indexer.writer import Writer

if TYPE_CHECKING:
    from indexer.encoders import Encoder

_COMMIT_DOCUMENTS = 1000
_COMMIT_SECONDS = 30.0


@dataclass(slots=True)
class BuildReport:
    """What a run did. Counts are of documents unless their name says otherwise."""

    index: Path
    generation: int = 0
    documents: int = 0  # in the index now
    passages: int = 0
    files_added: int = 0
    files_changed: int = 0
    files_renamed: int = 0
    files_deleted: int = 0
    files_unchanged: int = 0
    files_encoded: int = 0  # files with at least one passage that had to be encoded
    passages_encoded: int = 0
    passages_reused: int = 0  # new passages whose vector was there already
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, why it could not be read)
    ignored: list[tuple[str, str]] = field(default_factory=list)  # (path, the rule that leaves it out)
    notes: list[str] = field(default_factory=list)
    encode_seconds: float = 0.0
    seconds: float = 0.0
    backend: str = ""


def index_paths(paths: Sequence[Path], folder: Path, options: Options, progress: Progress = SILENT) -> BuildReport:
    """Make the index at ``folder`` equal to what is on disk under ``paths``: adds, changes, deletes, renames.

    Only files under ``paths`` are touched. Raises NothingToIndex for paths that are missing or hold nothing readable,
    MassDeletion when most of what was indexed is gone, IndexBusy, IncompatibleIndex, ModelError, StorageError.
    """
    started = time.monotonic()
    if options.ray is not None:
        from indexer.cluster import check

        check(options.ray)
    for path in paths:
        if not path.exists():
            raise NothingToIndex(f"{path}: no such file or folder (nothing was indexed)")
    paths = [path.resolve() for path in paths]  # so that a root has one name, however it is spelt
    report = BuildReport(folder)
    fresh = not is_index(folder)
    encoders = _Encoders(folder, options, progress)
    if fresh:
        # Before an encoder is loaded or a folder made: is there anything at all?
        find_changes(paths, paths[0] if paths[0].is_dir() else paths[0].parent, [], options).refuse_if_empty(paths)
        base_name = options.base or base_setting(folder, paths[0])
        create_index(folder, encoders.get(), options.splitting or Splitting(), base_name, options.model)
    with Writer(folder, wait_s=options.wait_s) as writer:
        encoders.check(writer)
        check_splitting(folder, writer.settings, options.splitting)
        set_wish(writer, options.ann, options.recall)
        base = base_of(folder, writer.settings)
        progress.start("scan", None, "files")
        changes = find_changes(paths, base, list(writer.sources()), options, progress)
        progress.finish()
        changes.refuse_mass_deletion(allowed=options.allow_mass_delete)
        covered = under(writer.roots(), base)
        for path in paths:
            name = encode_path(changes.name(str(path)))
            if not covered(name):
                writer.add_root(name)
        try:
            _apply(changes, writer, encoders, options, report, progress)
        finally:
            report.seconds = time.monotonic() - started
        _count(writer, report)
    if fresh and not report.documents:
        shutil.rmtree(folder, ignore_errors=True)  # nothing is left of an index that would hold nothing
        reasons = "; ".join(f"{os.path.basename(path)}: {reason}" for path, reason in report.skipped[:3])
        raise NothingToIndex(f"{paths[0]}: nothing readable in it ({reasons or 'no files'})")
    return report


def index_documents(
    documents: Iterable[Document],
    folder: Path,
    options: Options,
    progress: Progress = SILENT,
    *,
    prune: bool = False,
) -> BuildReport:
    """Store documents that a program hands over, each under its ``key``; unchanged ones are left alone.

    A key given twice keeps the last. ``prune`` removes the stored ones that were not given.
    """
    started = time.monotonic()
    report = BuildReport(folder)
    encoders = _Encoders(folder, options, progress)
    if not is_index(folder):
        create_index(folder, encoders.get(), options.splitting or Splitting(), str(folder.absolute()), options.model)
    with Writer(folder, wait_s=options.wait_s) as writer:
        encoders.check(writer)
        check_splitting(folder, writer.settings, options.splitting)
        set_wish(writer, options.ann, options.recall)
        known = writer.document_digests()
        given: set[str] = set()
        with LocalWork(encoders, Splitting(**writer.settings["splitting"]), options) as work:
            batch = _Batch(writer, work, report)
            progress.start("encode", None, "documents")
            for document in documents:
                if document.key in given:
                    batch.flush()
                    batch.commit()  # so that the later one replaces the earlier
                given.add(document.key)
                progress.advance(detail=document.key)
                digest = document_digest(document)
                if known.get(document.key) == digest:
                    continue
                known[document.key] = digest
                batch.add(None, [(document, work.split(document))])
            batch.flush()
            progress.finish()
            if prune and (gone := known.keys() - given):
                writer.drop_documents(sorted(gone))
            batch.commit()
        merge_segments(writer)
        derive(writer, progress)
        report.seconds = time.monotonic() - started
        _count(writer, report)
    return report


def _apply(
    changes: Changes, writer: Writer, encoders: _Encoders, options: Options, report: BuildReport, progress: Progress
) -> None:
    report.files_unchanged, report.ignored = changes.unchanged, changes.ignored
    report.skipped += changes.still_skipped
    for path in changes.deleted:
        writer.drop(path)
    for old, renamed in changes.renamed:
        writer.move(old, renamed)
    for seen in changes.touched:
        writer.touch(seen)
    for skipped in changes.skipped:
        writer.put(skipped, [])
        report.skipped.append((os.fsdecode(skipped.path), skipped.skipped or ""))
    report.files_deleted, report.files_renamed = changes.deleted_documents, len(changes.renamed)
    with _work(writer, encoders, options, progress) as work:
        batch = _Batch(writer, work, report)
        if changes.to_read:
            progress.start("index", len(changes.to_read), "files")
            requests = [FileRequest(path, digest, changes.walked[path].target) for path, digest in changes.to_read]
            try:
                with closing(work.read(requests)) as files:
                    for read in files:
                        _take(read, changes, batch, report)
                        progress.advance(detail=os.path.basename(read.result.path))
                batch.flush()
            except KeyboardInterrupt:
                batch.commit()  # what was encoded is kept; the rest is found missing by the next run
                raise
            finally:
                progress.finish()
        batch.commit()
    merge_segments(writer)
    derive(writer, progress)


def _work(writer: Writer, encoders: _Encoders, options: Options, progress: Progress) -> Work:
    """Choose where to read, split and encode."""
    splitting = Splitting(**writer.settings["splitting"])
    if options.ray is None:
        return LocalWork(encoders, splitting, options)
    from indexer.cluster import ClusterWork

    return ClusterWork(encoders, splitting, options, progress)


def _take(read: Read, changes: Changes, batch: _Batch, report: BuildReport) -> None:
    result = read.result
    source = changes.source_of(result)
    if result.unchanged:
        batch.writer.touch(source)
        report.files_unchanged += 1
        return
    if source.path in changes.known_documents:
        report.files_changed += 1
    elif not result.skipped:
        report.files_added += 1
    name = os.fsdecode(source.path)
    if result.skipped:
        report.skipped.append((name, result.skipped))
    report.notes += [f"{name}: {note}" for note in result.notes]
    batch.add(source, zip(result.documents, read.passages, strict=True))


class _Encoders:
    """Loads the encoder when the first passage needs it: a run that encodes nothing never pays for it."""

    def __init__(self, folder: Path, options: Options, progress: Progress) -> None:
        self._folder = folder
        self._options = options
        self._progress = progress
        self._encoder: Encoder | None = None
        self._stored: Encoder | None = None
        self._writer: Writer | None = None

    def check(self, writer: Writer) -> None:
        """Bind to an index; refuse a model asked for that is not the index's."""
        self._writer = writer
        if self._options.model is not None:
            encoder = self.get()
            check_encoder(self._folder, writer.settings, encoder.fingerprint, encoder.name)

    @property
    def model(self) -> str | None:
        """The model asked for, else the index's, else None: the default one."""
        if self._options.model is None and self._writer is not None:
            stored: str | None = self._writer.settings["encoder"]["model"]
            return stored
        return self._options.model

    @property
    def loaded(self) -> bool:
        """Tell whether the encoder for passages is loaded: it is where the index is new or a model was asked for."""
        return self._encoder is not None

    def get(self) -> Encoder:
        """Return the encoder for passages."""
        if self._encoder is None:
            options = self._options
            try:
                encoder = load_encoder(
                    self.model, backend=options.backend, device=options.device, progress=self._progress
                )
                if self._writer is not None:
                    check_encoder(self._folder, self._writer.settings, encoder.fingerprint, encoder.name)
            except ModelError as error:
                if self._writer is None or options.model is not None or options.ray is not None:
                    raise
                self._progress.note(f"{error}; encoding with the index's own copy of the encoder")
                encoder = self.stored()
            self._encoder = encoder
        return self._encoder

    def stored(self) -> Encoder:
        """Return the index's own encoder, for its tokenizer."""
        if self._stored is None:
            if self._writer is None:
                return self.get()
            fingerprint = self._writer.settings["encoder"]["fingerprint"]
            self._stored = load_stored_encoder(self._folder / ENCODER / fingerprint)
        return self._stored


class _Block(NamedTuple):
    """Passages that are encoded together."""

    known: dict[bytes, np.ndarray]  # vectors that the index held when the block was begun
    new: list[bytes]  # those that ``vectors`` gives, in its order
    vectors: Callable[[], np.ndarray] | None


class _Piece(NamedTuple):
    """A document, its passages and the digest of each."""

    document: Document
    passages: list[Passage]
    digests: list[bytes]


class _Waiting(NamedTuple):
    """A source whose passages have all been handed on; it is staged when so many blocks are back."""

    source: SourceFile | None
    pieces: list[_Piece]
    blocks: int


class _Batch:
    """Encodes passages block by block as they come, stages each source when its last vector is there, and commits.

    A block may begin in the middle of a source, so that the encoder never waits until a large file is split; blocks may
    be encoded elsewhere while later ones come. Sources are staged in the order in which they came.
    """

    def __init__(self, writer: Writer, work: Work, report: BuildReport) -> None:
        self.writer = writer
        self._work = work
        self._report = report
        self._texts: dict[bytes, str] = {}  # of the block to come
        self._under_way: deque[_Block] = deque()
        self._begun = self._back = 0  # blocks
        self._vectors: dict[bytes, np.ndarray | None] = {}  # since the last commit; None: not back yet
        self._adding: list[_Piece] = []
        self._waiting: deque[_Waiting] = deque()
        self._unseen: set[bytes] = set()  # encoded, and staged with no source so far
        self._staged_documents = 0
        self._committed_at = time.monotonic()
        self._encoding_since = 0.0

    def add(self, source: SourceFile | None, documents: Iterable[tuple[Document, list[Passage]]]) -> None:
        """Add a source's documents with their passages; encode and commit when enough has come together."""
        self._adding = []
        for document, passages in documents:
            headings = [passage.location.heading for passage in passages]
            digests = [
                passage_digest(document.title, heading, passage.text)
                for heading, passage in zip(headings, passages, strict=True)
            ]
            self._adding.append(_Piece(document, passages, digests))
            for heading, passage, digest in zip(headings, passages, digests, strict=True):
                if digest not in self._vectors:
                    self._vectors[digest] = None
                    self._texts[digest] = searchable(document.title, heading, passage.text)
            if len(self._texts) >= self._work.block:
                self._begin()
        self._waiting.append(_Waiting(source, self._adding, self._begun + bool(self._texts)))
        self._adding = []
        self._stage()

    def flush(self) -> None:
        """Encode and stage all that was added."""
        if self._texts:
            self._begin()
        while self._under_way:
            self._take_back()
        self._stage()

    def _begin(self) -> None:
        """Begin to encode what has no vector yet."""
        known = self.writer.stored_vectors(list(self._texts))
        new = [digest for digest in self._texts if digest not in known]
        vectors = None
        if new:
            if not any(block.new for block in self._under_way):
                self._encoding_since = time.monotonic()
            vectors = self._work.encode([self._texts[digest] for digest in new])
        self._under_way.append(_Block(known, new, vectors))
        self._begun += 1
        self._texts = {}
        while len(self._under_way) > self._work.ahead:
            self._take_back()

    def _take_back(self) -> None:
        """Wait for the oldest block's vectors, and stage what they complete."""
        block = self._under_way.popleft()
        self._vectors |= block.known
        if block.vectors is not None:
            encoded = block.vectors().astype(np.float16)
            now = time.monotonic()
            self._report.encode_seconds += now - self._encoding_since
            self._encoding_since = now
            self._report.backend = self._work.backend
            self._vectors |= dict(zip(block.new, encoded, strict=True))
            self._unseen |= set(block.new)
        self._back += 1
        self._stage()

    def _stage(self) -> None:
        """Stage the sources whose vectors are there; commit when a thousand documents or thirty seconds are reached."""
        while self._waiting and self._waiting[0].blocks <= self._back:
            source, pieces, _ = self._waiting.popleft()
            used = {digest for piece in pieces for digest in piece.digests}
            encoded = len(used & self._unseen)
            self._unseen -= used
            self._report.passages_encoded += encoded
            self._report.passages_reused += sum(len(piece.digests) for piece in pieces) - encoded
            self._report.files_encoded += bool(encoded)
            self.writer.put(source, [_prepared(piece, self._vectors) for piece in pieces])
            self._staged_documents += max(len(pieces), 1)
            if self._staged_documents >= _COMMIT_DOCUMENTS:
                self.commit()
        if self._staged_documents and time.monotonic() - self._committed_at > _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Commit what is staged; the index has those vectors then."""
        if self.writer.staged()[0]:
            self._report.generation = self.writer.commit()
        pieces = [*self._adding, *(piece for waiting in self._waiting for piece in waiting.pieces)]
        needed = {digest for piece in pieces for digest in piece.digests}
        self._vectors = {digest: row for digest, row in self._vectors.items() if row is None or digest in needed}
        self._staged_documents, self._committed_at = 0, time.monotonic()


def _prepared(piece: _Piece, vectors: dict[bytes, np.ndarray | None]) -> Prepared:
    document, passages, digests = piece
    rows = [row for digest in digests if (row := vectors[digest]) is not None]
    # A file's reader has asked already, and of code nobody does; what a program hands over is asked here.
    asked = not document.language and document.kind != "code"
    language = detect(f"{document.title} {document.text}") if asked else document.language
    return Prepared(document, passages, np.stack(rows) if rows else np.empty((0, 0), np.float16), language)


def _count(writer: Writer, report: BuildReport) -> None:
    report.documents, report.passages, report.generation = writer.count()
