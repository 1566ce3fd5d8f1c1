"""In-batch negatives: what answers the other anchors of the batch does not answer this one.

Encoded with gradients on both sides; with several processes the batch is all of theirs.
Source: Chen et al., "A simple framework for contrastive learning", arXiv:2002.05709; Karpukhin et al., DPR,
arXiv:2004.04906.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainer.batch import Batch, Contrast
from trainer.encoder import TrainableEncoder


@dataclass(frozen=True)
class InBatchSettings:
    """Nothing to set."""


class InBatch:
    """Contrast with the batch alone. The other members build on it."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    def start(self, encoder: TrainableEncoder, steps: int, documents: int) -> None:
        """Prepare for a run of ``steps`` over ``documents`` different documents."""

    def keys(self, batch: Batch) -> Tensor | None:
        """Encode the passages otherwise than the anchors: [P, D] without gradient; None leaves it to the encoder."""
        return None

    def contrast(self, batch: Batch, query_BD: Tensor, passage_PD: Tensor) -> Contrast:
        """Put a batch and its vectors together."""
        device = query_BD.device
        return Contrast(
            query_BD,
            passage_PD,
            batch.target_B.to(device),
            batch.excluded_BP.to(device),
            listed_BC=None if batch.listed_BC is None else batch.listed_BC.to(device),
            teacher_BC=None if batch.teacher_BC is None else batch.teacher_BC.to(device),
            beside_BP=None if batch.beside_BP is None else batch.beside_BP.to(device),
        )

    def after(self, batch: Batch, contrast: Contrast, encoder: TrainableEncoder, step: int) -> None:
        """Follow the encoder after its weights changed at ``step``."""

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must hold."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
