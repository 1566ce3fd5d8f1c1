"""A document's title searches its body: the nearest thing to a query that unlabelled documents carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainer.batch import Ids, Pair, Piece
from trainer.settings import within


@dataclass(frozen=True, slots=True)
class Titles:
    """Pair a document's title with its body, cut at ``window`` tokens.

    A body that opens with the title over again loses it, or the pair would match by repetition. Documents without a
    title, or with a body of fewer than ``shortest`` tokens, make no pair.
    Source: title and body as pseudo-query and passage, Wang et al., arXiv:2212.03533 (E5).
    """

    unit: ClassVar[str] = "document"

    window: int = 256
    shortest: int = 16

    def __post_init__(self) -> None:
        within("window", self.window, 1, whole=True)
        within("shortest", self.shortest, 1, self.window, whole=True)

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair."""
        return title_tokens >= 1 and body_tokens >= self.shortest

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Pair the piece's title and body; nothing is left to chance."""
        body = without(piece.title, piece.body)[: self.window]
        return Pair(piece.title, body, document=piece.document, own=frozenset({piece.document}))


def without(title: Ids, body: Ids) -> Ids:
    """Drop the title from the start of the body, where it stands there and is not all of it."""
    if len(body) > len(title) and np.array_equal(body[: len(title)], title):
        return body[len(title) :]
    return body
