"""Pseudo-relevance feedback: a query moves towards what it found first, and is asked again. Knows nothing of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from indexer.vectors import DECIMALS
from searchengine.fusion import DEFAULT, Weights, standard
from searchengine.hits import Candidates, Pool

READ = 10
SHARPNESS = 2.0


def towards(vector: np.ndarray, vectors: np.ndarray, scores: np.ndarray, share: float) -> np.ndarray:
    """Add ``share`` of the mean direction of the passages found first to a query: float32 [D], not of unit length.

    vector [D], vectors [n, D] of unit length, best first, and their fused scores [n] in standard deviations. Each
    passage counts by softmax(SHARPNESS × score): one that stands out is then all that is added, and stays first, while
    many alike are averaged. That keeps a question with a single answer from drifting (docs/quality.md).
    Source: Rocchio, "Relevance feedback in information retrieval", 1971, without the negative term.
    """
    if not len(vectors):
        return vector
    weights = np.exp(SHARPNESS * (scores.astype(np.float64) - scores.max()))
    mean = weights @ vectors.astype(np.float64)
    length = float(np.linalg.norm(mean))
    return vector if length == 0 else (vector + share * mean / length).astype(np.float32)


def ask_again(
    pool: Pool,
    vectors: np.ndarray,
    vector: np.ndarray,
    moments: Callable[[np.ndarray], tuple[float, float]],
    weights: Weights = DEFAULT,
) -> Candidates:
    """Fuse a pool, move the query towards the best passages, and fuse the pool by the moved query's products.

    vectors [u, D] are those of the pool's passages, vector [D] is the query; ``moments`` gives the mean and spread of a
    query's products over the index. The query moves by as much as the best passage has of its words, times
    ``weights.feedback`` and the pool's ``trust``: what was found by meaning alone may be the wrong neighbourhood, above
    all where the encoder cannot read the query. No passage enters or leaves the pool, and BM25 stays as it was.
    """
    first = standard(pool, *moments(vector), count=READ, span=weights.span)
    best = np.searchsorted(pool.passages, first.passages)
    moved = towards(vector, vectors[best], first.scores, weights.feedback * pool.coverage() * pool.trust)
    again = replace(pool, cosines=np.round(vectors @ moved, DECIMALS))
    return standard(again, *moments(moved), span=weights.span)
