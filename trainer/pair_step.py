"""One step of a model that reads pairs: each anchor with its own candidates → scores → loss → gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer import distributed
from trainer.batch import Batch, Contrast, Ids
from trainer.cross_encoder import TrainableCrossEncoder
from trainer.encoder import autocast
from trainer.randomness import mix
from trainer.step import Stepper


class PairStepper(Stepper):
    """Scores what stands in ``Batch.candidates``; the other passages of the batch are no negatives of an anchor.

    ``cached``: scores first, without activations, the loss's gradients with respect to them, then each block again, as
    GradCache does with vectors; so a batch may be as large as one likes.
    """

    encoder: TrainableCrossEncoder

    def backward(self, batch: Batch, step: int) -> Tensor:
        """Compute the batch's loss and this process's part of its gradients."""
        pairs = [
            (anchor, batch.passages[at])
            for anchor, own in zip(batch.anchors, batch.candidates, strict=True)
            for at in own
        ]
        lengths = [len(query) + len(passage) for query, passage in pairs]
        own = [pairs[number] for number in distributed.share(lengths)]
        if not self.cached:
            torch.manual_seed(mix(mix(self.seed) ^ mix(step)) >> 1)
            with autocast(self.encoder.device, enabled=self.bfloat16):
                scores = self.encoder(own)
            loss = self.loss_of(batch, scores, lengths)
            loss.backward()
            return loss
        with torch.no_grad():
            leaf = torch.cat([self.block(own, number, step) for number in range(len(self.encoder.blocks(own)))])
        leaf.requires_grad_()
        order = [at for block in self.encoder.blocks(own) for at in block]
        back = torch.argsort(torch.tensor(order, device=leaf.device))
        loss = self.loss_of(batch, leaf[back], lengths)
        loss.backward()
        start = 0
        for number, block in enumerate(self.encoder.blocks(own)):
            scores = self.block(own, number, step)
            if leaf.grad is not None:
                (scores * leaf.grad[start : start + len(block)]).sum().backward()
            start += len(block)
        return loss

    def block(self, pairs: list[tuple[Ids, Ids]], number: int, step: int) -> Tensor:
        """Score one block; its dropout follows from step and block."""
        self.seed_block(step, 0, number)
        with autocast(self.encoder.device, enabled=self.bfloat16):
            return self.encoder.score_block([pairs[at] for at in self.encoder.blocks(pairs)[number]])

    def loss_of(self, batch: Batch, scores: Tensor, lengths: list[int]) -> Tensor:
        """Gather everyone's scores [own pairs] and apply the objective."""
        every = distributed.gather(scores[None, :, None], lengths)[0, :, 0]
        self.last = contrast(batch, every)
        return self.regulariser(self.objective, [self.last])


def contrast(batch: Batch, scores: Tensor) -> Contrast:
    """Spread the scores [pairs] of every anchor's candidates over the batch; what was not read is excluded."""
    device = scores.device
    rows = torch.tensor([row for row, own in enumerate(batch.candidates) for _ in own], device=device)
    columns = torch.tensor([at for own in batch.candidates for at in own], device=device)
    shape = (len(batch.anchors), len(batch.passages))
    score_BP = torch.zeros(shape, device=device).index_put((rows, columns), scores)
    unread_BP = torch.ones(shape, dtype=torch.bool, device=device)
    unread_BP[rows, columns] = False
    return Contrast(
        scores.new_zeros(shape[0], 0),
        scores.new_zeros(shape[1], 0),
        batch.target_B.to(device),
        batch.excluded_BP.to(device) | unread_BP,
        listed_BC=None if batch.listed_BC is None else batch.listed_BC.to(device),
        teacher_BC=None if batch.teacher_BC is None else batch.teacher_BC.to(device),
        score_BP=score_BP,
    )
