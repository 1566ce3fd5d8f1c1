"""How a positive pair is made of a text: one view a file, chosen by a recipe under its name in VIEWS.

A view works on token ids and is a function of the piece and the generator it is handed; it knows nothing of files,
tokenizers or encoders.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from trainer.batch import Pair, Piece
from trainer.views.cloze import InverseCloze
from trainer.views.crops import Crops
from trainer.views.neighbours import Neighbours
from trainer.views.same import SameText
from trainer.views.span import SpanInDocument
from trainer.views.titles import Titles


class View(Protocol):
    """A way to make pairs, of one ``unit`` of text each: "window" (of a body) or "document" (title and body)."""

    unit: ClassVar[str]

    @property
    def window(self) -> int:
        """How many tokens of a body a piece holds at most."""

    def usable(self, title_tokens: int, body_tokens: int) -> bool:
        """Say whether a piece of this many tokens makes a pair; ``pair`` is asked only for those that do."""

    def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
        """Make one pair of a piece, the same one from the same generator."""


VIEWS: dict[str, type[View]] = {
    "crops": Crops,
    "cloze": InverseCloze,
    "span": SpanInDocument,
    "neighbours": Neighbours,
    "titles": Titles,
    "same": SameText,
}
