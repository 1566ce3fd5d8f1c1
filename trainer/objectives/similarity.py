"""What objectives read off a contrast: similarities in full precision, and those that a teacher scored."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from indexer.errors import UsageError
from trainer.batch import Contrast


def similarity(query_BD: Tensor, passage_PD: Tensor) -> Tensor:
    """Compare every query with every passage: dot products [B, P], in float32 at least.

    Autocast is left: in bfloat16 a cosine is off by up to 0.004, which a temperature of 0.05 makes 0.08 nats.
    """
    with torch.autocast(query_BD.device.type, enabled=False):
        return precise(query_BD) @ precise(passage_PD).T


def scores(contrast: Contrast) -> Tensor:
    """Give the score of every anchor and passage, [B, P]: cosines, or those of pairs that the model read.

    What stands beside the cosines is added: the model then learns what that does not tell already.
    """
    if contrast.score_BP is not None:
        return precise(contrast.score_BP)
    cosines = similarity(contrast.query_BD, contrast.passage_PD)
    return cosines if contrast.beside_BP is None else cosines + precise(contrast.beside_BP)


def precise(tensor: Tensor) -> Tensor:
    """Widen half precision to float32; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class Judged(NamedTuple):
    """The anchors that a teacher scored, and only those: three [rows, C], the positive in the first column.

    ``present`` marks the columns in use; every row has one at least.
    """

    score: Tensor
    teacher: Tensor
    present: Tensor


def judged(contrast: Contrast, similarity_BP: Tensor) -> Judged:
    """Pick the similarities that the teacher scored too.

    Raises UsageError when the data has no teacher's scores at all; a batch in which no anchor happens to have any
    (listed -1 throughout) gives no rows.
    """
    listed_BC, teacher_BC = contrast.listed_BC, contrast.teacher_BC
    if listed_BC is None or teacher_BC is None:
        raise UsageError("this objective needs a teacher's scores or graded labels, and the data has none")
    present_BC = listed_BC >= 0
    score_BC = similarity_BP.gather(1, listed_BC.clamp(min=0))
    rows = present_BC.any(dim=1)
    return Judged(score_BC[rows], precise(teacher_BC)[rows], present_BC[rows])


def mean(values: Tensor) -> Tensor:
    """Average, with 0 for the mean of nothing; the graph is kept, so that a backward pass still runs."""
    return values.sum() / max(1, values.numel())
