"""No regulariser: the objective on the vectors as they are. Those that read the last layer alone build on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trainer.batch import Contrast


@dataclass(frozen=True, slots=True)
class Plain:
    """The objective alone."""

    def check(self, width: int) -> None:
        """Accept any model."""

    def layers(self, step: int, depth: int) -> tuple[int, ...]:
        """Ask for the last layer."""
        return (depth,)

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Compute the objective of the full model's contrast."""
        return objective(contrasts[-1])
