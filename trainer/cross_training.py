"""A run that makes a cross-encoder: an encoder retrieves, mines and gives its weights; what it found is read again.

Held out and judged is what the engine's hybrid ranking becomes by it; so the figures before are those of that ranking.
"""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks.metrics import Measured
from indexer.errors import UsageError
from trainer import distributed
from trainer.assemble import make_batches
from trainer.candidates import CandidateSet, candidates, read_again
from trainer.corpus import shared_corpus
from trainer.data import LabelledExamples
from trainer.journal import Journal
from trainer.material import Beside, Material
from trainer.negatives.hard import Mined
from trainer.pair_step import PairStepper
from trainer.sources import read_texts
from trainer.step import Stepper
from trainer.training import Training
from trainer.unlabelled import INDEX


class CrossTraining(Training):
    """A run of a recipe whose model is a cross-encoder."""

    def make_stepper(self) -> Stepper:
        """Make what takes a step: over pairs."""
        return PairStepper(
            self.encoder, self.negatives, self.objective, self.regulariser, seed=self.run.seed, cached=self.run.cached
        )

    def gather(self, beside: Beside) -> Material:
        """Index the data by the starting encoder and ask it the held-out queries: these answers are read again."""
        labels = self.labels
        if labels is None or beside.judged is not None:
            raise UsageError(f"recipe {self.recipe.name}: a cross-encoder is judged by queries held out of --data")
        corpus = shared_corpus(
            lambda: read_texts(self.data, self.progress), self.work, self.encoder.tokenizer, self.progress
        )
        longest = self.encoder.passage_frame.longest

        def ask() -> CandidateSet:
            with self.searcher() as searcher:
                return candidates(searcher, labels.dev, corpus, self.encoder, longest)

        found = distributed.from_first(ask)
        if not len(found):
            raise UsageError(f"recipe {self.recipe.name}: no held-out query is left to judge a cross-encoder by")
        return Material(corpus, make_batches(self.recipe, corpus, labels, frozenset(), self.encoder), (found,))

    def at_start(self, dev: Any, journal: Journal) -> Measured:
        """Measure the engine's own ranking, which is what a cross-encoder must not make worse."""
        found = read_again(self.encoder, dev, weight=0.0)
        journal.evaluation(0, "dev, as found", found.means)
        return found

    def quick_set(self, pool: list[int] | None = None) -> CandidateSet:
        """Judge by the whole set during the run too: it is small."""
        dev: CandidateSet = self.dev
        return dev

    def measure(self, dev: Any) -> Measured:
        """Measure what the cross-encoder makes of what was found."""
        return read_again(self.encoder, dev, self.progress)

    def mine_first(self) -> dict[str, Mined]:
        """Mine with the index that the held-out queries were asked of."""
        examples = self.batches.examples
        if not isinstance(examples, LabelledExamples) or examples.hard is None:
            return {}
        return self.mine_by_index(examples.labels, examples.hard)

    def tidy(self) -> None:
        """Remove the index."""
        shutil.rmtree(self.work / INDEX, ignore_errors=True)
