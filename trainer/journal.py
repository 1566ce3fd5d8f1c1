"""What a run says of itself: lines for the terminal, JSONL and TensorBoard for programs, a PNG of the curves.

Alignment and uniformity as in Wang & Isola, arXiv:2005.10242. Knows nothing of how a step is made.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from benchmarks.outputs import write_whole
from indexer.progress import Progress
from trainer.batch import Contrast
from trainer.objectives.similarity import scores
from trainer.regularisers.uniformity import alignment, uniformity

LOG = "log.jsonl"
CURVES = "curves.png"
EVERY = 10  # steps between lines


class Journal:
    """Collects a run's figures; process 0 alone has a folder, the others stay silent."""

    def __init__(self, folder: Path | None, progress: Progress, *, append: bool = False) -> None:
        self.progress = progress
        self.folder = folder
        self.board: Any = None
        self.file = None
        if folder is not None:
            self.file = (folder / LOG).open("a" if append else "w", encoding="utf-8")
            self.board = tensorboard(folder)
        self.started = time.monotonic()
        self.losses: list[float] = []
        self.examples = self.tokens = 0

    def __enter__(self) -> Journal:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the files."""
        if self.file is not None:
            self.file.close()
        if self.board is not None:
            self.board.close()

    def step(self, step: int, steps: int, loss: float, examples: int, tokens: int, rate: float, norm: float) -> bool:
        """Count one step; True when its line is due and ``write`` should be called with more figures."""
        self.losses.append(loss)
        self.examples += examples
        self.tokens += tokens
        self.progress.advance(detail=f"loss {loss:.3f}")
        return (step + 1) % EVERY == 0 or step + 1 == steps

    def line(self, step: int, contrast: Contrast | None, rate: float, norm: float) -> dict[str, float]:
        """Write the figures since the last line."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        figures = {
            "loss": sum(self.losses) / max(1, len(self.losses)),
            "learning_rate": rate,
            "gradient_norm": norm,
            "examples_per_second": self.examples / seconds,
            "tokens_per_second": self.tokens / seconds,
        }
        if contrast is not None:
            figures |= geometry(contrast)
        self.record({"step": step + 1, **figures})
        self.started, self.losses, self.examples, self.tokens = time.monotonic(), [], 0, 0
        return figures

    def restart(self) -> None:
        """Count time from now: what was done since the last line was no training."""
        self.started = time.monotonic()

    def exclude(self, seconds: float) -> None:
        """Leave out of the rates what was no training: an evaluation between two lines."""
        self.started += seconds

    def evaluation(self, step: int, kind: str, means: dict[str, float]) -> None:
        """Write an evaluation's figures and say them."""
        self.record({"step": step, "evaluated": kind, **means})
        figures = ", ".join(f"{name} {means[name]:.4f}" for name in ("nDCG@10", "R@100"))
        self.progress.note(f"step {step:,}: {kind} {figures}")

    def record(self, figures: dict[str, Any]) -> None:
        """Append one line to the log, and its numbers to TensorBoard."""
        if self.file is None:
            return
        rounded = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in figures.items()
        }
        self.file.write(json.dumps(rounded) + "\n")
        self.file.flush()
        if self.board is not None:
            prefix = f"{figures['evaluated']}/" if "evaluated" in figures else "train/"
            for name, value in rounded.items():
                if isinstance(value, float):
                    self.board.add_scalar(prefix + name, value, figures.get("step", 0))


def geometry(contrast: Contrast) -> dict[str, float]:
    """Describe a batch: similarity of positives and negatives, how often the positive wins, alignment, uniformity.

    The last two are those of vectors: a model that reads pairs has none.
    """
    with torch.no_grad():
        similarity_BP = scores(replace(contrast, beside_BP=None))  # what stands beside cosines is not learnt
        positive_B = similarity_BP.gather(1, contrast.target_B[:, None])[:, 0]
        rows = torch.arange(len(positive_B), device=similarity_BP.device)
        counted = ~contrast.excluded_BP
        counted[rows, contrast.target_B] = False
        negatives = similarity_BP[counted]
        best_B = similarity_BP.masked_fill(~counted, -torch.inf).max(dim=1).values
        figures = {
            "positive_similarity": mean(positive_B),
            "negative_similarity": mean(negatives),
            "accuracy": mean((positive_B > best_B).float()),
        }
        if contrast.score_BP is None:
            figures["alignment"] = float(alignment(contrast.query_BD, contrast.passage_PD[contrast.target_B]))
        if contrast.score_BP is None and len(rows) > 1:
            figures["uniformity"] = float(uniformity(contrast.query_BD))
        if contrast.queue_ND is not None:
            figures["queued"] = float(len(contrast.queue_ND))
        return figures


def mean(values: Tensor) -> float:
    """Average values; none give 0."""
    return float(values.mean()) if values.numel() else 0.0


def tensorboard(folder: Path) -> Any:
    """Open a TensorBoard writer where the package is installed; None without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def draw(folder: Path) -> Path | None:
    """Draw the log's curves: loss, held-out nDCG@10, similarities; None without matplotlib or without lines."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "evaluated" in line]
    if not steps:
        return None
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    at = [line["step"] for line in steps]
    left.plot(at, [line["loss"] for line in steps], color="tab:blue")
    left.set(title="loss", xlabel="step")
    for kind in dict.fromkeys(line["evaluated"] for line in evaluations):
        chosen = [line for line in evaluations if line["evaluated"] == kind]
        middle.plot([line["step"] for line in chosen], [line["nDCG@10"] for line in chosen], marker="o", label=kind)
    middle.set(title="nDCG@10, held out", xlabel="step")
    if evaluations:
        middle.legend()
    for name in ("positive_similarity", "negative_similarity"):
        right.plot(at, [line.get(name) for line in steps], label=name.replace("_", " "))
    right.set(title="cosine", xlabel="step")
    right.legend()
    target = folder / CURVES
    with write_whole(target) as part:
        figure.savefig(part, format="png", dpi=110)
    return target
