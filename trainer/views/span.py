"""A span of text searches the whole window it stands in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainer.batch import Pair, Piece
from trainer.settings import rates, within
from trainer.views.corrupt import corrupt
from trainer.views.crops import crop


@dataclass(frozen=True, slots=True)
class SpanInDocument:
    """Pair a contiguous span of a window with the whole window, the span still in it.

    ``window`` and ``shortest`` (bodies with fewer make no pair) are in tokens; ``span_min`` and ``span_max`` bound the
    span's share of them. The four rates corrupt the span alone; ``vocabulary``, ``mask_id`` and ``special`` are the
    tokenizer's. The paper draws several spans of set granularities a text and adds a projector; here one span is drawn
    a visit, from a range of lengths, and both sides are encoded alike.
    Source: Ma et al., "Pre-train a Discriminative Text Encoder for Dense Retrieval via Contrastive Span Prediction"
    (COSTA), arXiv:2204.10641.
    """

    unit: ClassVar[str] = "window"

    window: int = 256
    span_min: float = 0.05
    span_max: float = 0.3
    delete: float = 0.0
    replace: float = 0.0
    mask: float = 0.0
    shuffle: float = 0.0
    shortest: int = 16
    vocabulary: int = 0
    mask_id: int = 0
    special: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        within("window", self.window, 1, whole=True)
        within("shortest", self.shortest, 1, self.window, whole=True)
        within("span_max", self.span_max, 0, 1)
        within("span_min", self.span_min, 0, self.span_max)
        rates(delete=self.delete, replace=self.replace, mask=self.mask, shuffle=self.shuffle)

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair."""
        return body_tokens >= self.shortest

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Cut a span of the piece's body, corrupt it, and leave the body as it is."""
        span = corrupt(
            crop(piece.body, rng, self.span_min, self.span_max),
            rng,
            delete=self.delete,
            replace=self.replace,
            mask=self.mask,
            shuffle=self.shuffle,
            vocabulary=self.vocabulary,
            mask_id=self.mask_id,
            special=self.special,
        )
        return Pair(span, piece.body, document=piece.document, own=frozenset({piece.document}))
