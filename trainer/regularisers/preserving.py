"""Preserving: what a batch does not teach stays as similar as the starting model found it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from indexer.errors import UsageError
from trainer.batch import Contrast
from trainer.objectives.similarity import mean, similarity
from trainer.regularisers.plain import Plain
from trainer.settings import within


@dataclass(frozen=True, slots=True)
class Preserving(Plain):
    """The objective plus ``weight`` × how far cosines have moved from the starting model's, squared.

    Counted are the mean over anchors and the batch's other passages, those alone that the objective tells apart from
    the answer, and the mean over the passages among each other. A pair and its answer are free to move. Contrastive
    training spreads vectors that it never needed to part, and a fusion that counts standard deviations then takes the
    same evidence for more than it is (docs/training.md).
    Raises UsageError for a negative weight.
    Source: the similarities of a batch as what is kept, Tung and Mori, arXiv:1907.09682; the starting model as the
    teacher, Li and Hoiem, arXiv:1606.09282.
    """

    weight: float = 20.0

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Add how far the full model's cosines have moved to the objective."""
        return objective(contrasts[-1]) + self.weight * moved(contrasts[-1])


def moved(contrast: Contrast) -> Tensor:
    """Measure how far the cosines of a batch lie from the starting model's: mean squares, summed, a scalar.

    Raises UsageError for a contrast that does not know the start.
    """
    if contrast.start_query_BD is None or contrast.start_passage_PD is None:
        raise UsageError("regulariser preserving: a model that reads pairs has no vectors to preserve")
    across_BP = similarity(contrast.query_BD, contrast.passage_PD)
    across_BP = across_BP - similarity(contrast.start_query_BD, contrast.start_passage_PD)
    among_PP = similarity(contrast.passage_PD, contrast.passage_PD)
    among_PP = among_PP - similarity(contrast.start_passage_PD, contrast.start_passage_PD)
    columns = torch.arange(across_BP.shape[1], device=across_BP.device)
    counted_BP = ~contrast.excluded_BP & (columns != contrast.target_B[:, None])
    return mean(across_BP[counted_BP].square()) + mean(among_PP.square())
