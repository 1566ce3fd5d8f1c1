"""The vectors of a small index, held in memory as one segment. Knows nothing of files.

A small index is often many segments, and each of them costs a scan some 0.1 ms whatever its size. Up to a few thousand
passages, one matrix in float32 is scanned sooner than the files are looked at, and what a query asks of it afterwards
(the vectors of its candidates, those of a sample) is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from indexer.vectors import DECIMALS, Segment

HELD_ROWS = 16_384  # 25 MB at 384 dimensions, widened in 9 ms


class HeldSegment(Segment):
    """The live rows of several segments: ``codes`` is float32 [n, D] here, nothing is dead."""

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows [m]: float32 [m, D]."""
        taken: np.ndarray = self.codes[rows]
        return taken

    def scan(
        self, query: np.ndarray, count: int, mask: np.ndarray | None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows that ``mask`` [n] leaves, all of them: (rows int64 [k], cosines float32 [k])."""
        if query.shape != (self.codes.shape[1],):
            raise ValueError(f"a query of shape {query.shape} for vectors of width {self.codes.shape[1]}")
        scores = np.round(self.codes @ query, DECIMALS)
        if mask is None:
            return np.arange(len(scores)), scores
        rows = np.flatnonzero(mask)
        return rows, scores[rows]


def hold(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Read the live rows of small segments into one.

    Segments of more than HELD_ROWS rows together stay as they are, and so do those that have structures to search by.
    """
    large = sum(len(segment.passages) for segment in segments) > HELD_ROWS
    if not segments or large or any(segment.ann is not None for segment in segments):
        return tuple(segments)
    live = [np.flatnonzero(segment.alive()) for segment in segments]
    passages = np.concatenate([segment.passages[rows] for segment, rows in zip(segments, live, strict=True)])
    documents = np.concatenate([segment.documents[rows] for segment, rows in zip(segments, live, strict=True)])
    place = np.empty(len(passages), np.int64)
    order = np.argsort(passages)
    place[order] = np.arange(len(passages))  # a merge may have left the segments' ranges of ids interleaved
    codes = np.empty((len(passages), segments[0].codes.shape[1]), np.float32)
    begin = 0
    for segment, rows in zip(segments, live, strict=True):
        codes[place[begin : begin + len(rows)]] = segment.vectors(rows)
        begin += len(rows)
    nothing = np.empty(0, np.int64)
    matrix = cast("np.memmap[Any, Any]", codes)  # what is on disk is mapped, and this is used as that is
    return (HeldSegment(segments[0].folder, matrix, passages[order], documents[order], nothing),)
