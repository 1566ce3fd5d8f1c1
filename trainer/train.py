"""▶ The main path: recipe → examples → steps → checkpoint → gate → a sentence-transformers folder.

Everything that decides a run's result follows from recipe, data, starting model and seed. The run's own files (log,
curves, checkpoints) lie in OUTPUT/training; OUTPUT becomes a model only when the gate lets it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexer.durable import storage_errors
from indexer.progress import SILENT, Progress
from trainer import checkpoint, distributed
from trainer.assemble import check
from trainer.cross_encoder import TrainableCrossEncoder
from trainer.cross_training import CrossTraining
from trainer.encoder import TrainableEncoder, best_device, load_trainable
from trainer.journal import Journal
from trainer.material import NOTHING, Beside
from trainer.output import TrainingReport, check_output, write_output
from trainer.recipe import CROSS, Recipe
from trainer.sources import kind_of, read_labels
from trainer.training import Training
from trainer.unlabelled import check_asked

WORK = "training"
CPU_TOKENS, GPU_TOKENS = 2048, 65_536  # padded tokens a block: what runs fastest without filling memory


def train(
    recipe: Recipe,
    data: Sequence[Path],
    output: Path,
    *,
    base: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 0,
    gate: bool = True,
    beside: Beside = NOTHING,
    progress: Progress = SILENT,
) -> TrainingReport:
    """Train a model by a recipe on ``data`` and write it to ``output``.

    ``resume`` continues an interrupted run of the same recipe, data and model at its exact example. Without ``gate``
    the model is kept whatever its held-out figures are. ``beside``: judged queries that must gain too, none of which
    is learnt from, and whom a run of pseudo queries may ask.
    Raises UsageError, DataError, ModelError, StorageError; Interruption's signals after a checkpoint is saved.
    """
    started = time.monotonic()
    place = distributed.start(best_device(device))
    work = output / WORK
    if distributed.rank() == 0:
        check_output(output, resume=resume)
    check(recipe)
    check_asked(recipe, beside.asked, progress)
    labels = read_labels(data, recipe.run.dev_share) if recipe.labelled else None
    for path in data:
        kind_of(path)  # says what is missing before a folder is made
    distributed.barrier()
    with storage_errors("making the output folder"):
        work.mkdir(parents=True, exist_ok=True)
    encoder = load_trainable(
        base,
        device=place,
        tokens=recipe.run.tokens or (GPU_TOKENS if place.type == "cuda" else CPU_TOKENS),
        dropout=None if recipe.run.dropout == -1 else recipe.run.dropout,
        from_scratch=recipe.run.seed if recipe.run.from_scratch else None,
        checkpointing=recipe.run.checkpointing,
        progress=progress,
    )
    run = make_run(recipe, data, work, encoder, labels, base, beside, progress)
    state = checkpoint.load(work, checkpoint.LATEST) if resume else None
    if resume and state is None:
        progress.note(f"{output}: no checkpoint, so training starts at the beginning")
    with Journal(work if distributed.rank() == 0 else None, progress, append=state is not None) as journal:
        run.begin(state, journal)
        run.loop(journal, workers)
        verdict, after = run.finish(journal)
    report = TrainingReport(
        output,
        verdict.kept or not gate,
        verdict.reason,
        run.done,
        run.done * run.batches.size,
        time.monotonic() - started,
        run.dev.kind,
        run.before,
        after,
    )
    if distributed.rank() == 0:
        run.tidy()
        facts = {
            "base": encoder.folder.name,
            "data": [path.resolve().name for path in data],
            "documents": len(run.corpus),
            "examples": len(run.batches.examples),
            "batch": run.batches.size,
            "seed": recipe.run.seed,
            "queries": len(run.dev),
            "searched": len(run.dev.documents),
        }
        write_output(report, run.encoder, recipe, work, facts)
    distributed.barrier()
    return report


def make_run(recipe: Recipe, data: Sequence[Path], work: Path, encoder: TrainableEncoder, *rest: Any) -> Training:
    """Make the run for what a recipe makes: an encoder, or a cross-encoder of one."""
    if recipe.model.kind == CROSS:
        return CrossTraining(recipe, data, work, TrainableCrossEncoder(encoder, recipe.run.seed), *rest)
    return Training(recipe, data, work, encoder, *rest)
