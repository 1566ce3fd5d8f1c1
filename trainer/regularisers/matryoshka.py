"""Matryoshka: the first dimensions of a vector must do by themselves, at several widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from indexer.errors import UsageError
from trainer.batch import Contrast
from trainer.regularisers.plain import Plain
from trainer.settings import within


@dataclass(frozen=True, slots=True)
class Matryoshka(Plain):
    """The weighted sum of the objective over vectors cut at each of ``dimensions`` and of unit length again.

    ``weights`` are one a dimension, all 1 where none are given, as in the paper.
    Raises UsageError for settings that do not fit each other, and in ``check`` for widths that the model has not.
    Source: Kusupati et al., "Matryoshka Representation Learning", arXiv:2205.13147, equation 1.
    """

    dimensions: tuple[int, ...] = (384, 256, 128, 64)
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        # recipes hold lists; frozen fields must be hashable
        object.__setattr__(self, "dimensions", tuple(self.dimensions))
        object.__setattr__(self, "weights", None if self.weights is None else tuple(self.weights))
        check_dimensions(self.dimensions, self.weights)

    def check(self, width: int) -> None:
        """Refuse a model of fewer dimensions than the widest cut."""
        check_width(self.dimensions, width)

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Sum the objective of the full model's contrast over the cuts."""
        return nested(objective, contrasts[-1], self.dimensions, self.weights)


def nested(
    objective: Callable[[Contrast], Tensor],
    contrast: Contrast,
    dimensions: tuple[int, ...],
    weights: tuple[float, ...] | None = None,
) -> Tensor:
    """Sum an objective over a contrast cut at each of the dimensions, weighted: a scalar."""
    losses = torch.stack([objective(contrast.truncated(width)) for width in dimensions])
    return losses.sum() if weights is None else losses @ losses.new_tensor(weights)


def check_dimensions(dimensions: tuple[int, ...], weights: tuple[float, ...] | None) -> None:
    """Refuse dimensions that are none, not positive or given twice, and weights that do not match them."""
    if not dimensions or len(set(dimensions)) < len(dimensions):
        raise UsageError(f"dimensions must be one or more different widths, not {list(dimensions)}")
    for width in dimensions:
        within("dimensions", width, 1, whole=True)
    if weights is not None:
        if len(weights) != len(dimensions):
            raise UsageError(
                f"weights must be as many as dimensions, {len(dimensions)}, not the {len(weights)} of {list(weights)}"
            )
        for weight in weights:
            within("weights", weight, 0)


def check_width(dimensions: tuple[int, ...], width: int) -> None:
    """Refuse dimensions above the model's width."""
    if max(dimensions) > width:
        raise UsageError(f"dimensions must be at most the model's width, {width}, not {list(dimensions)}")
