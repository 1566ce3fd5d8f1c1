"""InfoNCE: tell an anchor's passage from the batch's other passages and from a queue of earlier ones."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.batch import Contrast
from trainer.objectives.similarity import scores, similarity
from trainer.settings import rates, within

TEMPERATURE_MIN, TEMPERATURE_MAX = 0.01, 1.0  # of a learned one; below, a single negative can rule a whole step


class InfoNCE(nn.Module):  # type: ignore[misc]  # mypy follows no import into torch
    """The mean loss in nats of picking each anchor's target among passages and queued keys.

    ``learned`` makes the temperature a parameter, held in [0.01, 1]. ``symmetric`` averages with the batch read from
    passage to anchor. ``dual`` is the share, 0 to 1, of the loss of the target as the anchor against the queue.
    ``queue_share`` is what a queued key counts in a denominator, a passage of the batch counting 1; 0 leaves the queue
    out. ``hardest`` is the share of the queue kept for an anchor, its most similar keys; before that, keys more similar
    than ``ceiling`` times the positive are dropped as likely false negatives (1 drops none). ``beside`` is the share of
    the loss that takes what stands beside the cosines into the scores; the rest asks for the passage by cosines alone.
    Raises UsageError for a setting out of its range.
    Source: van den Oord et al., arXiv:1807.03748; the queue, He et al., arXiv:1911.05722; ``dual`` and ``hardest``,
    Hoang et al., arXiv:2501.16360; ``ceiling``, de Souza P. Moreira et al., arXiv:2407.15831, of mined negatives.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        learned: bool = False,
        symmetric: bool = False,
        queue_share: float = 1.0,
        dual: float = 0.0,
        hardest: float = 1.0,
        ceiling: float = 1.0,
        beside: float = 1.0,
    ) -> None:
        super().__init__()
        if learned:
            within("temperature", temperature, TEMPERATURE_MIN, TEMPERATURE_MAX)
        within("temperature", temperature, 1e-4)
        rates(queue_share=queue_share, dual=dual, hardest=hardest, ceiling=ceiling, beside=beside)
        self.symmetric, self.queue_share, self.dual = symmetric, queue_share, dual
        self.hardest, self.ceiling, self.beside = hardest, ceiling, beside
        logarithm = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(logarithm) if learned else None
        self._temperature = temperature

    @property
    def temperature(self) -> Tensor | float:
        """What similarities are divided by; a learned one is put back into its range first."""
        if self.log_temperature is None:
            return self._temperature
        with torch.no_grad():  # a clamp within the graph has no gradient outside: the parameter could never return
            self.log_temperature.clamp_(math.log(TEMPERATURE_MIN), math.log(TEMPERATURE_MAX))
        return self.log_temperature.exp()

    def forward(self, contrast: Contrast) -> Tensor:
        """Compute the mean loss of a contrast."""
        if contrast.beside_BP is None or self.beside == 1:
            return self.loss(contrast)
        alone = self.loss(replace(contrast, beside_BP=None))
        return alone if self.beside == 0 else self.beside * self.loss(contrast) + (1 - self.beside) * alone

    def loss(self, contrast: Contrast) -> Tensor:
        """Compute the mean loss by one kind of score."""
        temperature = self.temperature
        similarity_BP = scores(contrast)
        target_B, excluded_BP = contrast.target_B, contrast.excluded_BP
        positive_B = similarity_BP.gather(1, target_B[:, None])[:, 0]
        queue_ND = contrast.queue_ND if self.queue_share > 0 else None
        keys = None if queue_ND is None else self._negatives(contrast.query_BD, queue_ND, positive_B, contrast)
        loss = info_nce(similarity_BP, target_B, excluded_BP, temperature, keys)
        if self.symmetric:
            loss = (loss + reverse_info_nce(similarity_BP, target_B, excluded_BP, temperature)) / 2
        if self.dual > 0 and queue_ND is not None:
            keys = self._negatives(contrast.passage_PD[target_B], queue_ND, positive_B, contrast)
            alone_B = torch.zeros_like(target_B)
            other = info_nce(positive_B[:, None], alone_B, alone_B[:, None] > 0, temperature, keys)
            loss = (1 - self.dual) * loss + self.dual * other
        return loss

    def _negatives(self, anchor_BD: Tensor, queue_ND: Tensor, positive_B: Tensor, contrast: Contrast) -> Keys:
        key_BN = similarity(anchor_BD, queue_ND)
        kept_BN = select(key_BN, positive_B, contrast.queue_excluded_BN, self.hardest, self.ceiling)
        return Keys(key_BN, kept_BN, self.queue_share)


class Keys(NamedTuple):
    """Queued keys as negatives: their similarities [B, N], which of them count, and how much each (above 0)."""

    similarity: Tensor
    kept: Tensor
    weight: float = 1.0


def info_nce(
    similarity_BP: Tensor, target_B: Tensor, excluded_BP: Tensor, temperature: Tensor | float, keys: Keys | None = None
) -> Tensor:
    """Pick each row's target among the columns not excluded and the queued keys: the mean loss in nats, a scalar.

    The target counts even where it is marked excluded.
    Source: van den Oord et al., arXiv:1807.03748, equation 4.
    """
    columns = torch.arange(similarity_BP.shape[1], device=similarity_BP.device)
    excluded_BP = excluded_BP & (columns != target_B[:, None])
    # masked after the division: the temperature's own gradient would be -inf × 0 otherwise
    logits = (similarity_BP / temperature).masked_fill_(excluded_BP, -torch.inf)
    if keys is not None:
        queue_BN = (keys.similarity / temperature).add_(math.log(keys.weight)).masked_fill_(~keys.kept, -torch.inf)
        logits = torch.cat([logits, queue_BN], dim=1)
    return functional.cross_entropy(logits, target_B)


def reverse_info_nce(
    similarity_BP: Tensor, target_B: Tensor, excluded_BP: Tensor, temperature: Tensor | float
) -> Tensor:
    """Pick, for each anchor's target, that anchor among the batch's anchors: the mean loss in nats, a scalar.

    Another anchor does not count where the passage is excluded for it, or is its target too.
    """
    # [passage of row i, anchor j]: transposed, so that a row is a passage's choice among anchors
    choice_BB = similarity_BP[:, target_B].T
    unfit_BB = excluded_BP[:, target_B].T | (target_B[:, None] == target_B)
    return info_nce(choice_BB, torch.arange(len(target_B), device=target_B.device), unfit_BB, temperature)


def select(
    key_BN: Tensor, positive_B: Tensor, excluded_BN: Tensor | None, hardest: float = 1.0, ceiling: float = 1.0
) -> Tensor:
    """Choose each anchor's negatives among queued keys by their similarity to it: bool [B, N], True where one counts.

    First go those excluded, and those above ``ceiling`` times the positive's similarity (none where it is 1); then all
    but the ``hardest`` share of the queue, at least one, that is most similar; ties at its edge stay.
    """
    key_BN = key_BN.detach()
    kept_BN = torch.ones_like(key_BN, dtype=torch.bool) if excluded_BN is None else ~excluded_BN
    if ceiling < 1:
        kept_BN = kept_BN & (key_BN <= ceiling * positive_B[:, None])
    if hardest < 1:
        count = min(key_BN.shape[1], max(1, round(hardest * key_BN.shape[1])))
        left_BN = key_BN.masked_fill(~kept_BN, -torch.inf)
        kept_BN = kept_BN & (left_BN >= left_BN.topk(count, dim=1).values[:, -1:])
    return kept_BN
