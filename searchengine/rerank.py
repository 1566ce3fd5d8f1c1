"""Read the best candidates again, together with the query, and order them anew: by a cross-encoder or late interaction.

Knows nothing of how candidates were found, nor of files: a reranker is given texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from indexer.errors import UsageError
from searchengine.hits import Candidates

if TYPE_CHECKING:
    from indexer.encoders.tokens import TokenEncoder

DEPTH = 50
LATE = "late"  # the reranker that needs no model but the index's own encoder
WEIGHT = 0.5  # a cross-encoder's share of the order; docs/quality.md
LATE_WEIGHT = 0.3


class Reranker(Protocol):
    """Scores passages for a query; ``CrossEncoder`` and ``LateInteraction`` are two."""

    name: str

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """Score each passage, higher is better, on any scale: n texts → float32 [n]."""
        ...


class LateInteraction:
    """Each token of the query looks for the passage's token most like it; a passage's score is the mean cosine.

    The tokens' vectors are the last hidden states of the index's own encoder, which was trained for their mean alone.
    Source: ColBERT's MaxSim, Khattab and Zaharia, arXiv:2004.12832.
    """

    name = LATE

    def __init__(self, encoder: TokenEncoder) -> None:
        self._encoder = encoder

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """Score each passage for the query: n texts → float32 [n], cosines."""
        asked = self._encoder.query(query)
        return np.array([max_sim(asked, tokens) for tokens in self._encoder.passages(passages)], dtype=np.float32)


def max_sim(query: np.ndarray, passage: np.ndarray) -> float:
    """Average, over a query's token vectors [q, D], the largest product with any of a passage's [p, D].

    0 where either has no token.
    """
    if not len(query) or not len(passage):
        return 0.0
    return float((query @ passage.T).max(axis=1).mean())


def blend(first: Candidates, scores: np.ndarray, weight: float) -> Candidates:
    """Order the head of a list anew by ``weight`` × its reranker's scores + (1 − weight) × its own.

    first [n]; scores [m], m ≤ n, of its first m passages → [n]. Both scores are put in standard deviations over these
    m, so that neither's scale matters; the sum is told on the list's own scale again. What was not read keeps its order
    and stays behind what was: its scores are lowered where they would not.
    Raises UsageError for a weight outside [0, 1].
    """
    if not 0 <= weight <= 1:
        raise UsageError(f"the reranker's weight must lie in 0 to 1, not {weight}")
    read = len(scores)
    if not read:
        return first
    own = first.scores[:read].astype(np.float64)
    mean, spread = own.mean(), own.std()
    mixed = (1 - weight) * _standard(own) + weight * _standard(scores.astype(np.float64))
    mixed = mean + (spread or 1.0) * mixed
    order = np.lexsort((first.passages[:read], -mixed))
    rest = first.scores[read:].astype(np.float64)
    if len(rest) and rest[0] > mixed.min():
        rest = rest - (rest[0] - mixed.min())
    return Candidates(
        np.concatenate([first.passages[:read][order], first.passages[read:]]),
        np.concatenate([mixed[order], rest]).astype(np.float32),
    )


def _standard(values: np.ndarray) -> np.ndarray:
    """Put values in standard deviations from their mean; all 0 where they are equal."""
    spread = values.std()
    centred: np.ndarray = values - values.mean()
    return centred / spread if spread > 0 else np.zeros_like(values)


def default_weight(reranker: Reranker) -> float:
    """Give a reranker's share of the order where nobody chose one."""
    return LATE_WEIGHT if reranker.name == LATE else WEIGHT
