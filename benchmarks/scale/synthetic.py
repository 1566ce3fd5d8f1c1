"""A corpus of any size out of nothing: vectors in clumps within clumps, texts of Zipfian words, straight into an index.

Clumps flatter inverted lists, so ``real.py`` stands beside this. The encoder that the index carries is the default one;
no text is encoded by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from indexer.documents import Document, Location, Passage
from indexer.encoders import load_encoder
from indexer.index import Splitting, create_index
from indexer.merge import merge_segments
from indexer.staging import Prepared, SourceFile
from indexer.writer import Writer

DIMENSION = 384
WORDS = 100_000
_WORDS_A_TEXT = 40
_A_COMMIT = 50_000
_CLUMP = 500  # vectors a clump, in the mean


class Clumps:
    """Vectors that lie in clumps of Zipfian sizes, themselves in clumps: blocks of them follow from seed and number."""

    def __init__(self, count: int, dimension: int = DIMENSION, seed: int = 0) -> None:
        chance = np.random.default_rng(seed)
        self._seed, self._dimension = seed, dimension
        clumps = max(8, count // _CLUMP)
        above = chance.standard_normal((max(4, clumps // 50), dimension), dtype=np.float32)
        self._centres = above[chance.integers(0, len(above), clumps)] + 0.8 * chance.standard_normal(
            (clumps, dimension), dtype=np.float32
        )
        sizes = 1 / np.arange(1, clumps + 1) ** 0.5
        self._shares = np.cumsum(sizes / sizes.sum())

    def block(self, number: int, count: int, *, spread: float = 0.9) -> np.ndarray:
        """Draw a block: float32 [count, D] of unit length, ``spread`` times as far from their centres as from 0."""
        chance = np.random.default_rng((self._seed, 1, number))
        clumps = np.minimum(np.searchsorted(self._shares, chance.random(count)), len(self._shares) - 1)
        rows: np.ndarray = self._centres[clumps] + spread * chance.standard_normal(
            (count, self._dimension), dtype=np.float32
        )
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def questions(self, count: int) -> np.ndarray:
        """Draw questions: from the same clumps, farther out."""
        return self.block(-1 % (1 << 32), count, spread=1.2)


def texts(number: int, count: int, seed: int = 0) -> list[str]:
    """Draw texts of 40 words each; the word of rank r comes up in proportion to 1/r."""
    chance = np.random.default_rng((seed, 2, number))
    shares = np.cumsum(1 / np.arange(1, WORDS + 1))
    ranks = np.searchsorted(shares / shares[-1], chance.random((count, _WORDS_A_TEXT)))
    return [" ".join(f"word{rank}" for rank in row) for row in ranks.tolist()]


def write_index(folder: Path, count: int, seed: int = 0) -> None:
    """Make an index of ``count`` passages, each a document of its own; what searches it is yet to be built."""
    _create(folder)
    clumps = Clumps(count, seed=seed)
    with Writer(folder) as writer:
        for number in range(-(-count // _A_COMMIT)):
            begin = number * _A_COMMIT
            size = min(_A_COMMIT, count - begin)
            rows = clumps.block(number, size).astype(np.float16)
            documents = [
                _prepared(f"d{begin + at}", [text], rows[at : at + 1])
                for at, text in enumerate(texts(number, size, seed))
            ]
            writer.put(None, documents)
            writer.commit()
            merge_segments(writer)


def write_folder(folder: Path, index: Path, files: int, passages: int, seed: int = 0) -> list[Path]:
    """Make a folder of text files and its index as if it had been indexed: ``passages`` of a text each a file."""
    from os import fsencode

    folder.mkdir(parents=True)
    _create(index, base="..")
    clumps = Clumps(files * passages, seed=seed)
    made = []
    with Writer(index) as writer:
        writer.add_root(b"")
        for number in range(files):
            pieces = texts(number, passages, seed)
            path = folder / f"{number:06d}.txt"
            content = "\n\n".join(pieces).encode()
            path.write_bytes(content)
            status = path.stat()
            digest = hashlib.sha256(content).hexdigest()
            source = SourceFile(
                fsencode(path.name), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, digest
            )
            writer.put(source, [_prepared("", pieces, clumps.block(number, passages).astype(np.float16))])
            made.append(path)
            if (number + 1) * passages % _A_COMMIT < passages:
                writer.commit()
        if writer.staged()[0]:
            writer.commit()
        merge_segments(writer)
    return made


def _create(folder: Path, base: str | None = None) -> None:
    encoder = load_encoder()
    splitting = Splitting() if base else Splitting(mode="whole")
    create_index(folder, encoder, splitting, base or str(folder.absolute()), None)


def _prepared(key: str, pieces: list[str], vectors: np.ndarray) -> Prepared:
    return Prepared(Document(key, "\n\n".join(pieces), title=""), list(_passages(pieces)), vectors)


def _passages(pieces: list[str]) -> Iterator[Passage]:
    start = 0
    for ordinal, piece in enumerate(pieces):
        yield Passage(ordinal, piece, Location(start, start + len(piece)))
        start += len(piece) + 2
