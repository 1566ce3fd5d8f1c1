"""Is a cross-encoder worth asking? nDCG@10 of held-out queries whose first documents by the engine it reads again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.metrics import Measured
from indexer.progress import SILENT, Progress
from searchengine import Searcher
from searchengine.hits import Candidates
from searchengine.rerank import WEIGHT, blend
from trainer.batch import Ids
from trainer.corpus import Corpus
from trainer.cross_encoder import TrainableCrossEncoder
from trainer.evaluate import measure_rankings
from trainer.sources import Labelled

READ = 30  # of each ranking: as many as decide nDCG@10, at three fifths of what a query reads


@dataclass
class CandidateSet:
    """Held-out queries, their judgements by document number, and the engine's first documents with their scores."""

    kind: str
    queries: list[Ids]
    grades: list[dict[int, int]]
    found: list[list[int]]
    first: list[np.ndarray]
    passages: dict[int, Ids]

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.queries)

    @property
    def documents(self) -> list[int]:
        """List the documents that are read."""
        return list(self.passages)


def candidates(
    searcher: Searcher, labels: Sequence[Labelled], corpus: Corpus, model: TrainableCrossEncoder, longest: int
) -> CandidateSet:
    """Ask the engine every held-out query; what it finds is what the cross-encoder is judged by."""
    numbers = {key: number for number, key in enumerate(corpus.keys)}
    made = CandidateSet("dev, read again", [], [], [], [], {})
    for label in labels:
        grades = {numbers[key]: grade for key, grade in label.grades.items() if key in numbers}
        if not any(grades.values()):
            continue
        ranking = searcher.rank(label.text, k=READ)
        kept = [at for at, key in enumerate(ranking.documents) if key in numbers]
        made.queries.append(model.tokens_of(label.text))
        made.grades.append(grades)
        made.found.append([numbers[ranking.documents[at]] for at in kept])
        made.first.append(ranking.scores[kept])
        for number in made.found[-1]:
            made.passages.setdefault(number, corpus.whole(number, longest))
    return made


def read_again(
    model: TrainableCrossEncoder, dev: CandidateSet, progress: Progress = SILENT, weight: float = WEIGHT
) -> Measured:
    """Measure the engine's rankings as the cross-encoder changes them; at a ``weight`` of 0 nothing is read."""
    ranked = []
    progress.start("read again", len(dev), "queries")
    for query, found, first in zip(dev.queries, dev.found, dev.first, strict=True):
        scores = model.score([(query, dev.passages[at]) for at in found]) if weight else np.zeros(len(found))
        mixed = blend(Candidates(np.asarray(found, np.int64), first), scores, weight)
        ranked.append((mixed.passages, mixed.scores))
        progress.advance()
    progress.finish()
    return measure_rankings("rerank", ranked, dev.grades)
