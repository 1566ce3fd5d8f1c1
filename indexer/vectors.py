"""A segment's vectors: written once, mapped, scanned exactly. Knows nothing of texts or SQLite.

A segment is a folder of two files. ``vectors.faiss`` is a FAISS IndexScalarQuantizer (fp16, inner product), the truth
for its range of passages; its codes are the file's tail, so that a short scan can map them without importing FAISS.
``rows.i64`` holds two int64 rows: passage ids, ascending, and the document of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.durable import write_bytes
from indexer.errors import DamagedIndex, ModelError

VECTORS = "vectors.faiss"
ROWS = "rows.i64"
# Below this many rows a scan in numpy (a few ms) is sooner done than FAISS is imported (90 ms) in a fresh process.
_FAISS_PAYS_AT = 60_000
_BLOCK_ROWS = 8192
# numpy and FAISS sum in another order: below this the two differ, and a list must not depend on which one ran.
DECIMALS = 6


def write_segment(folder: Path, vectors: np.ndarray, passages: np.ndarray, documents: np.ndarray) -> None:
    """Write a new segment into ``folder``, which must not exist; the caller flushes and commits it.

    vectors [n, D] float32 with rows of unit length, or float16 codes of such rows; passages [n] ascending ids;
    documents [n]. Raises ModelError where a row is not finite or not of unit length.
    """
    _check(vectors, passages)
    import faiss

    count, dimension = vectors.shape
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # fp16 has nothing to learn
    codes = np.ascontiguousarray(vectors, dtype=np.float16).view(np.uint8).reshape(count, 2 * dimension)
    index.add_sa_codes(codes)
    folder.mkdir()
    write_bytes(folder / VECTORS, faiss.serialize_index(index).tobytes())
    rows = np.stack([passages, documents]).astype("<i8")
    write_bytes(folder / ROWS, rows.tobytes())


def _check(vectors: np.ndarray, passages: np.ndarray) -> None:
    for begin in range(0, len(vectors), _BLOCK_ROWS):
        norms = np.linalg.norm(vectors[begin : begin + _BLOCK_ROWS].astype(np.float32), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) < 0.01))  # written so that NaN is wrong too
        if wrong.size:
            at = begin + int(wrong[0])
            raise ModelError(
                f"the encoder gave passage {int(passages[at])} a vector of length {norms[wrong[0]]:.3g} instead of 1 "
                "(nothing was stored; try another --backend or model)"
            )


class Segment:
    """One segment opened for reading: its arrays are mapped, not read.

    codes float16 [n, D]; passages int64 [n], ascending; documents int64 [n]; dead int64 [m], rows under a tombstone.
    """

    def __init__(
        self, folder: Path, codes: np.ndarray, passages: np.ndarray, documents: np.ndarray, dead: np.ndarray
    ) -> None:
        self.folder = folder
        self.codes = codes
        self.passages = passages
        self.documents = documents
        self.dead = dead
        self._scans = 0
        self._index: Any = None  # the FAISS index, once a scan wanted it

    def alive(self) -> np.ndarray:
        """Tell which rows are live: bool [n]."""
        mask = np.ones(len(self.passages), dtype=bool)
        mask[self.dead] = False
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
        codes: np.ndarray = self.codes.view(np.ndarray)  # a memmap's own indexing is slower
        return np.asarray(codes[rows], dtype=np.float32)

    def scan(self, query: np.ndarray, count: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows that ``mask`` [n] leaves: (rows int64 [k], cosines float32 [k]) with the ``count`` best.

        In no particular order, and k may exceed ``count``. query [D] float32.
        """
        if query.shape != (self.codes.shape[1],):  # FAISS checks this by assert, which python -O removes
            raise ValueError(f"a query of shape {query.shape} for vectors of width {self.codes.shape[1]}")
        self._scans += 1
        narrow = mask is not None and 8 * int(np.count_nonzero(mask)) < len(mask)
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
        import faiss

        if self._index is None:
            path = self.folder / VECTORS
            try:
                # The file's checksum is known to be right: FAISS trusts what it reads.
                faiss.set_deserialization_vector_byte_limit(2 * path.stat().st_size)
                self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            except (FileNotFoundError, RuntimeError):  # the latter is FAISS's for any failure
                if path.exists():
                    raise
                return False
        return True

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


def open_segment(folder: Path, rows: int, dimension: int, dead: Sequence[int] = ()) -> Segment:
    """Map a committed segment. Sizes are checked first: a map over a short file would kill the process (SIGBUS)."""
    code_bytes = 2 * rows * dimension
    header = _size(folder / VECTORS) - code_bytes
    if header <= 0 or header > 4096 or _size(folder / ROWS) != 16 * rows:
        raise DamagedIndex(f"{folder}: the segment has another size than the catalog says (searchengine verify)")
    codes = np.memmap(folder / VECTORS, dtype="<f2", mode="r", offset=header, shape=(rows, dimension))
    ids = np.memmap(folder / ROWS, dtype="<i8", mode="r", shape=(2, rows))
    return Segment(folder, codes, ids[0], ids[1], np.asarray(sorted(dead), dtype=np.int64))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise DamagedIndex(f"{path}: missing (searchengine verify --repair makes it again)") from None


def nearest(
    segments: Sequence[Segment], query: np.ndarray, count: int, allowed: Sequence[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scan segments exactly: query [D] of unit length → (passage ids int64 [k], cosines float32 [k]).

    Best first, ties by passage id; k = min(count, live and allowed rows). ``allowed`` holds a bool mask a segment.
    """
    passages: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for position, segment in enumerate(segments):
        mask = segment.alive() if len(segment.dead) else None
        if allowed is not None:
            mask = allowed[position] if mask is None else allowed[position] & mask
        rows, found = segment.scan(np.ascontiguousarray(query, dtype=np.float32), count, mask)
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
