"""One optimisation step: batch → vectors → contrast → loss → gradients → weights.

Plain: all blocks keep their activations until the backward pass. Cached (GradCache): vectors first, without
activations; the loss's gradients with respect to them; then each block again with its activations alone, so that the
batch may be as large as one likes. Both give the same gradients.
Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup", arXiv:2101.06983.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from indexer.errors import DataError
from trainer import distributed
from trainer.batch import Batch, Contrast, Ids
from trainer.encoder import TrainableEncoder, autocast, blocks
from trainer.negatives.inbatch import InBatch
from trainer.randomness import mix
from trainer.regularisers import Regulariser
from trainer.start import StartModel


@dataclass(frozen=True)
class Side:
    """Texts of one kind to encode with gradients."""

    texts: Sequence[Ids]
    query: bool


class Stepper:
    """What a step needs, together: encoder, negatives, objective, regulariser."""

    def __init__(
        self,
        encoder: TrainableEncoder,
        negatives: InBatch,
        objective: nn.Module,
        regulariser: Regulariser,
        *,
        seed: int,
        start: StartModel | None = None,
        cached: bool = False,
        bfloat16: bool | None = None,
    ) -> None:
        self.encoder = encoder
        self.negatives = negatives
        self.objective = objective
        self.regulariser = regulariser
        self.seed = seed
        self.start = start  # where the regulariser holds on to it
        self.cached = cached
        self.bfloat16 = bfloat16
        self.last: Contrast | None = None  # for the log

    def gradients(self, batch: Batch, step: int) -> float:
        """Compute the batch's loss and add its gradients to the parameters, summed over processes.

        Raises DataError when the loss is not finite: weights that follow it are lost.
        """
        loss = self.backward(batch, step)
        value = float(loss.detach())
        if not torch.isfinite(loss.detach()):
            raise DataError(f"step {step}: the loss is {value}; lower run.learning_rate or raise objective.temperature")
        distributed.sum_gradients(self.encoder.parameters())
        return value

    def backward(self, batch: Batch, step: int) -> Tensor:
        """Compute the batch's loss and this process's part of its gradients."""
        layers = self.regulariser.layers(step, self.encoder.depth)
        keys_PD = self.negatives.keys(batch)
        sides = [Side(batch.anchors, query=True)]
        if keys_PD is None:
            sides.append(Side(batch.passages, query=False))
        if self.cached:
            return self.through_cache(batch, sides, keys_PD, layers, step)
        # dropout follows from the step, so that a resumed run agrees
        torch.manual_seed(mix(mix(self.seed) ^ mix(step)) >> 1)
        with autocast(self.encoder.device, enabled=self.bfloat16):
            rows = [self.encode(side, layers) for side in sides]
        loss = self.loss(batch, rows, keys_PD, layers)
        loss.backward()
        return loss

    def encode(self, side: Side, layers: tuple[int, ...]) -> Tensor:
        """Encode this process's share and gather everyone's: [S, n, D]."""
        return distributed.encode(self.encoder, side.texts, query=side.query, layers=layers)

    def loss(self, batch: Batch, rows: list[Tensor], keys_PD: Tensor | None, layers: tuple[int, ...]) -> Tensor:
        """Make one contrast a layer and apply regulariser and objective, in float32."""
        contrasts = [
            self.negatives.contrast(batch, rows[0][at], keys_PD if keys_PD is not None else rows[1][at])
            for at in range(len(layers))
        ]
        if self.start is not None:
            query_BD = self.start.vectors(batch.anchors, query=True)
            passage_PD = self.start.vectors(batch.passages, query=False)
            contrasts[-1] = replace(contrasts[-1], start_query_BD=query_BD, start_passage_PD=passage_PD)
        self.last = contrasts[-1]
        return self.regulariser(self.objective, contrasts)

    def through_cache(
        self, batch: Batch, sides: list[Side], keys_PD: Tensor | None, layers: tuple[int, ...], step: int
    ) -> Tensor:
        """Compute gradients block by block; dropout is the same in both passes of a block."""
        leaves: list[Tensor] = []
        with torch.no_grad(), autocast(self.encoder.device, enabled=self.bfloat16):
            for number, side in enumerate(sides):
                parts, order = [], []
                for at, block in enumerate(self.own_blocks(side)):
                    self.seed_block(step, number, at)
                    parts.append(
                        self.encoder.encode_block([side.texts[n] for n in block], query=side.query, layers=layers)
                    )
                    order += block
                leaves.append(torch.cat(parts, dim=1).requires_grad_())
        gathered = [
            distributed.gather(leaf, [len(ids) for ids in side.texts]) for leaf, side in zip(leaves, sides, strict=True)
        ]
        loss = self.loss(batch, gathered, keys_PD, layers)
        loss.backward()
        for number, (side, leaf) in enumerate(zip(sides, leaves, strict=True)):
            start = 0
            for at, block in enumerate(self.own_blocks(side)):
                self.seed_block(step, number, at)
                with autocast(self.encoder.device, enabled=self.bfloat16):
                    rows = self.encoder.encode_block([side.texts[n] for n in block], query=side.query, layers=layers)
                if leaf.grad is not None:
                    (rows * leaf.grad[:, start : start + len(block)]).sum().backward()
                start += len(block)
        return loss

    def own_blocks(self, side: Side) -> Iterator[list[int]]:
        """Cut this process's share into blocks, in the order that ``distributed.share`` gives."""
        lengths = [len(ids) for ids in side.texts]
        own = distributed.share(lengths)
        for block in blocks([lengths[number] for number in own], self.encoder.tokens):
            yield [own[place] for place in block]

    def seed_block(self, step: int, side: int, block: int) -> None:
        """Set the generator that dropout draws from."""
        torch.manual_seed(mix(mix(self.seed) ^ mix(step) ^ mix(side * 65_537 + block + 1)) >> 1)


def optimiser(
    encoder: nn.Module, objective: nn.Module, *, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Make AdamW, with decay on matrices alone: not on biases, norms and temperatures."""
    matrices = [p for p in encoder.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in encoder.parameters() if p.requires_grad and p.ndim <= 1]
    vectors += list(objective.parameters())
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def rate_at(step: int, steps: int, peak: float, warmup: float) -> float:
    """Raise the learning rate linearly over the first ``warmup`` share of the steps, then lower it linearly to 0."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * max(0, steps - step) / max(1, steps - rising)
