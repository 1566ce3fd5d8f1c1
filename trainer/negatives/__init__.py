"""What a pair is contrasted with: one kind a file, chosen by a recipe under its name in NEGATIVES.

Each encodes the passages of a batch in its way and makes the Contrast that the objective sees.
"""

from __future__ import annotations

from trainer.negatives.guide import Guide, GuideSettings
from trainer.negatives.hard import Hard, HardSettings
from trainer.negatives.inbatch import InBatch, InBatchSettings
from trainer.negatives.queue import Queue, QueueSettings

NEGATIVES: dict[str, tuple[type[InBatch], type]] = {
    "inbatch": (InBatch, InBatchSettings),
    "queue": (Queue, QueueSettings),
    "hard": (Hard, HardSettings),
    "guide": (Guide, GuideSettings),
}
