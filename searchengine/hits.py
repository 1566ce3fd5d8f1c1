"""What retrieval passes along (arrays) and what a person sees (hits)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from indexer.documents import Location


@dataclass(frozen=True, slots=True)
class Candidates:
    """A ranked list: passage ids int64 [n] and scores float32 [n], best first, ties by passage id."""

    passages: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.passages)

    def best(self, count: int) -> Candidates:
        """Return the first ``count`` of the list."""
        return Candidates(self.passages[:count], self.scores[:count])

    def score_of(self, passages: np.ndarray) -> np.ndarray:
        """Return the score of each of ``passages`` [m]: float32 [m], NaN for those not in the list."""
        found = np.full(len(passages), np.nan, dtype=np.float32)
        order = np.argsort(self.passages, kind="stable")
        if len(order):
            at = np.minimum(np.searchsorted(self.passages, passages, sorter=order), len(order) - 1)
            hit = self.passages[order[at]] == passages
            found[hit] = self.scores[order[at[hit]]]
        return found


@dataclass(frozen=True, slots=True)
class Pool:
    """The union of both retrievers' lists with every score known: nothing is missing, so nothing counts as zero.

    passages int64 [u], ascending; cosines and bm25 float32 [u], the latter 0 for a passage with none of the words.
    documents int64 [u] are those that the passages are of; None: each of its own.
    ``full`` is what BM25 would give a passage of average length that has each word once. ``trust``, 0 to 1, is how much
    the cosines mean: little where the encoder cannot read the query.
    """

    passages: np.ndarray
    cosines: np.ndarray
    bm25: np.ndarray
    full: float
    trust: float = 1.0
    documents: np.ndarray | None = None

    def __len__(self) -> int:
        """Count the passages."""
        return len(self.passages)

    def coverage(self) -> float:
        """Tell how much of a query BM25's best passage has: its score over ``full``, at most 1; 0 without any word."""
        return min(1.0, float(self.bm25.max(initial=0)) / self.full) if self.full else 0.0

    def lists(self) -> tuple[Candidates, Candidates]:
        """Return the cosines and the BM25 scores as lists to look them up in: by passage id, not best first."""
        return Candidates(self.passages, self.cosines), Candidates(self.passages, self.bm25)


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage found.

    ``score`` is the fused one; ``scores`` holds what each retriever gives it ("dense": cosine, "bm25"), None where that
    one was not asked, or ranks alone were fused and it was not among its best; where a reranker was asked, ``score`` is
    the blend and "rerank" what the reranker gave, None below what it read. ``document`` names it: a path relative to
    what was indexed, or an id. ``path`` is the file, None for documents that a program handed over. ``passage`` counts
    within the document, from 0.
    """

    rank: int
    score: float
    document: str
    title: str
    passage: int
    text: str
    location: Location
    scores: dict[str, float | None]
    path: Path | None = None

    @property
    def line(self) -> int | None:
        """The file's line on which the passage starts, where the format has lines."""
        return self.location.line

    @property
    def page(self) -> int | None:
        """The page on which the passage starts, where the format has pages."""
        return self.location.page

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as JSON shows it."""
        place = self.location
        return {
            "rank": self.rank,
            "score": self.score,
            "document": self.document,
            "title": self.title,
            "passage": self.passage,
            "text": self.text,
            "location": {
                "start": place.start,
                "end": place.end,
                "line": place.line,
                "page": place.page,
                "heading": place.heading,
            },
            "scores": self.scores,
            "path": None if self.path is None else str(self.path),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a query gave: its hits, the forms of words that BM25 looked for, and what the user should know."""

    hits: list[Hit]
    terms: list[str]
    searched: int  # passages that the filter left
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents in order: their names and fused scores float32 [n], best first. No text is fetched for it."""

    documents: list[str]
    scores: np.ndarray
