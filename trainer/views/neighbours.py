"""Two spans of one window that overlap, touch, or lie one within the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainer.batch import Pair, Piece
from trainer.settings import within

ANCHOR_SHAPE = (4.0, 2.0)  # of the Beta distribution of lengths: anchors lean to long, positives to short
POSITIVE_SHAPE = (2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Pair a long span of a window with a short one that overlaps it, touches it or lies within it.

    ``window``, ``length_min`` and ``length_max`` are in tokens. Spans are at most half of the tokens at hand, so that
    a positive can stand beside its anchor; a body shorter than two of the shortest spans makes no pair. The paper takes
    spans of 32 to 512 tokens, up to two anchors and two positives a document; here one of each a visit.
    Source: Giorgi et al., "DeCLUTR: Deep Contrastive Learning for Unsupervised Textual Representations",
    arXiv:2006.03659.
    """

    unit: ClassVar[str] = "window"

    window: int = 512
    length_min: int = 32
    length_max: int = 256

    def __post_init__(self) -> None:
        within("window", self.window, 2, whole=True)
        within("length_min", self.length_min, 1, self.window // 2, whole=True)
        within("length_max", self.length_max, self.length_min, whole=True)

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair."""
        return body_tokens >= 2 * self.length_min

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Draw the anchor anywhere in the piece's body, then a positive that reaches it."""
        tokens = len(piece.body)
        long = self._length(tokens, rng, ANCHOR_SHAPE)
        short = self._length(tokens, rng, POSITIVE_SHAPE)
        anchor = int(rng.integers(tokens - long + 1))
        first, last = max(0, anchor - short), min(tokens - short, anchor + long)  # both ends: just touching
        positive = int(rng.integers(first, last + 1))
        return Pair(
            piece.body[anchor : anchor + long],
            piece.body[positive : positive + short],
            document=piece.document,
            own=frozenset({piece.document}),
        )

    def _length(self, tokens: int, rng: np.random.Generator, shape: tuple[float, float]) -> int:
        longest = min(self.length_max, tokens // 2)
        return self.length_min + int(rng.beta(*shape) * (longest - self.length_min))
