"""The encoder as a run found it, frozen: what guides negatives, and what a regulariser holds on to."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer import distributed
from trainer.batch import Ids
from trainer.encoder import TrainableEncoder, autocast


class StartModel:
    """A copy of the encoder at the beginning of a run; it must be made before any checkpoint is taken up."""

    def __init__(self, encoder: TrainableEncoder) -> None:
        self._encoder = encoder.twin()

    def vectors(self, texts: list[Ids], *, query: bool) -> Tensor:
        """Encode everyone's texts, each process its share: [n, D], without gradient."""
        with torch.no_grad(), autocast(self._encoder.device):
            return distributed.encode(self._encoder, texts, query=query)[0]
