"""List distillation: rank a list as a teacher does, and still tell it from the rest of the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.batch import Contrast
from trainer.objectives.infonce import InfoNCE
from trainer.objectives.similarity import Judged, judged, mean, scores
from trainer.settings import within


class ListDistillation(nn.Module):  # type: ignore[misc]  # mypy follows no import into torch
    """KL(teacher ‖ model) over each anchor's list, plus ``contrastive`` × InfoNCE; nats.

    The model's similarities are divided by ``temperature``, in both terms; the teacher's scores by
    ``teacher_temperature``. Anchors without a teacher's scores count in InfoNCE only.
    Raises UsageError for a setting out of its range, and for data without a teacher.
    Source: E5, Wang et al., arXiv:2212.03533, whose weight of the contrastive term is 0.2.
    """

    def __init__(self, temperature: float = 0.05, teacher_temperature: float = 1.0, contrastive: float = 0.2) -> None:
        super().__init__()
        within("teacher_temperature", teacher_temperature, 1e-4)
        within("contrastive", contrastive, 0)
        self.info_nce = InfoNCE(temperature)
        self.temperature, self.teacher_temperature, self.contrastive = temperature, teacher_temperature, contrastive

    def forward(self, contrast: Contrast) -> Tensor:
        """Compute the loss of a contrast: the mean over scored anchors, and the mean over all of them."""
        rows = judged(contrast, scores(contrast))
        loss = divergence(
            rows._replace(score=rows.score / self.temperature, teacher=rows.teacher / self.teacher_temperature)
        )
        return loss + self.contrastive * self.info_nce(contrast) if self.contrastive > 0 else loss


def divergence(rows: Judged) -> Tensor:
    """KL(softmax(teacher) ‖ softmax(score)) over the columns present: the mean over rows in nats, a scalar."""
    score, teacher = log_softmax(rows.score, rows.present), log_softmax(rows.teacher, rows.present)
    return mean((teacher.exp() * (teacher - score)).masked_fill(~rows.present, 0).sum(dim=1))


def log_softmax(values: Tensor, present: Tensor) -> Tensor:
    """Take log-probabilities over the columns present, one a row at least; the other columns hold 0."""
    return values.masked_fill(~present, -torch.inf).log_softmax(dim=1).masked_fill(~present, 0)
