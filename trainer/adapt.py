"""Adapt an encoder to a collection that nobody has judged: train by pseudo queries, keep only what measurably helps.

The recipe is ``adapt``; this adds where the text comes from, and the switch of an index to its new encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import searchengine
from benchmarks.endpoint import Endpoint
from indexer.errors import UsageError
from indexer.index import find_index
from indexer.options import Options
from indexer.progress import SILENT, Progress
from indexer.reencode import ReencodeReport, reencode
from trainer import distributed
from trainer.material import Beside
from trainer.output import TrainingReport
from trainer.recipe import load_recipe
from trainer.train import train
from trainer.unlabelled import Asked

RECIPE, TAUGHT_RECIPE = "adapt", "adapt-taught"


@dataclass(frozen=True)
class AdaptReport:
    """What an adaptation came to: the training, and the index's switch where there was one to make."""

    training: TrainingReport
    switched: ReencodeReport | None


def adapt(
    output: Path,
    *,
    data: Sequence[Path] = (),
    index: Path | None = None,
    base: str | None = None,
    recipe: str | None = None,
    changes: tuple[str, ...] = (),
    minutes: float | None = None,
    dev: Path | None = None,
    generator: Endpoint | None = None,
    teacher: str | None = None,
    switch: bool = True,
    resume: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> AdaptReport:
    """Train a better encoder for unlabelled text, and keep it only where held-out pseudo queries gain beyond chance.

    Either ``data`` (folders, BEIR folders, JSONL), or an ``index``: its own encoder is then the start, and where the
    new one is kept the index is encoded anew and switched over in one commit, unless ``switch`` is False. ``minutes``
    bounds the training steps. Where ``dev`` holds judged queries these must gain too; none of them is learnt from.
    ``generator``, a language model, is sent passages and asks for them, beside titles. ``teacher``, a cross-encoder,
    reads what the engine finds, and the encoder learns its scores (recipe ``adapt-taught`` unless another is named).
    Raises UsageError, DataError, ModelError, StorageError, IndexBusy.
    """
    if (index is None) == (not data):
        raise UsageError("give either --index or --data")
    name = recipe or (RECIPE if teacher is None else TAUGHT_RECIPE)
    extra = [] if minutes is None else [f"run.minutes={minutes:g}"]
    if generator is not None and not any(change.startswith("view.generated") for change in changes):
        extra.append("view.generated=1.0")
    loaded = load_recipe(name, (*changes, *extra))
    if loaded.view.kind != "pseudo":
        raise UsageError(f'recipe {loaded.name}: adapt needs view.kind = "pseudo" (others: searchengine train)')
    places = list(data)
    if index is not None:
        if base is not None:
            raise UsageError("an index starts from its own encoder: leave --base out")
        place = find_index(index)
        places = [place]
        with searchengine.open(place) as searcher:
            base = searcher.settings()["encoder"]["model"]
    beside = Beside(dev, Asked(generator, teacher))
    training = train(loaded, places, output, base=base, resume=resume, device=device, beside=beside, progress=progress)
    switched = None
    if index is not None and training.kept and switch and distributed.is_first():
        options = Options(model=str(output.resolve()), device=device, wait_s=60.0)
        switched = reencode(places[0], options, progress)
    return AdaptReport(training, switched)
