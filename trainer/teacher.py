"""What a teacher gives a query's best passages: the engine's own hybrid ranking, or a cross-encoder that reads it.

Knows nothing of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexer.progress import SILENT, Progress

if TYPE_CHECKING:
    from searchengine import Searcher

DEPTH = 200  # passages a query that the teacher tells apart; all further ones count as the last of these


@dataclass(frozen=True)
class Taught:
    """The teacher's scores of n queries: ``passages`` int32 [n, d], ascending, and ``scores`` float32 [n, d].

    A query that finds fewer passages is filled up with -1, scored like its last. Scores are standard deviations of the
    fused ranking, or the logits of a cross-encoder.
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
        """Tell at which rank, from 1, a query finds a passage; one behind the last where it does not."""
        found = np.flatnonzero(self.passages[query] == passage)
        depth = self.passages.shape[1]
        return int((self.scores[query] > self.scores[query][found[0]]).sum()) + 1 if len(found) else depth + 1

    def first(self, count: int) -> Taught:
        """Keep each query's ``count`` best."""
        kept = np.sort(np.argsort(-self.scores, axis=1, kind="stable")[:, :count], axis=1)
        return Taught(np.take_along_axis(self.passages, kept, axis=1), np.take_along_axis(self.scores, kept, axis=1))


def teach(searcher: Searcher, queries: Sequence[str], numbers: dict[int, int], progress: Progress = SILENT) -> Taught:
    """Ask the engine every query; ``numbers`` maps the index's passage ids to the numbers that training knows."""
    passages = np.full((len(queries), DEPTH), -1, dtype=np.int32)
    scores = np.zeros((len(queries), DEPTH), dtype=np.float32)
    progress.start("ask the teacher", len(queries), "queries")
    for row, text in enumerate(queries):
        # what merely resembles the answer must not gain by that: it is what the encoder is to tell from it
        found = searcher.rank_passages(text, DEPTH, fusion="feedback")
        ranked = zip(found.passages.tolist(), found.scores.tolist(), strict=True)
        pairs = [(numbers[passage], score) for passage, score in ranked if passage in numbers]
        if pairs:
            scores[row] = min(score for _, score in pairs)
            for at, (number, score) in enumerate(sorted(pairs), start=DEPTH - len(pairs)):
                passages[row, at], scores[row, at] = number, score
        progress.advance()
    progress.finish()
    return Taught(passages, scores)


def read_by(read: Callable[[int, Sequence[int]], np.ndarray], taught: Taught, progress: Progress = SILENT) -> Taught:
    """Let ``read`` (a query's number, passages → float32 scores) score again what each query found."""
    scores = np.zeros_like(taught.scores)
    progress.start("the teacher reads", len(taught), "queries")
    for row in range(len(taught)):
        found = taught.passages[row] >= 0
        if found.any():
            given = read(row, taught.passages[row][found].tolist())
            scores[row] = given.min()
            scores[row, found] = given
        progress.advance()
    progress.finish()
    return Taught(taught.passages, scores)
