"""The engine's own hybrid ranking as a teacher: what it gives a query's best passages. Knows nothing of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexer.progress import SILENT, Progress

if TYPE_CHECKING:
    from searchengine import Searcher

DEPTH = 200  # passages a query that the teacher tells apart; all further ones count as the last of these


@dataclass(frozen=True)
class Taught:
    """The teacher's scores of n queries: ``passages`` int32 [n, DEPTH], ascending, and ``scores`` float32 [n, DEPTH].

    A query that finds fewer passages is filled up with -1, scored like its last. Scores are standard deviations of the
    fused ranking.
    """

    passages: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.passages)

    def of(self, query: int, passages: np.ndarray) -> np.ndarray:
        """Look up one query's scores of ``passages`` int [m]: float32 [m], the least known score for the others."""
        known, scores = self.passages[query], self.scores[query]
        at = np.minimum(np.searchsorted(known, passages), len(known) - 1)
        found: np.ndarray = np.where(known[at] == passages, scores[at], scores.min()).astype(np.float32)
        return found

    def rank(self, query: int, passage: int) -> int:
        """Tell at which rank, from 1, a query finds a passage; DEPTH + 1 where it does not."""
        found = np.flatnonzero(self.passages[query] == passage)
        return int((self.scores[query] > self.scores[query][found[0]]).sum()) + 1 if len(found) else DEPTH + 1


def teach(searcher: Searcher, queries: Sequence[str], numbers: dict[int, int], progress: Progress = SILENT) -> Taught:
    """Ask the engine every query; ``numbers`` maps the index's passage ids to the numbers that training knows."""
    passages = np.full((len(queries), DEPTH), -1, dtype=np.int32)
    scores = np.zeros((len(queries), DEPTH), dtype=np.float32)
    progress.start("ask the teacher", len(queries), "queries")
    for row, text in enumerate(queries):
        found = searcher.rank_passages(text, DEPTH)
        ranked = zip(found.passages.tolist(), found.scores.tolist(), strict=True)
        pairs = [(numbers[passage], score) for passage, score in ranked if passage in numbers]
        if pairs:
            scores[row] = min(score for _, score in pairs)
            for at, (number, score) in enumerate(sorted(pairs), start=DEPTH - len(pairs)):
                passages[row, at], scores[row, at] = number, score
        progress.advance()
    progress.finish()
    return Taught(passages, scores)
