"""An index's vectors on this machine's GPUs, in fp16, searched whole; whatever they cannot answer, the processor does.

A flat search: at the memory bandwidth of a GPU a structure gains nothing below some ten million passages. The GPU
proposes, stored vectors give the scores, as everywhere. Nobody has run this on a GPU yet: tests run it on the processor
in a GPU's place, and those that need one carry the marker ``gpu``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from indexer.progress import SILENT, Progress
from indexer.snapshot import Generation
from indexer.vectors import Segment, best, nearest

_MOST = 2048  # candidates: FAISS's own limit on a GPU
_MARGIN = 64
# What rounding query and sums to fp16 may move a product of unit vectors by.
_ERROR = 1e-3
_HERE = "searching on the processor"


class GpuNearest:
    """The vectors of one index on all GPUs: replicated where each holds them, else a part on each."""

    def __init__(self, progress: Progress = SILENT) -> None:
        self._progress = progress
        self._on: tuple[int, list[Any]] | None = None  # the generation that is there, and an index a segment
        self._is_off = False

    def nearest(
        self, generation: Generation, query: np.ndarray, count: int, allowed: Sequence[np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows of a generation's segments as ``vectors.nearest`` does; filters are the processor's."""
        if allowed is not None or self._is_off or not self._holds(generation) or self._on is None:
            return nearest(generation.segments, query, count, allowed)
        gathered = [
            self._search(index, segment, np.ascontiguousarray(query, dtype=np.float32), count)
            for index, segment in zip(self._on[1], generation.segments, strict=True)
        ]
        if not gathered:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return best(np.concatenate([ids for ids, _ in gathered]), np.concatenate([own for _, own in gathered]), count)

    def _search(self, index: Any, segment: Segment, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        depth = min(count + len(segment.dead) + _MARGIN, len(segment.passages))
        if depth <= _MOST:
            products, found = index.search(query[None, :], depth)
            rows = found[0][found[0] >= 0]
            rows = rows[segment.alive()[rows]].astype(np.int64)
            scores = segment.cosines(query, rows)
            whole = depth == len(segment.passages)
            if whole or (len(rows) >= count and products[0][-1] + _ERROR < np.partition(scores, -count)[-count]):
                return segment.passages[rows], scores
        return nearest([segment], query, count, exact=True)

    def _holds(self, generation: Generation) -> bool:
        """Bring a generation's vectors to the GPUs; False, said once, where they cannot be there."""
        if self._on is not None and self._on[0] == generation.number:
            return True
        import faiss

        self._on = None
        if not hasattr(faiss, "StandardGpuResources"):
            return self._stay_here("this FAISS is built without GPUs (README, Install)")
        if not faiss.get_num_gpus():
            return self._stay_here("no GPU is to be seen")
        try:
            self._on = generation.number, [_to_gpus(faiss, segment) for segment in generation.segments]
        except RuntimeError as error:  # FAISS's for any failure
            return self._stay_here(f"the GPU takes no more ({str(error).strip().splitlines()[-1][-120:]})")
        return True

    def _stay_here(self, why: str) -> bool:
        self._is_off = True
        self._progress.note(f"{why}: {_HERE}")
        return False


def _to_gpus(faiss: Any, segment: Segment) -> Any:
    """Copy a segment's vectors to every GPU; to each a part of them where one cannot hold all. Raises RuntimeError."""
    flat = faiss.IndexFlatIP(segment.codes.shape[1])
    flat.add(np.asarray(segment.codes, dtype=np.float32))
    for shard in (False, True):
        options = faiss.GpuMultipleClonerOptions()
        options.useFloat16 = True
        options.shard = shard
        try:
            return faiss.index_cpu_to_all_gpus(flat, co=options)
        except RuntimeError:
            if shard:
                raise
    raise AssertionError("unreachable")
