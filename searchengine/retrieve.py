"""A query's two candidate lists, dense and lexical, and the scores of their union, from one generation of an index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from indexer.analysis import Term
from indexer.snapshot import Generation
from indexer.vectors import DECIMALS, Segment, nearest
from searchengine.hits import Candidates, Pool

NONE = Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
WHOLE = 8192  # passages: in an index of no more, BM25 lists all that it finds sooner than it is asked a second time
SAMPLED = 2048  # passages: the spread of a cosine over an index is then known to 2 %


class Allowed:
    """The passages that a filter leaves, in the shape each retriever wants."""

    def __init__(self, generation: Generation, documents: np.ndarray) -> None:
        self.masks = [np.isin(segment.documents, documents) for segment in generation.segments]
        left = [
            segment.passages[mask & segment.alive()]
            for segment, mask in zip(generation.segments, self.masks, strict=True)
        ]
        self.passages: np.ndarray = np.sort(np.concatenate(left)) if left else np.empty(0, np.int64)


Masks = Sequence[np.ndarray] | None  # a bool mask a segment
Nearest = Callable[[Generation, np.ndarray, int, Masks], tuple[np.ndarray, np.ndarray]]


def nearest_here(generation: Generation, vector: np.ndarray, count: int, masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    """Scan a generation's segments in this process."""
    return nearest(generation.segments, vector, count, masks)


def dense(
    generation: Generation, vector: np.ndarray, count: int, allowed: Allowed | None, nearest: Nearest = nearest_here
) -> Candidates:
    """Find the ``count`` passages nearest to a query vector float32 [D] of unit length, by cosine, exactly."""
    return Candidates(*nearest(generation, vector, count, None if allowed is None else allowed.masks))


def lexical(
    generation: Generation, terms: Sequence[Term] | Mapping[Term, float], count: int, allowed: Allowed | None
) -> Candidates:
    """Find the ``count`` best passages for analysed terms, or for weighted ones, by BM25."""
    if generation.postings is None:
        return NONE
    passages = None if allowed is None else allowed.passages
    return Candidates(*generation.postings.search(terms, count, passages))


def finds_every(generation: Generation) -> bool:
    """Tell whether an index is so small that BM25 lists every passage with any of the words, not only the best."""
    return generation.postings is not None and len(generation.postings) <= WHOLE


class Sample:
    """Up to 2,048 live passages of a generation, evenly chosen by id: what any passage looks like to a query."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        live = [segment.alive() for segment in segments]
        stride = max(1, -(-sum(map(np.count_nonzero, live)) // SAMPLED))
        # By id and not by row, so that merging segments changes no sample.
        self._vectors = [
            segment.vectors(np.flatnonzero(alive & (segment.passages % stride == 0)))
            for segment, alive in zip(segments, live, strict=True)
        ]

    @cached_property
    def alike(self) -> float:
        """Tell the mean cosine of two different passages: 0 where there are not two."""
        count = sum(map(len, self._vectors))
        if count < 2:
            return 0.0
        total = np.sum([vectors.sum(axis=0, dtype=np.float64) for vectors in self._vectors], axis=0)
        return float((total @ total - count) / (count * (count - 1)))

    def moments(self, vector: np.ndarray) -> tuple[float, float]:
        """Tell the mean and the standard deviation of a vector's products with the sample: (0, 0) without any."""
        products = np.concatenate([vectors @ vector for vectors in self._vectors] or [np.empty(0, np.float32)])
        if not len(products):
            return 0.0, 0.0
        exact = products.astype(np.float64)
        mean = float(exact.mean())
        exact -= mean
        return mean, math.sqrt(float(exact @ exact) / len(exact))


def stored_of(segments: Sequence[Segment], passages: np.ndarray, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Fetch what is stored of live passages int64 [n]: vectors float32 [n, dimension] and documents int64 [n]."""
    vectors, documents = np.zeros((len(passages), dimension), np.float32), np.full(len(passages), -1, np.int64)
    for segment in segments:
        positions, rows = segment.rows_of(passages)
        if len(positions) == len(passages):
            return segment.vectors(rows), segment.documents[rows]
        vectors[positions], documents[positions] = segment.vectors(rows), segment.documents[rows]
    return vectors, documents


def pool(
    generation: Generation,
    vector: np.ndarray,
    terms: list[Term],
    dense: Candidates,
    lexical: Candidates,
    every: Candidates | None = None,
    *,
    trust: float = 1.0,
) -> tuple[Pool, np.ndarray]:
    """Join both lists and compute the scores that either lacks: the pool [u], and its vectors float32 [u, D].

    vector [D] and ``terms`` are those that gave the lists. ``every``, where it is known already, holds all passages
    with any of the words, of which ``lexical`` has the best: then BM25 need not be asked again. ``trust`` goes with it.
    """
    passages = np.sort(np.concatenate([dense.passages, lexical.passages]))
    passages = passages[np.flatnonzero(np.diff(passages, prepend=-1))]  # np.union1d would import numpy.ma (5 ms)
    vectors, documents = stored_of(generation.segments, passages, len(vector))
    cosines = dense.score_of(passages)
    cosines = np.where(np.isnan(cosines), np.round(vectors @ vector, DECIMALS), cosines)
    bm25 = (lexical if every is None else every).score_of(passages)
    unseen = np.isnan(bm25)
    bm25[unseen] = 0
    # A lexical list shorter than the dense one was not cut: it holds every passage with any of the words.
    cut = every is None and len(lexical) >= len(dense)
    if generation.postings is not None and cut and unseen.any():
        found, scores = generation.postings.search(terms, int(unseen.sum()), passages[unseen])
        bm25[np.searchsorted(passages, found)] = scores
    full = 0.0 if generation.postings is None else generation.postings.full_score(terms)
    return Pool(passages, cosines, bm25, full, trust, documents), vectors
