"""The same text twice: what differs is the encoder's dropout, or a few repeated tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainer.batch import Ids, Pair, Piece
from trainer.settings import rates, within

FEWEST = 2  # repeated tokens that even a short text may get, as in ESimCSE


@dataclass(frozen=True, slots=True)
class SameText:
    """Pair a window with itself; with ``repeat`` above 0, with itself and some of its tokens twice.

    ``window`` is in tokens. Without ``repeat`` the two sides differ only if the encoder drops out, so dropout must be
    on. With it, up to max(2, repeat × tokens) tokens of the positive are repeated in place, so that length says nothing
    of being a pair.
    Source: SimCSE, Gao et al., arXiv:2104.08821; the repetition, ESimCSE, Wu et al., arXiv:2109.04380 (rate 0.32).
    """

    unit: ClassVar[str] = "window"

    window: int = 256
    repeat: float = 0.0

    def __post_init__(self) -> None:
        within("window", self.window, 1, whole=True)
        rates(repeat=self.repeat)

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair."""
        return body_tokens >= 1

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Pair the piece's body with itself, tokens of the second repeated where asked."""
        positive = repeated(piece.body, rng, self.repeat) if self.repeat > 0 else piece.body
        return Pair(piece.body, positive, document=piece.document, own=frozenset({piece.document}))


def repeated(ids: Ids, rng: np.random.Generator, rate: float) -> Ids:
    """Repeat some tokens right behind themselves: int32 [n] → int32 [n to n + max(2, rate × n)], none more than once.

    How many is uniform from none to the most allowed, which tokens is uniform too.
    """
    most = min(len(ids), max(FEWEST, int(rate * len(ids))))
    times = np.ones(len(ids), dtype=np.int64)
    times[rng.choice(len(ids), size=int(rng.integers(most + 1)), replace=False)] = 2
    return np.repeat(ids, times)
