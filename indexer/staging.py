"""What a commit is to do: documents to put, files seen, moved and gone. Knows nothing of SQLite or of folders."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import xxhash

from indexer.documents import Document, Passage


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file on disk as it was last seen: ``path`` is its name in the index, ``skipped`` why it gave nothing."""

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    digest: str = ""
    skipped: str | None = None
    notes: tuple[str, ...] = ()
    seen_ns: int = field(default_factory=time.time_ns)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document ready to be stored: its passages, and float32 or float16 [passages, D], rows of unit length.

    ``language`` is the one it was found to be in, where the document names none.
    """

    document: Document
    passages: Sequence[Passage]
    vectors: np.ndarray
    language: str = ""


def document_digest(document: Document) -> str:
    """Identify a document that a program hands over, so that an unchanged one is left alone (xxh3-128)."""
    parts = json.dumps([document.title, document.text, document.kind, document.language], ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(parts.encode())


def encode_path(path: str) -> bytes:
    """Turn a path into the bytes under which the catalog keeps it."""
    return os.fsencode(path)


class Staging:
    """Collects changes until they are committed together."""

    def __init__(self) -> None:
        self._forget_staged()

    def _forget_staged(self) -> None:
        self.puts: list[tuple[SourceFile | None, list[Prepared]]] = []
        self.seen: list[SourceFile] = []
        self.moved: list[tuple[bytes, SourceFile]] = []
        self._dropped_paths: list[bytes] = []
        self._dropped_keys: list[str] = []
        self.new_roots: list[bytes] = []

    def put(self, source: SourceFile | None, documents: list[Prepared]) -> None:
        """Stage documents: all those of a file, in place of what it gave before, or (None) documents by their ids."""
        self.puts.append((source, documents))

    def touch(self, source: SourceFile) -> None:
        """Stage that a file was seen with the same content."""
        self.seen.append(source)

    def move(self, old: bytes, source: SourceFile) -> None:
        """Stage that a file has another name now; its documents stay as they are."""
        self.moved.append((old, source))

    def drop(self, path: bytes) -> None:
        """Stage that a file and its documents are gone."""
        self._dropped_paths.append(path)

    def drop_documents(self, keys: Iterable[str]) -> None:
        """Stage that documents handed over by a program are gone."""
        self._dropped_keys.extend(keys)

    def add_root(self, path: bytes) -> None:
        """Stage that a folder or file belongs to what is indexed."""
        self.new_roots.append(path)

    def staged(self) -> tuple[int, int]:
        """Count what is staged: (changes of any kind, passages to add)."""
        changes = len(self.seen) + len(self.moved) + len(self._dropped_paths) + len(self._dropped_keys)
        documents = [document for _, prepared in self.puts for document in prepared]
        return changes + len(self.puts), sum(len(document.passages) for document in documents)

    def gone_paths(self) -> list[bytes]:
        """List the files whose stored documents go, because they are replaced or dropped."""
        return [source.path for source, _ in self.puts if source is not None] + self._dropped_paths

    def gone_keys(self) -> list[str]:
        """List the keys of handed-over documents that go, because they are replaced or dropped."""
        handed = (several for source, several in self.puts if source is None)
        return [prepared.document.key for several in handed for prepared in several] + self._dropped_keys

    def prepared(self) -> list[tuple[int, Prepared]]:
        """List the documents to store, each with the position of its source in ``puts``."""
        return [(position, document) for position, (_, several) in enumerate(self.puts) for document in several]
