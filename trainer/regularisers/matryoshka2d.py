"""Two-dimensional matryoshka: fewer layers and fewer dimensions must do by themselves, together and apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.batch import Contrast
from trainer.objectives.distillation import divergence
from trainer.objectives.similarity import Judged, similarity
from trainer.randomness import generator
from trainer.regularisers.matryoshka import check_dimensions, check_width, nested
from trainer.settings import within


@dataclass(frozen=True, slots=True)
class Matryoshka2d:
    """Matryoshka on the last layer and, each step, on one shallower layer, which also learns from the last.

    The layer is drawn uniformly by (seed, step); a model of one layer has none. Its loss counts ``layer_weight``;
    ``kl`` weighs KL(last ‖ shallower) between softmaxes of their full-width similarities over each anchor's passages,
    divided by ``kl_temperature``; the last layer gets no gradient from it.
    Raises UsageError for a setting out of its range, and in ``check`` for widths that the model has not.
    Source: Li et al., "2D Matryoshka Sentence Embeddings", arXiv:2402.14776. sentence-transformers takes the divergence
    between softmaxes of the vectors' own coordinates; here it is of what they rank.
    """

    dimensions: tuple[int, ...] = (384, 256, 128, 64)
    weights: tuple[float, ...] | None = None
    layer_weight: float = 1.0
    kl: float = 1.0
    kl_temperature: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        # recipes hold lists; frozen fields must be hashable
        object.__setattr__(self, "dimensions", tuple(self.dimensions))
        object.__setattr__(self, "weights", None if self.weights is None else tuple(self.weights))
        check_dimensions(self.dimensions, self.weights)
        within("layer_weight", self.layer_weight, 0)
        within("kl", self.kl, 0)
        within("kl_temperature", self.kl_temperature, 1e-4)

    def check(self, width: int) -> None:
        """Refuse a model of fewer dimensions than the widest cut."""
        check_width(self.dimensions, width)

    def layers(self, step: int, depth: int) -> tuple[int, ...]:
        """Draw the step's shallower layer, and ask for it and the last."""
        if depth == 1:
            return (1,)
        return (int(generator(self.seed, step).integers(1, depth)), depth)

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Sum the objective over layers and cuts, and add what a shallower layer ranks otherwise than the last."""
        *shallower, last = contrasts
        loss = nested(objective, last, self.dimensions, self.weights)
        for contrast in shallower:
            loss = loss + self.layer_weight * nested(objective, contrast, self.dimensions, self.weights)
            if self.kl > 0:
                loss = loss + self.kl * layer_divergence(last, contrast, self.kl_temperature)
        return loss


def layer_divergence(last: Contrast, shallower: Contrast, temperature: float) -> Tensor:
    """KL(last ‖ shallower) of the softmaxed similarities over each anchor's passages: the mean in nats, a scalar.

    Passages excluded for an anchor do not count; its target always does.
    """
    score_BP = similarity(shallower.query_BD, shallower.passage_PD) / temperature
    teacher_BP = similarity(last.query_BD, last.passage_PD).detach() / temperature
    columns = torch.arange(score_BP.shape[1], device=score_BP.device)
    return divergence(Judged(score_BP, teacher_BP, ~last.excluded_BP | (columns == last.target_B[:, None])))
