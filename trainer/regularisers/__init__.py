"""What wraps an objective: one regulariser a file, chosen by a recipe under its name in REGULARISERS.

A regulariser says which layers of the encoder a step needs and makes one scalar of their contrasts; it knows nothing
of texts, encoders or optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from trainer.batch import Contrast
from trainer.regularisers.matryoshka import Matryoshka
from trainer.regularisers.matryoshka2d import Matryoshka2d
from trainer.regularisers.plain import Plain
from trainer.regularisers.preserving import Preserving
from trainer.regularisers.uniformity import Uniformity
from trainer.regularisers.whitening import Whitening


class Regulariser(Protocol):
    """A way to apply an objective to a step's contrasts."""

    def check(self, width: int) -> None:
        """Refuse, with a UsageError, a model of a width that the settings do not fit."""

    def layers(self, step: int, depth: int) -> tuple[int, ...]:
        """Say which of the layers 1 to ``depth`` the step needs, ascending; the last is always ``depth``."""

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Compute the step's loss, a scalar, of one contrast a layer, the last being the full model's."""


REGULARISERS: dict[str, type[Regulariser]] = {
    "none": Plain,
    "matryoshka": Matryoshka,
    "matryoshka2d": Matryoshka2d,
    "preserving": Preserving,
    "uniformity": Uniformity,
    "whitening": Whitening,
}
