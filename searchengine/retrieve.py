"""A query's two candidate lists, dense and lexical, from one generation of an index."""

from __future__ import annotations

import numpy as np

from indexer.snapshot import Generation
from indexer.vectors import nearest
from searchengine.hits import Candidates

NONE = Candidates(np.empty(0, np.int64), np.empty(0, np.float32))


class Allowed:
    """The passages that a filter leaves, in the shape each retriever wants."""

    def __init__(self, generation: Generation, documents: np.ndarray) -> None:
        self.masks = [np.isin(segment.documents, documents) for segment in generation.segments]
        left = [
            segment.passages[mask & segment.alive()]
            for segment, mask in zip(generation.segments, self.masks, strict=True)
        ]
        self.passages: np.ndarray = np.sort(np.concatenate(left)) if left else np.empty(0, np.int64)


def dense(generation: Generation, vector: np.ndarray, count: int, allowed: Allowed | None) -> Candidates:
    """Find the ``count`` passages nearest to a query vector float32 [D] of unit length, by cosine, exactly."""
    masks = None if allowed is None else allowed.masks
    return Candidates(*nearest(generation.segments, vector, count, masks))


def lexical(generation: Generation, terms: list[str], count: int, allowed: Allowed | None) -> Candidates:
    """Find the ``count`` best passages for analysed terms, by BM25."""
    if generation.postings is None:
        return NONE
    passages = None if allowed is None else allowed.passages
    return Candidates(*generation.postings.search(terms, count, passages))
