"""What a run leaves: a model with its card where the gate lets it, a report in any case."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_line
from indexer.durable import storage_errors
from indexer.errors import UsageError
from trainer import checkpoint
from trainer.card import card
from trainer.corpus import TOKENS
from trainer.encoder import TrainableEncoder
from trainer.recipe import Recipe

REFUSED, REPORT = "refused", "report.json"


@dataclass(frozen=True)
class TrainingReport:
    """What a run came to. ``kept`` False: the gate refused the model, and OUTPUT holds only the run's log."""

    output: Path
    kept: bool
    reason: str
    steps: int
    examples: int
    seconds: float
    evaluated: str
    before: dict[str, float]
    after: dict[str, float]


def check_output(output: Path, *, resume: bool) -> None:
    """Refuse an output that would be written over. Raises UsageError."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: a file; --output names a folder")
    if not resume and output.is_dir() and any(output.iterdir()):
        raise UsageError(f"{output}: not empty (choose another --output, or --resume an interrupted run)")


def write_output(
    report: TrainingReport, encoder: TrainableEncoder, recipe: Recipe, work: Path, facts: dict[str, Any]
) -> None:
    """Write the model where the gate lets it, and tidy up the run's folder."""
    output = report.output
    if report.kept:
        known = {**dataclasses.asdict(report), **facts, "name": output.resolve().name, "machine": machine_line()}
        with storage_errors("writing the model"):
            encoder.save(output)
            (output / "README.md").write_text(card(recipe, known), encoding="utf-8")
    else:
        checkpoint.save(work, REFUSED, {"encoder": checkpoint.weights(encoder)})
    with storage_errors("writing the report"):
        told = {**dataclasses.asdict(report), "output": str(output), "recipe": recipe.as_dict()}
        (work / REPORT).write_text(json.dumps(told, indent=1, default=str) + "\n", encoding="utf-8")
    for name in (checkpoint.LATEST, checkpoint.BEST, TOKENS):
        shutil.rmtree(work / name, ignore_errors=True)
