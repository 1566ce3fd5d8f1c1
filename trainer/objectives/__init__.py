"""What a step minimises: one objective a file, chosen by a recipe under its name in OBJECTIVES.

An objective is a function of a Contrast to a scalar, a torch module where it learns something itself; it knows nothing
of texts, encoders or optimisers.
"""

from __future__ import annotations

from torch import nn

from trainer.objectives.distillation import ListDistillation
from trainer.objectives.infonce import InfoNCE
from trainer.objectives.listwise import ListNet
from trainer.objectives.margin_mse import MarginMSE

OBJECTIVES: dict[str, type[nn.Module]] = {
    "infonce": InfoNCE,
    "margin_mse": MarginMSE,
    "distillation": ListDistillation,
    "listwise": ListNet,
}
TAUGHT = frozenset({"margin_mse", "distillation", "listwise"})  # these follow scores that a teacher or the qrels give
