"""Margin-MSE: learn how much better than each negative a teacher finds the positive, not how good either is."""

from __future__ import annotations

from torch import Tensor, nn

from trainer.batch import Contrast
from trainer.objectives.similarity import Judged, judged, mean, scores
from trainer.settings import within


class MarginMSE(nn.Module):  # type: ignore[misc]  # mypy follows no import into torch
    """The mean squared difference between the model's and the teacher's margins; in the teacher's units squared.

    ``scale`` brings cosine similarities to the teacher's range: unit vectors have margins of 2 at most, a
    cross-encoder's logits of 20. Raises UsageError where it is not positive, and for data without a teacher.
    Source: Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
    Distillation", arXiv:2010.02666.
    """

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        within("scale", scale, 1e-4)
        self.scale = scale

    def forward(self, contrast: Contrast) -> Tensor:
        """Compute the mean loss over the margins of a contrast; 0 where it has none."""
        rows = judged(contrast, scores(contrast))
        return margin_mse(rows._replace(score=rows.score * self.scale))


def margin_mse(rows: Judged) -> Tensor:
    """Compare margins of the first column over each other one that is present: the mean square, a scalar."""
    margins = rows.score[:, :1] - rows.score[:, 1:]
    wanted = rows.teacher[:, :1] - rows.teacher[:, 1:]
    return mean(((margins - wanted) ** 2)[rows.present[:, 1:]])
