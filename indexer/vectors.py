"""A segment's vectors: written once, mapped, scanned exactly. Knows nothing of texts or SQLite.

A segment is a folder of two files. ``vectors.faiss`` is a FAISS IndexScalarQuantizer (fp16, inner product), the truth
for its range of passages; its codes are the file's tail, so that a short scan can map them without importing FAISS.
``rows.i64`` holds two int64 rows: passage ids, ascending, and the document of each. A large segment may have a derived
structure (``ann.py``), which proposes rows; their scores are the stored vectors' own all the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.durable import write_blocks, write_bytes
from indexer.errors import DamagedIndex, ModelError
from indexer.mapped import open_mapped

if TYPE_CHECKING:
    from indexer.ann import Ann

VECTORS = "vectors.faiss"
ROWS = "rows.i64"
# Below this many rows a scan in numpy (a few ms) is sooner done than FAISS is imported (90 ms) in a fresh process.
_FAISS_PAYS_AT = 60_000
_BLOCK_ROWS = 8192
# A filter that leaves fewer rows is answered by scoring those rows in numpy, without a look at the others.
_NARROW_ROWS = 20_000
# From so many bytes of vectors on, single rows are read, not mapped: a page fault maps sixteen pages around each of
# them, and a few queries would have the whole file in the process' memory.
_READ_FROM_BYTES = 128 << 20
# numpy and FAISS sum in another order: below this the two differ, and a list must not depend on which one ran.
DECIMALS = 6


def write_segment(folder: Path, vectors: np.ndarray, passages: np.ndarray, documents: np.ndarray) -> None:
    """Write a new segment into ``folder``, which must not exist; the caller flushes and commits it.

    vectors [n, D] float32 with rows of unit length, or float16 codes of such rows; passages [n] ascending ids;
    documents [n]. Raises ModelError where a row is not finite or not of unit length; no folder is left then.
    """
    blocks = (vectors[begin : begin + _BLOCK_ROWS] for begin in range(0, len(vectors), _BLOCK_ROWS))
    write_segment_of(folder, blocks, vectors.shape[1], passages, documents)


def write_segment_of(
    folder: Path, blocks: Iterable[np.ndarray], dimension: int, passages: np.ndarray, documents: np.ndarray
) -> None:
    """Write a segment as ``write_segment`` does, its vectors given in blocks [m, D]: they never lie in memory whole."""
    folder.mkdir()
    try:
        write_blocks(folder / VECTORS, _file_of(blocks, dimension, passages))
        write_bytes(folder / ROWS, np.stack([passages, documents]).astype("<i8").tobytes())
    except ModelError:
        shutil.rmtree(folder)
        raise


def _file_of(blocks: Iterable[np.ndarray], dimension: int, passages: np.ndarray) -> Iterator[bytes | memoryview]:
    """Give the bytes of a FAISS file of fp16 codes: its header, which ends in their size, then the codes."""
    import faiss

    count = len(passages)
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # fp16 has nothing to learn
    index.ntotal = count
    yield faiss.serialize_index(index).tobytes()[:-8] + (2 * count * dimension).to_bytes(8, "little")
    at = 0
    for block in blocks:
        _check(block, passages[at : at + len(block)])
        at += len(block)
        yield np.ascontiguousarray(block, dtype="<f2").reshape(-1).view(np.uint8).data
    if at != count:
        raise ValueError(f"{at} vectors for {count} passages")


def _check(vectors: np.ndarray, passages: np.ndarray) -> None:
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) < 0.01))  # written so that NaN is wrong too
    if wrong.size:
        raise ModelError(
            f"the encoder gave passage {int(passages[wrong[0]])} a vector of length {norms[wrong[0]]:.3g} instead of 1 "
            "(nothing was stored; try another --backend or model)"
        )


class Segment:
    """One segment opened for reading: its arrays are mapped, not read.

    codes float16 [n, D]; passages int64 [n], ascending; documents int64 [n]; dead int64 [m], rows under a tombstone;
    ann: what its large scans are spared by.
    """

    def __init__(
        self,
        folder: Path,
        codes: np.memmap[Any, Any],
        passages: np.ndarray,
        documents: np.ndarray,
        dead: np.ndarray,
        ann: Ann | None = None,
    ) -> None:
        self.folder = folder
        self.codes = codes
        self.passages = passages
        self.documents = documents
        self.dead = dead
        self.ann = ann
        is_large = isinstance(codes, np.memmap) and codes.nbytes >= _READ_FROM_BYTES
        self._file = os.open(folder / VECTORS, os.O_RDONLY | os.O_CLOEXEC) if is_large else None
        self._scans = 0
        self._index: Any = None  # the FAISS index, once a scan wanted it

    def __del__(self) -> None:
        """Close the file."""
        if (file := getattr(self, "_file", None)) is not None:
            os.close(file)

    def alive(self) -> np.ndarray:
        """Tell which rows are live: bool [n], not to be written to."""
        return self._alive

    @cached_property
    def _alive(self) -> np.ndarray:
        mask = np.ones(len(self.passages), dtype=bool)
        mask[self.dead] = False
        mask.flags.writeable = False
        return mask

    def rows_of(self, passages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find which of ``passages`` [m] stand here: (positions in ``passages``, rows of the segment)."""
        if not len(self.passages):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = np.minimum(np.searchsorted(self.passages, passages), len(self.passages) - 1)
        found = np.flatnonzero(self.passages[rows] == passages)
        return found, rows[found]

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows [m]: float32 [m, D]."""
        if self._file is None:
            codes: np.ndarray = self.codes.view(np.ndarray)  # a memmap's own indexing is slower
            return np.asarray(codes[rows], dtype=np.float32)
        width = 2 * self.codes.shape[1]
        start = self.codes.offset
        read = b"".join([os.pread(self._file, width, start + width * row) for row in rows.tolist()])
        return np.frombuffer(read, dtype="<f2").reshape(-1, self.codes.shape[1]).astype(np.float32)

    def block(self, begin: int, end: int) -> np.ndarray:
        """Return the stored vectors of neighbouring rows: float16 [end - begin, D], to be looked at once."""
        if self._file is None:
            return self.codes[begin:end]
        width = 2 * self.codes.shape[1]
        end = min(end, len(self.passages))
        read = os.pread(self._file, width * (end - begin), self.codes.offset + width * begin)
        return np.frombuffer(read, dtype="<f2").reshape(-1, self.codes.shape[1])

    def cosines(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score some rows [m] by a query [D]: float32 [m], as every scan does."""
        scores: np.ndarray = np.round(self.vectors(rows) @ query, DECIMALS)
        return scores

    def scan(
        self, query: np.ndarray, count: int, mask: np.ndarray | None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows that ``mask`` [n] leaves: (rows int64 [k], cosines float32 [k]) with the ``count`` best.

        In no particular order, and k may exceed ``count``. query [D] float32. ``exact``: look at every row, also where
        a derived structure would spare it.
        """
        if query.shape != (self.codes.shape[1],):  # FAISS checks this by assert, which python -O removes
            raise ValueError(f"a query of shape {query.shape} for vectors of width {self.codes.shape[1]}")
        if self.ann is not None and (self.ann.is_exact or not exact):
            proposed = self.ann.propose(query, count, mask, lambda rows: self.cosines(query, rows))
            if proposed is not None:
                return proposed
        self._scans += 1
        left = len(self.passages) if mask is None else int(np.count_nonzero(mask))
        narrow = 8 * left < len(self.passages) and left < _NARROW_ROWS
        if not narrow and (self._scans > 1 or len(self.passages) >= _FAISS_PAYS_AT) and self._opens_in_faiss():
            rows, scores = self._scan_by_faiss(query, count, mask)
            if (
                len(rows) <= count
                or np.partition(scores, -count - 1)[-count - 1] < np.partition(scores, -count)[-count]
            ):
                return rows, scores
            # The cut falls into a tie, which ids decide, not FAISS: all rows are looked at.
        return self._scan_by_numpy(query, mask)

    def _scan_by_numpy(self, query: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(self.passages)) if mask is None else np.flatnonzero(mask)
        scores = np.empty(len(rows), dtype=np.float32)
        for begin in range(0, len(rows), _BLOCK_ROWS):  # blocks stay in the cache while they are widened to fp32
            block = slice(begin, begin + _BLOCK_ROWS)
            codes = self.codes[block] if mask is None else self.codes[rows[block]]
            scores[block] = codes.astype(np.float32) @ query
        return rows, np.round(scores, DECIMALS)

    def _opens_in_faiss(self) -> bool:
        """Open the file in FAISS; False where a writer has removed it, which leaves what is mapped here."""
        if self._index is None:
            self._index = open_mapped(self.folder / VECTORS)
        return self._index is not None

    def _scan_by_faiss(self, query: np.ndarray, count: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        parameters: Any = None
        if mask is not None:
            bitmap = np.packbits(mask, bitorder="little")
            parameters = _selecting(faiss, bitmap)
        # One more than asked, so that a tie across the cut shows.
        scores, rows = self._index.search(query[None, :], min(count + 1, len(self.passages)), params=parameters)
        found = rows[0] >= 0  # FAISS fills up with -1 when fewer rows are left
        return rows[0][found].astype(np.int64), np.round(scores[0][found], DECIMALS)


def _selecting(faiss: Any, bitmap: np.ndarray) -> Any:
    """Let FAISS look at the marked rows only; its stubs know nothing of what its Python layer adds."""
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))


def open_segment(folder: Path, rows: int, dimension: int, dead: Sequence[int] = (), ann: Ann | None = None) -> Segment:
    """Map a committed segment. Sizes are checked first: a map over a short file would kill the process (SIGBUS)."""
    code_bytes = 2 * rows * dimension
    header = _size(folder / VECTORS) - code_bytes
    if header <= 0 or header > 4096 or _size(folder / ROWS) != 16 * rows:
        raise DamagedIndex(f"{folder}: the segment has another size than the catalog says (searchengine verify)")
    codes = np.memmap(folder / VECTORS, dtype="<f2", mode="r", offset=header, shape=(rows, dimension))
    ids = np.memmap(folder / ROWS, dtype="<i8", mode="r", shape=(2, rows))
    return Segment(folder, codes, ids[0], ids[1], np.asarray(sorted(dead), dtype=np.int64), ann)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise DamagedIndex(f"{path}: missing (searchengine verify --repair makes it again)") from None


def nearest(
    segments: Sequence[Segment],
    query: np.ndarray,
    count: int,
    allowed: Sequence[np.ndarray] | None = None,
    *,
    exact: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest rows of segments: query [D] of unit length → (passage ids int64 [k], cosines float32 [k]).

    Best first, ties by passage id; k = min(count, live and allowed rows). ``allowed`` holds a bool mask a segment.
    Scores are exact; which rows are found is so where a segment has no approximate structure, or by ``exact``.
    """
    passages: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for position, segment in enumerate(segments):
        mask = segment.alive() if len(segment.dead) else None
        if allowed is not None:
            mask = allowed[position] if mask is None else allowed[position] & mask
        rows, found = segment.scan(np.ascontiguousarray(query, dtype=np.float32), count, mask, exact=exact)
        passages.append(segment.passages[rows])
        scores.append(found)
    if not passages:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return best(np.concatenate(passages), np.concatenate(scores), count)


def best(passages: np.ndarray, scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the ``count`` best of scored passages, best first, ties by passage id."""
    if len(scores) > count:
        # Everything tied with the last place stays in until the ids decide, so that the cut is deterministic.
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        kept = np.flatnonzero(scores >= threshold)
        passages, scores = passages[kept], scores[kept]
    order = np.lexsort((passages, -scores))[:count]
    return np.asarray(passages[order], dtype=np.int64), np.asarray(scores[order], dtype=np.float32)
