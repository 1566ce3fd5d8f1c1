"""Uniformity: spread vectors over the sphere. And the two measures, alignment and uniformity, that a log shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.batch import Contrast
from trainer.objectives.similarity import precise, similarity
from trainer.regularisers.plain import Plain
from trainer.settings import within

SHARPNESS = 2.0  # t of the paper


@dataclass(frozen=True, slots=True)
class Uniformity(Plain):
    """The objective plus ``weight`` × the mean uniformity of a batch's queries and of its passages.

    Raises UsageError for a negative weight.
    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", arXiv:2005.10242.
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Add how unevenly the full model's vectors lie to the objective."""
        contrast = contrasts[-1]
        spread = uniformity(contrast.query_BD) + uniformity(contrast.passage_PD)
        return objective(contrast) + self.weight * spread / 2


def alignment(query_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Measure how near pairs lie: the mean squared distance, 0 (the same) to 4 (opposite) for unit vectors."""
    return (precise(query_BD) - precise(target_BD)).square().sum(dim=1).mean()


def uniformity(vector_BD: Tensor) -> Tensor:
    """Measure how evenly vectors lie: log mean exp(-2 ‖x - y‖²) over different rows, 0 (one point) down to about -4.

    Fewer than two rows have no pair and measure 0.
    """
    vector_BD = precise(vector_BD)
    if len(vector_BD) < 2:
        return vector_BD.sum() * 0
    length_B = vector_BD.square().sum(dim=1)
    square_BB = length_B[:, None] + length_B - 2 * similarity(vector_BD, vector_BD)
    same_BB = torch.eye(len(vector_BD), dtype=torch.bool, device=vector_BD.device)
    exponents = (-SHARPNESS * square_BB).masked_fill(same_BB, -torch.inf)
    return exponents.flatten().logsumexp(dim=0) - math.log(len(vector_BD) * (len(vector_BD) - 1))
