"""ListNet: put an anchor's passages in the order of their grades."""

from __future__ import annotations

from torch import Tensor, nn

from trainer.batch import Contrast
from trainer.objectives.distillation import log_softmax
from trainer.objectives.similarity import Judged, judged, mean, scores
from trainer.settings import within


class ListNet(nn.Module):  # type: ignore[misc]  # mypy follows no import into torch
    """The cross-entropy of the model's top-one probabilities under those of the graded labels; nats.

    Similarities are divided by ``temperature``, grades by ``grade_temperature``: the smaller it is, the more the best
    grade counts alone. Raises UsageError for a setting out of its range, and for data without grades.
    Source: Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007, section 4.
    """

    def __init__(self, temperature: float = 0.05, grade_temperature: float = 1.0) -> None:
        super().__init__()
        within("temperature", temperature, 1e-4)
        within("grade_temperature", grade_temperature, 1e-4)
        self.temperature, self.grade_temperature = temperature, grade_temperature

    def forward(self, contrast: Contrast) -> Tensor:
        """Compute the mean loss over the graded anchors of a contrast; 0 where it has none."""
        rows = judged(contrast, scores(contrast))
        return top_one(
            rows._replace(score=rows.score / self.temperature, teacher=rows.teacher / self.grade_temperature)
        )


def top_one(rows: Judged) -> Tensor:
    """Cross-entropy of softmax(score) under softmax(grades) over the columns present: the mean over rows, a scalar."""
    grade = log_softmax(rows.teacher, rows.present).exp()
    return -mean((grade * log_softmax(rows.score, rows.present)).sum(dim=1))
