"""Two ranked lists become one. Pure functions of arrays."""

from __future__ import annotations

import numpy as np

from indexer.vectors import best
from searchengine.hits import Candidates


def convex(dense: Candidates, lexical: Candidates, weight: float = 0.6) -> Candidates:
    """Fuse two candidate lists by a weighted sum of their min-max normalised scores.

    dense [n], lexical [m] → [u], the union of both, best first, ties by passage id. ``weight`` is the dense share,
    0 to 1. A passage that one list lacks scores 0 there.
    Raises ValueError for a weight outside [0, 1].
    Source: Bruch et al., "An Analysis of Fusion Functions for Hybrid Retrieval", arXiv:2210.11934.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"the dense weight must lie in [0, 1], not {weight}")
    passages = np.union1d(dense.passages, lexical.passages)
    scores = weight * _min_max(dense, passages) + (1 - weight) * _min_max(lexical, passages)
    return Candidates(*best(passages, scores, len(passages)))


def reciprocal_rank(dense: Candidates, lexical: Candidates, k: int = 60) -> Candidates:
    """Fuse two candidate lists by the sum of 1 / (k + rank), ranks from 1.

    dense [n], lexical [m] → [u], the union of both, best first, ties by passage id.
    Source: Cormack et al., "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009.
    """
    passages = np.union1d(dense.passages, lexical.passages)
    scores = np.zeros(len(passages), dtype=np.float64)
    for ranked in (dense, lexical):
        scores[np.searchsorted(passages, ranked.passages)] += 1 / (k + 1 + np.arange(len(ranked)))
    return Candidates(*best(passages, scores, len(passages)))


def _min_max(candidates: Candidates, passages: np.ndarray) -> np.ndarray:
    """Scale a list's scores to [0, 1] and spread them over ``passages`` [u], ascending: float64 [u]."""
    spread = np.zeros(len(passages), dtype=np.float64)
    if len(candidates):
        scores = candidates.scores.astype(np.float64)
        low, high = scores.min(), scores.max()
        scaled = (scores - low) / (high - low) if high > low else np.ones_like(scores)
        spread[np.searchsorted(passages, candidates.passages)] = scaled
    return spread


FUSIONS = {"convex": convex, "rrf": reciprocal_rank}
