"""Guided in-batch negatives: a frozen guide says which passages of the batch are likely no negatives at all.

A passage that the guide puts closer to the anchor than the anchor's own positive (less a margin) does not count.
Source: Solatorio, "GISTEmbed", arXiv:2402.16829.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from indexer.errors import UsageError
from trainer.batch import Batch, Contrast
from trainer.encoder import TrainableEncoder
from trainer.negatives.inbatch import InBatch
from trainer.start import StartModel


@dataclass(frozen=True)
class GuideSettings:
    """``margin``: a passage within this cosine below the positive is left out already."""

    margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 2:
            raise UsageError(f"negatives.margin: a cosine difference from 0 to 2 is expected, not {self.margin}")


class Guide(InBatch):
    """Mask in-batch negatives by the encoder as it was at the start."""

    settings: GuideSettings

    def start(self, encoder: TrainableEncoder, steps: int, documents: int) -> None:
        """Freeze a copy of the encoder as the guide."""
        self.guide = StartModel(encoder)

    def contrast(self, batch: Batch, query_BD: Tensor, passage_PD: Tensor) -> Contrast:
        """Exclude what the guide takes for another answer."""
        plain = super().contrast(batch, query_BD, passage_PD)
        likely_BP = likely_positives(
            self.guide.vectors(batch.anchors, query=True),
            self.guide.vectors(batch.passages, query=False),
            plain.target_B,
            self.settings.margin,
        )
        return replace(plain, excluded_BP=plain.excluded_BP | likely_BP)


def likely_positives(query_BD: Tensor, passage_PD: Tensor, target_B: Tensor, margin: float) -> Tensor:
    """Mark passages closer to an anchor than its target less ``margin``, the target itself never: bool [B, P]."""
    similarity_BP = query_BD @ passage_PD.T
    rows = torch.arange(len(target_B), device=target_B.device)
    likely_BP = similarity_BP > similarity_BP[rows, target_B][:, None] - margin
    likely_BP[rows, target_B] = False
    return likely_BP
