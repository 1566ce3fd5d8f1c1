"""One run of a recipe: what it begins with, its steps, its checkpoints, and what it is found to be worth at its end."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash

from benchmarks.metrics import Measured
from indexer.errors import UsageError
from indexer.progress import Progress
from searchengine import Searcher
from trainer import checkpoint, distributed
from trainer.assemble import make_negatives, make_objective, make_regulariser
from trainer.averaging import Averaging
from trainer.batch import Batch
from trainer.data import LabelledExamples
from trainer.encoder import TrainableEncoder
from trainer.evaluate import FUSED, MEASURE, evaluate, pooled
from trainer.gate import Verdict, judge, judge_also, judge_gain
from trainer.interrupt import Interruption
from trainer.journal import Journal, draw
from trainer.material import Beside, Material, gather
from trainer.mine import build_index, mine_with_engine, mine_with_vectors
from trainer.negatives.hard import HardSettings, Mined
from trainer.objectives import TAUGHT
from trainer.recipe import Recipe
from trainer.regularisers.preserving import Preserving
from trainer.sources import Labelled, Labels, read_texts
from trainer.start import StartModel
from trainer.step import Stepper, optimiser, rate_at
from trainer.unlabelled import INDEX

HeldOut = Any  # a DevSet, or what another kind of run is judged by: it has a kind, a length and documents


class Training:
    """A run between its beginning and its end."""

    def __init__(
        self,
        recipe: Recipe,
        data: Sequence[Path],
        work: Path,
        encoder: TrainableEncoder,
        labels: Labels | None,
        base: str | Path | None,
        beside: Beside,
        progress: Progress,
    ) -> None:
        self.recipe, self.run = recipe, recipe.run
        self.data, self.work, self.base, self.progress = data, work, base, progress
        self.encoder = encoder
        self.labels = labels
        self.material = self.gather(beside)
        self.corpus, self.batches, self.dev = self.material.corpus, self.material.batches, self.material.dev
        self.steps = self.run.steps or self.batches.steps(self.run.epochs)
        self.negatives = make_negatives(recipe)
        self.objective = make_objective(recipe).to(encoder.device)
        self.regulariser = make_regulariser(recipe)
        self.regulariser.check(encoder.width)
        self.stepper = self.make_stepper()
        self.optimiser = optimiser(
            encoder, self.objective, learning_rate=self.run.learning_rate, weight_decay=self.run.weight_decay
        )
        self.done = 0
        self.spent_s = 0.0  # in steps, evaluations not counted
        self.before: dict[str, float] = {}
        self.each: list[dict[str, dict[str, float]]] = []  # each held-out query at the start by measure, a set each
        self.best: tuple[float, int] = (-1.0, 0)  # pooled nDCG@10 and its step
        self.quick: HeldOut | None = None

    def make_stepper(self) -> Stepper:
        """Make what takes a step."""
        return Stepper(
            self.encoder,
            self.negatives,
            self.objective,
            self.regulariser,
            seed=self.run.seed,
            start=StartModel(self.encoder) if isinstance(self.regulariser, Preserving) else None,
            cached=self.run.cached,
        )

    def gather(self, beside: Beside) -> Material:
        """Read the data and hold out what the run is judged by."""
        return gather(self.recipe, self.data, self.work, self.encoder, self.labels, self.base, beside, self.progress)

    def at_start(self, dev: HeldOut, journal: Journal) -> Measured:
        """Measure what the run starts from."""
        return self.evaluate(dev, 0, journal)

    def quick_set(self, pool: list[int] | None = None) -> HeldOut:
        """Make the set for evaluations during the run; ``pool``: which places of the whole set an earlier run chose."""
        if pool is None:
            return pooled(self.dev, self.encoder)
        return dataclasses.replace(
            self.dev,
            kind=f"{self.dev.kind}, pooled",
            documents=self.dev.documents[pool],
            passages=[self.dev.passages[at] for at in pool],
            words=None,
        )

    def measure(self, dev: HeldOut) -> Measured:
        """Measure the encoder as it is."""
        return evaluate(self.encoder, dev, self.progress)

    def tidy(self) -> None:
        """Remove what only the run needed."""

    # beginning, steps, end

    def begin(self, state: dict[str, Any] | None, journal: Journal) -> None:
        """Evaluate the start and mine, or take up a checkpoint."""
        self.averaging = Averaging(self.encoder, self.run.mean_share, self.run.start_share)
        self.negatives.start(self.encoder, self.steps, len(self.corpus))
        if state is None:
            started = [self.at_start(dev, journal) for dev in self.material.devs]
            self.before, self.each = started[0].means, [judged_by(found) for found in started]
            if self.run.evaluate_every:
                self.quick = self.quick_set()
                self.best = (self.at_start(self.quick, journal).means[MEASURE], 0)
            if self.recipe.negatives.kind == "hard" and isinstance(self.batches.examples, LabelledExamples):
                self.batches.examples.mined = distributed.from_first(self.mine_first)
            self.check_teacher()
            return
        if state["fingerprint"] != self.fingerprint():
            raise UsageError(
                f"{self.work}: the checkpoint is of another recipe, model or data (run it as it was begun, "
                "or train anew into another --output)"
            )
        self.encoder.load_state_dict(state["encoder"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.objective.load_state_dict(state["objective"])
        self.negatives.load(state["negatives"])
        self.averaging.load(state["averaging"], self.encoder.device)
        self.done, self.before, self.best = int(state["done"]), state["before"], tuple(state["best"])
        self.each, self.spent_s = state["each"], float(state["spent_s"])
        if isinstance(self.batches.examples, LabelledExamples):
            self.batches.examples.mined = {
                key: Mined(*(tuple(values) for values in found)) for key, *found in state["mined"]
            }
        if self.run.evaluate_every:
            self.quick = self.quick_set(state["pool"])
        self.progress.note(f"resumed at step {self.done:,} of {self.steps:,}")

    def check_teacher(self) -> None:
        """Refuse an objective that follows a teacher where no candidate has a score. Raises UsageError."""
        examples = self.batches.examples
        if self.recipe.objective.kind in TAUGHT and isinstance(examples, LabelledExamples) and not examples.is_taught:
            raise UsageError(
                f"objective {self.recipe.objective.kind}: nothing has a teacher's score (give JSONL with "
                '"scores", or let the hybrid ranking teach: --set negatives.kind=hard --set negatives.source=hybrid)'
            )

    def loop(self, journal: Journal, workers: int) -> None:
        """Take the steps that are left; save now and then, and when a signal asks to stop."""
        self.progress.start("train", self.steps - self.done, "steps")
        journal.restart()
        with Interruption() as interruption:
            for batch in self.stream(workers):
                began = time.monotonic()
                if self.spent_s >= 60 * self.run.minutes > 0:
                    self.progress.note(f"{self.run.minutes:g} minutes are over: stopped at step {self.done:,}")
                    break
                rate = rate_at(self.done, self.steps, self.run.learning_rate, self.run.warmup)
                if self.run.minutes:  # the rate reaches 0 with the time, if that is over before the steps are
                    rate = min(rate, self.run.learning_rate * (1 - self.spent_s / (60 * self.run.minutes)))
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                loss = self.stepper.gradients(batch, self.done)
                norm = float(torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.run.clip))
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
                if self.stepper.last is not None:
                    self.negatives.after(batch, self.stepper.last, self.encoder, self.done)
                tokens = sum(map(len, batch.anchors)) + sum(map(len, batch.passages))
                if journal.step(self.done, self.steps, loss, len(batch.anchors), tokens, rate, norm):
                    journal.line(self.done, self.stepper.last, rate, norm)
                self.done += 1
                self.averaging.add(self.encoder, self.share_done())
                self.spent_s += time.monotonic() - began
                stop = distributed.any_process(interruption.asked)
                if self.evaluation_due() and not stop and self.is_exhausted(journal):
                    break
                if stop or self.done % self.run.save_every == 0:
                    self.save()
                if stop:
                    self.progress.note(f"stopped at step {self.done:,}; --resume goes on from there")
                    interruption.raise_again()
        self.progress.finish()

    def share_done(self) -> float:
        """Tell how much of the run is over, 0 to 1, by steps or by its time, whichever ends it."""
        by_time = self.spent_s / (60 * self.run.minutes) if self.run.minutes else 0.0
        return max(self.done / self.steps, by_time)

    def stream(self, workers: int) -> Iterator[Batch]:
        """Yield the batches that are left; mine anew where the recipe asks for it."""
        examples = self.batches.examples
        every = 0
        if isinstance(examples, LabelledExamples) and examples.hard is not None:
            every = examples.hard.refresh * self.batches.per_epoch
        while self.done < self.steps:
            first = self.done
            last = min(self.steps, (first // every + 1) * every) if every else self.steps
            if every and first and first % every == 0 and isinstance(examples, LabelledExamples):
                examples.mined = distributed.from_first(self.mine_again)
            if workers:
                yield from torch.utils.data.DataLoader(
                    self.batches, batch_size=None, sampler=range(first, last), num_workers=workers
                )
            else:
                yield from (self.batches[step] for step in range(first, last))

    def evaluation_due(self) -> bool:
        """Tell whether an evaluation stands between this step and the next."""
        return bool(self.run.evaluate_every) and self.done % self.run.evaluate_every == 0 and self.done < self.steps

    def is_exhausted(self, journal: Journal) -> bool:
        """Evaluate quickly and keep the best weights; True when patience has run out."""
        if self.quick is None:
            return False
        found = self.evaluate(self.quick, self.done, journal).means[MEASURE]
        if found > self.best[0]:
            self.best = (found, self.done)
            if distributed.rank() == 0:
                checkpoint.save(self.work, checkpoint.BEST, {"encoder": checkpoint.weights(self.encoder)})
        waited = (self.done - self.best[1]) // self.run.evaluate_every
        if self.run.patience and waited >= self.run.patience:
            self.progress.note(f"no gain for {waited} evaluations: stopped at step {self.done:,}")
            return True
        return False

    def finish(self, journal: Journal) -> tuple[Verdict, dict[str, float]]:
        """Take the best weights, average them with the start where asked, evaluate, judge."""
        if self.quick is not None:
            last = self.evaluate(self.quick, self.done, journal).means[MEASURE]
            if last < self.best[0]:
                distributed.barrier()
                kept = checkpoint.load(self.work, checkpoint.BEST)
                if kept is not None and self.best[1]:
                    self.encoder.load_state_dict(kept["encoder"])
                    self.progress.note(f"the weights of step {self.best[1]:,} were the best on held-out queries")
        self.averaging.apply(self.encoder)
        ended = [self.evaluate(dev, self.done, journal) for dev in self.material.devs]
        if distributed.rank() == 0:
            draw(self.work)
        return self.verdict([judged_by(found) for found in ended], ended[0].means), ended[0].means

    def verdict(self, each: Sequence[dict[str, dict[str, float]]], after: dict[str, float]) -> Verdict:
        """Judge the run: without labels only a gain beyond chance counts, and judged queries must gain too."""
        pseudo = self.recipe.view.kind == "pseudo"
        if pseudo:
            first = judge_gain(*((self.each[0][name], each[0][name]) for name in each[0]))
        else:
            first = judge(self.before, after)
        if len(each) == 1 or not first.kept:
            return first
        return judge_also(first, self.each[1][MEASURE], each[1][MEASURE])

    # pieces of the above

    def evaluate(self, dev: HeldOut, step: int, journal: Journal) -> Measured:
        """Measure on a held-out set and write it down; every process does the same and comes to the same figures."""
        started = time.monotonic()
        found = self.measure(dev)
        journal.exclude(time.monotonic() - started)
        journal.evaluation(step, dev.kind, found.means)
        return found

    def mine_first(self) -> dict[str, Mined]:
        """Mine with the engine: an index of the data under the starting model."""
        examples = self.batches.examples
        if not isinstance(examples, LabelledExamples) or examples.hard is None:
            return {}
        if all(label.negatives for label in examples.labels):
            return {}
        everything = len(self.dev.documents) == len(self.corpus)
        if examples.hard.source == "dense" and everything and self.dev.kind == "dev":
            return self.mine_again(self.dev.start_rows)  # the whole corpus has just been encoded
        if self.run.from_scratch:
            return self.mine_again()
        found = self.mine_by_index(examples.labels, examples.hard)
        shutil.rmtree(self.work / INDEX, ignore_errors=True)
        return found

    def searcher(self) -> Searcher:
        """Open an index of the data under the starting model, made where it is not there yet."""
        model = None if self.base is None else str(self.base)
        return build_index(read_texts(self.data, self.progress), self.work / INDEX, model, self.progress)

    def mine_by_index(self, labels: Sequence[Labelled], settings: HardSettings) -> dict[str, Mined]:
        """Mine with the engine and say how much was found."""
        with self.searcher() as searcher:
            found, left_out = mine_with_engine(searcher, labels, settings, self.progress)
        count = sum(len(mined.documents) for mined in found.values())
        self.progress.note(
            f"mined {count:,} hard negatives for {len(found):,} queries; {left_out:,} looked like answers"
        )
        return found

    def mine_again(self, rows: np.ndarray | None = None) -> dict[str, Mined]:
        """Mine with the encoder as it is now; ``rows`` are its vectors of all documents, where they are at hand."""
        examples = self.batches.examples
        if not isinstance(examples, LabelledExamples) or examples.hard is None:
            return {}
        longest = self.encoder.passage_frame.longest
        if rows is None:
            texts = [self.corpus.whole(number, longest) for number in range(len(self.corpus))]
            rows = self.encoder.encode(texts, query=False, progress=self.progress)
        queries = [examples.queries[number] for number in range(len(examples))]
        return mine_with_vectors(
            self.encoder.encode(queries, query=True),
            rows,
            examples.labels,
            self.corpus.keys,
            examples.hard,
        )

    def save(self) -> None:
        """Write the checkpoint that ``--resume`` takes up."""
        if distributed.rank() != 0:
            return
        examples = self.batches.examples
        mined = examples.mined if isinstance(examples, LabelledExamples) else {}
        pool = None
        if self.quick is not None and self.quick is not self.dev:
            kept = set(self.quick.documents.tolist())
            pool = [at for at, number in enumerate(self.dev.documents.tolist()) if number in kept]
        checkpoint.save(
            self.work,
            checkpoint.LATEST,
            {
                "fingerprint": self.fingerprint(),
                "done": self.done,
                "before": self.before,
                "each": self.each,
                "spent_s": self.spent_s,
                "best": list(self.best),
                "pool": pool,
                "encoder": self.encoder.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "objective": self.objective.state_dict(),
                "negatives": self.negatives.state(),
                "averaging": self.averaging.state(),
                "mined": [[key, found.documents, found.scores, found.fused] for key, found in mined.items()],
            },
        )

    def fingerprint(self) -> str:
        """Identify what must be the same for a resumed run to be the same run."""
        digest = xxhash.xxh3_128(json.dumps(self.recipe.as_dict(), sort_keys=True, default=list).encode())
        digest.update(self.encoder.spec.fingerprint.encode())
        digest.update(self.corpus.bodies.offsets.tobytes())
        digest.update("\n".join(self.corpus.keys).encode("utf-8", "replace"))
        for label in self.labels.train if self.labels else ():
            digest.update(label.text.encode("utf-8", "replace"))
        return digest.hexdigest()


def judged_by(found: Measured) -> dict[str, dict[str, float]]:
    """Keep of an evaluation what a verdict needs: every query, by meaning, and fused where the set has words."""
    return {name: found.queries[name] for name in (MEASURE, FUSED) if name in found.queries}
