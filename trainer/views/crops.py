"""Two random crops of one window, drawn independently: they may overlap, meet or stand apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainer.batch import Ids, Pair, Piece
from trainer.settings import rates, within
from trainer.views.corrupt import corrupt


@dataclass(frozen=True, slots=True)
class Crops:
    """Pair two contiguous crops of a window, each of a uniformly drawn share of its tokens, each then corrupted.

    ``window`` and ``shortest`` (bodies with fewer make no pair) are in tokens; the ratios are shares of the tokens at
    hand; the four rates are probabilities a token. ``vocabulary``, ``mask_id`` and ``special`` are the tokenizer's.
    Source: Izacard et al., "Unsupervised Dense Information Retrieval with Contrastive Learning", arXiv:2112.09118.
    """

    unit: ClassVar[str] = "window"

    window: int = 256
    ratio_min: float = 0.05
    ratio_max: float = 0.5
    delete: float = 0.1
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
        within("ratio_max", self.ratio_max, 0, 1)
        within("ratio_min", self.ratio_min, 0, self.ratio_max)
        rates(delete=self.delete, replace=self.replace, mask=self.mask, shuffle=self.shuffle)

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair."""
        return body_tokens >= self.shortest

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Cut two crops of the piece's body and corrupt each."""
        anchor, positive = self._crop(piece.body, rng), self._crop(piece.body, rng)
        return Pair(anchor, positive, document=piece.document, own=frozenset({piece.document}))

    def _crop(self, ids: Ids, rng: np.random.Generator) -> Ids:
        return corrupt(
            crop(ids, rng, self.ratio_min, self.ratio_max),
            rng,
            delete=self.delete,
            replace=self.replace,
            mask=self.mask,
            shuffle=self.shuffle,
            vocabulary=self.vocabulary,
            mask_id=self.mask_id,
            special=self.special,
        )


def crop(ids: Ids, rng: np.random.Generator, ratio_min: float, ratio_max: float) -> Ids:
    """Cut a contiguous piece whose share of the tokens is uniform in [ratio_min, ratio_max], at a uniform place.

    int32 [tokens], one or more → int32 [share × tokens, rounded, at least 1], a slice of the input.
    """
    length = max(1, round(rng.uniform(ratio_min, ratio_max) * len(ids)))
    start = int(rng.integers(len(ids) - length + 1))
    return ids[start : start + length]
