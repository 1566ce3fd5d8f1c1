"""A sentence searches the window it was taken out of: the inverse cloze task."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from trainer.batch import Ids, Pair, Piece
from trainer.settings import rates, within

FALLBACK = 0.2  # share of a window that stands for a sentence where the window has no sentence end inside


@dataclass(frozen=True, slots=True)
class InverseCloze:
    """Pair one sentence of a window with the window, from which it is removed with probability ``remove``.

    ``window`` and ``shortest`` (bodies with fewer make no pair) are in tokens. A sentence ends with a run of ``enders``
    (token ids of . ! ? and their like); a window that is one sentence gives a random contiguous fifth instead.
    Source: Lee et al., "Latent Retrieval for Weakly Supervised Open Domain Question Answering", arXiv:1906.00300.
    """

    unit: ClassVar[str] = "window"

    window: int = 256
    remove: float = 0.9
    shortest: int = 16
    enders: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        within("window", self.window, 2, whole=True)
        within("shortest", self.shortest, 2, self.window, whole=True)
        rates(remove=self.remove)

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair."""
        return body_tokens >= self.shortest

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Take one sentence of the piece's body as the anchor, what is left of the body as the positive."""
        found = sentences(piece.body, self.enders)
        if len(found) > 1:
            start, end = found[int(rng.integers(len(found)))]
        else:
            length = max(1, round(FALLBACK * len(piece.body)))
            start = int(rng.integers(len(piece.body) - length + 1))
            end = start + length
        rest = piece.body
        if rng.random() < self.remove:
            rest = np.concatenate([rest[:start], rest[end:]])
        return Pair(piece.body[start:end], rest, document=piece.document, own=frozenset({piece.document}))


def sentences(ids: Ids, enders: frozenset[int]) -> list[tuple[int, int]]:
    """Split tokens into sentences: [start, end) of each, in order, covering all of them.

    A sentence goes on to the last of a run of enders, so that "?!" and "..." end one sentence, not three.
    """
    ending = np.isin(ids, list(enders))
    last = np.flatnonzero(ending[:-1] & ~ending[1:]) + 1
    places = [0, *last.tolist(), len(ids)]
    return list(pairwise(places))
