"""Momentum contrast: keys of earlier batches, encoded by a slowly following copy of the encoder, as negatives.

Keys need no backward pass, so that a pair costs two thirds of in-batch's work. The document of each key stands beside
it: a text is never its own negative, however small the corpus.
Source: He et al., arXiv:1911.05722; for text, Izacard et al., "Contriever", arXiv:2112.09118 (re-implemented from the
paper).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from indexer.errors import UsageError
from trainer import distributed
from trainer.batch import Batch, Contrast
from trainer.encoder import TrainableEncoder, autocast
from trainer.negatives.inbatch import InBatch


@dataclass(frozen=True)
class QueueSettings:
    """``size`` keys at most, never more than half the documents; the momentum ramps up from ``momentum_start``.

    ``in_batch``: the other keys of a batch are negatives in their own step too (not so in the paper).
    """

    size: int = 131_072
    momentum: float = 0.9995
    momentum_start: float = 0.99
    in_batch: bool = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"negatives.size: the queue must hold at least 1 key, not {self.size}")
        if not 0 <= self.momentum_start <= self.momentum < 1:
            raise UsageError(
                f"negatives.momentum: 0 ≤ momentum_start ≤ momentum < 1 is needed, not {self.momentum_start} and "
                f"{self.momentum}"
            )


class Ring:
    """The latest keys, first in first out: float16 [size, D] on the encoder's device, with each key's document."""

    def __init__(self, size: int, width: int, device: torch.device) -> None:
        self.keys_ND = torch.zeros(size, width, dtype=torch.float16, device=device)
        self.documents_N = torch.full((size,), -1, dtype=torch.int64, device=device)
        self.filled = 0
        self.place = 0

    def put(self, keys_PD: Tensor, documents_P: Tensor) -> None:
        """Take up new keys; of more than fit, the last ones stay, as if put one at a time."""
        size = len(self.keys_ND)
        start = self.place + max(0, len(keys_PD) - size)
        keys_PD, documents_P = keys_PD[-size:], documents_P[-size:]
        places = (start + torch.arange(len(keys_PD), device=self.keys_ND.device)) % size
        self.keys_ND[places] = keys_PD.to(torch.float16)
        self.documents_N[places] = documents_P.to(self.documents_N.device)
        self.place = (start + len(keys_PD)) % size
        self.filled = min(size, self.filled + len(keys_PD))

    def present(self) -> tuple[Tensor, Tensor]:
        """Return the keys, float32 [n, D], and their documents [n], in the order of their places."""
        return self.keys_ND[: self.filled].float(), self.documents_N[: self.filled]

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must hold."""
        return {"keys": self.keys_ND, "documents": self.documents_N, "filled": self.filled, "place": self.place}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.keys_ND.copy_(state["keys"])
        self.documents_N.copy_(state["documents"])
        self.filled, self.place = int(state["filled"]), int(state["place"])


class Queue(InBatch):
    """Encode passages by the momentum encoder and contrast with the queue."""

    settings: QueueSettings

    def start(self, encoder: TrainableEncoder, steps: int, documents: int) -> None:
        """Copy the encoder and make the queue."""
        self.momentum_encoder = encoder.twin()
        self.steps = max(1, steps)
        self.ring = Ring(max(1, min(self.settings.size, documents // 2)), encoder.width, encoder.device)

    def keys(self, batch: Batch) -> Tensor | None:
        """Encode the passages by the momentum encoder, without dropout and gradient: [P, D]."""
        with torch.no_grad(), autocast(self.momentum_encoder.device):
            return distributed.encode(self.momentum_encoder, batch.passages, query=False)[0]

    def contrast(self, batch: Batch, query_BD: Tensor, passage_PD: Tensor) -> Contrast:
        """Add the queue, with each anchor's own documents marked."""
        plain = super().contrast(batch, query_BD, passage_PD)
        if not self.settings.in_batch:
            others = torch.ones_like(plain.excluded_BP)
            others[torch.arange(len(others), device=others.device), plain.target_B] = False
            plain = replace(plain, excluded_BP=others)
        keys_ND, documents_N = self.ring.present()
        excluded_BN = torch.stack(
            [torch.isin(documents_N, torch.tensor(sorted(own), device=documents_N.device)) for own in batch.own]
        )
        return replace(plain, queue_ND=keys_ND, queue_excluded_BN=excluded_BN)

    def after(self, batch: Batch, contrast: Contrast, encoder: TrainableEncoder, step: int) -> None:
        """Move the momentum encoder towards the encoder, then take the batch's keys up."""
        follow(self.momentum_encoder, encoder, momentum_at(step, self.steps, self.settings))
        self.ring.put(contrast.passage_PD.detach(), torch.tensor(batch.documents))

    def state(self) -> dict[str, Any]:
        """Give queue, documents and momentum encoder."""
        return {"ring": self.ring.state(), "momentum_encoder": self.momentum_encoder.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.ring.load(state["ring"])
        self.momentum_encoder.load_state_dict(state["momentum_encoder"])


def follow(key_encoder: torch.nn.Module, encoder: torch.nn.Module, momentum: float) -> None:
    """Set each key weight to momentum × itself + (1 − momentum) × the encoder's."""
    with torch.no_grad():
        torch._foreach_lerp_(list(key_encoder.parameters()), list(encoder.parameters()), 1 - momentum)


def momentum_at(step: int, steps: int, settings: QueueSettings) -> float:
    """Ramp the momentum from its start to its end by half a cosine over the run: .9995 has a half-life of 1,386 steps.

    Source: the schedule of Grill et al., BYOL, arXiv:2006.07733.
    """
    share = (1 - math.cos(math.pi * min(1.0, step / steps))) / 2
    return settings.momentum_start + (settings.momentum - settings.momentum_start) * share
