"""Two ranked lists become one. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from indexer.format import FUSION
from indexer.vectors import best
from searchengine.hits import Candidates, Pool

LEXICAL_SPAN = 4.0
FEEDBACK = 1.0
NEIGHBOURS = 0.75
READABLE = 0.6  # of a query's letters: texts in Latin letters that the default encoder was not taught have more
LEAST_TRUST = 0.1  # more than nothing, so that cosines rank what words tell nothing about


@dataclass(frozen=True, slots=True)
class Weights:
    """What the default fusion weighs by; an index may carry its own, learnt from judgements by ``tune``.

    ``span``: how many standard deviations of the cosine the best possible BM25 score counts, 0 to 64. ``feedback``: how
    far a query moves towards what it found first, in shares of what the words found allow, 0 to 8. ``neighbours``: how
    far a passage is lifted towards those like it, 0 to 1; with 0 not at all.
    """

    span: float = LEXICAL_SPAN
    feedback: float = FEEDBACK
    neighbours: float = NEIGHBOURS

    def __post_init__(self) -> None:
        """Raise ValueError for weights out of range, and for what is no number."""
        for name, most in (("span", 64), ("feedback", 8), ("neighbours", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise ValueError(f"the {name} must lie in [0, {most}], not {value!r:.40}")

    def as_dict(self) -> dict[str, float]:
        """Return the weights as an index stores them."""
        return asdict(self)


DEFAULT = Weights()


def weights_of(settings: Mapping[str, Any]) -> Weights:
    """Read the weights out of an index's settings: the default ones where it carries none.

    Raises ValueError where what it carries is no weights.
    """
    stored = settings.get(FUSION)
    if stored is None:
        return DEFAULT
    if not isinstance(stored, dict) or not {"span", "feedback"} <= stored.keys():
        raise ValueError(f"the fusion weights {stored!r:.60} lack a span or a feedback")
    return Weights(stored["span"], stored["feedback"], stored.get("neighbours", NEIGHBOURS))


def trust(readable: float) -> float:
    """Tell how much a query's cosines mean, LEAST_TRUST to 1, by the share of its letters that the encoder reads.

    No label and no list of languages: a multilingual encoder reads what an English one spells.
    """
    return max(LEAST_TRUST, min(1.0, readable / READABLE))


def standard(
    pool: Pool, mean: float, spread: float, count: int | None = None, span: float = LEXICAL_SPAN
) -> Candidates:
    """Fuse a pool by cosines in standard deviations of the index, plus BM25 as a share of what it could be.

    pool [u] → [u], or its ``count`` best: best first, ties by passage id. ``mean`` and ``spread`` are those of the
    query's cosine over the whole index: a cosine counts by how far it stands out of what any passage gets, so that an
    encoder whose cosines lie in another range needs no other weight. A spread of 0 counts as 1.
    BM25 is divided by the geometric mean of the query's best and full scores. So where the best passage has all that
    the query asks for, it gains about ``span`` standard deviations; where it has few of the words, the less. Words
    that are nowhere in the index (another language, another form) thus take weight from BM25 and not from the cosine,
    and a query that the encoder cannot read takes it from the cosine (the pool's ``trust``).
    Source: computed instead of missing scores, Bruch et al., arXiv:2210.11934; the rest was chosen by
    ``python -m benchmarks.fusion`` (docs/quality.md).
    """
    scores = (pool.cosines.astype(np.float64) - mean) / (spread or 1) * pool.trust
    best_score = float(pool.bm25.max(initial=0))
    if best_score > 0:
        scores += span * pool.bm25.astype(np.float64) / math.sqrt(best_score * pool.full)
    return Candidates(*best(pool.passages, scores, len(pool) if count is None else count))


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


LISTS = {"convex": convex, "rrf": reciprocal_rank}  # these see the two lists alone, and need no score that one lacks
FUSIONS = ("neighbours", "feedback", "standard", *LISTS)
