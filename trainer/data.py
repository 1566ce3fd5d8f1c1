"""Texts and labels → batches. A batch is a function of (seed, step): never of workers, nor of where a run resumed.

An epoch is a permutation of the examples, keyed by the seed; each example's pair is drawn by a generator keyed by
(seed, epoch, example). Knows nothing of files and models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from indexer.errors import UsageError
from trainer.batch import Batch, Pair, Piece, collate
from trainer.corpus import Corpus
from trainer.negatives.hard import HardSettings, Mined, choose
from trainer.randomness import generator, permutation
from trainer.sources import Labelled
from trainer.taught import PseudoExamples
from trainer.tokens import tokenise
from trainer.views import View

AUXILIARY = 2**32  # the auxiliary view's place in the seed, apart from every epoch


class Examples(Protocol):
    """Something that makes pairs: n examples, each a function of its number and a generator."""

    def __len__(self) -> int:
        """Count the examples of an epoch."""
        ...

    def pair(self, number: int, seed: int, epoch: int) -> Pair:
        """Make one example's pair."""
        ...


class Pieces:
    """Examples of unlabelled text: windows of bodies, or documents, through a view.

    Documents shorter than a window give one example, longer ones one for each window's worth; where windows begin
    moves from epoch to epoch.
    """

    def __init__(self, corpus: Corpus, view: View, held_out: frozenset[int] = frozenset()) -> None:
        self.corpus = corpus
        self.view = view
        lengths = corpus.bodies.lengths
        heads = corpus.titles.lengths
        usable = [
            number
            for number in range(len(corpus))
            if number not in held_out and view.usable(int(heads[number]), min(int(lengths[number]), view.window))
        ]
        self.documents = np.asarray(usable, dtype=np.int64)
        per_document = np.ones(len(usable), dtype=np.int64)
        if view.unit == "window" and len(usable):
            per_document = np.maximum(1, np.round(lengths[self.documents] / view.window)).astype(np.int64)
        self.ends = np.cumsum(per_document)
        if not len(usable):
            raise UsageError(
                f"none of {len(corpus):,} documents suits the view {type(view).__name__} (too short, or without titles)"
            )

    def __len__(self) -> int:
        """Count the pieces."""
        return int(self.ends[-1])

    def pair(self, number: int, seed: int, epoch: int) -> Pair:
        """Cut the piece and let the view make its pair."""
        at = int(np.searchsorted(self.ends, number, side="right"))
        document = int(self.documents[at])
        body = self.corpus.bodies[document]
        rng = generator(seed, epoch, number)
        if len(body) > self.view.window:
            part = number - int(self.ends[at - 1] if at else 0)
            shift = int(rng.integers(-(self.view.window // 2), self.view.window // 2 + 1))
            if self.view.unit != "window":
                shift = 0  # a document's body is its beginning
            start = min(max(0, part * self.view.window + shift), len(body) - self.view.window)
            body = body[start : start + self.view.window]
        return self.view.pair(Piece(document, self.corpus.titles[document], body), rng)


class LabelledExamples:
    """Examples of labelled queries: at each visit one relevant document, and mined negatives where there are any.

    ``mined`` is replaced when negatives are mined anew. With ``graded`` the qrels' grades are the teacher's scores.
    """

    def __init__(
        self,
        corpus: Corpus,
        labels: Sequence[Labelled],
        tokenizer: Tokenizer,
        *,
        longest: int,
        hard: HardSettings | None = None,
        graded: bool = False,
    ) -> None:
        self.corpus = corpus
        self.numbers = {key: number for number, key in enumerate(corpus.keys)}
        self.labels = [label for label in labels if self.relevant(label)]
        self.queries = tokenise((label.text for label in self.labels), tokenizer)
        self.longest = longest
        self.hard = hard
        self.graded = graded
        self.mined: dict[str, Mined] = {}
        if not self.labels:
            raise UsageError("no labelled query has a relevant document in the corpus (is it the right folder?)")

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.labels)

    def relevant(self, label: Labelled) -> list[int]:
        """List the numbers of a query's relevant documents."""
        return [self.numbers[key] for key, grade in label.grades.items() if grade > 0 and key in self.numbers]

    def pair(self, number: int, seed: int, epoch: int) -> Pair:
        """Draw one of the query's answers and its negatives."""
        label = self.labels[number]
        rng = generator(seed, epoch, number)
        answers = self.relevant(label)
        positive = answers[int(rng.integers(len(answers)))]
        negatives = [one for one in self.negatives(label, rng) if one not in answers]
        negatives = list(dict.fromkeys(negatives))
        teacher = self.teacher(label, [positive, *negatives])
        return Pair(
            self.queries[number],
            self.corpus.whole(positive, self.longest),
            positive,
            frozenset(answers),
            tuple(self.corpus.whole(one, self.longest) for one in negatives),
            tuple(negatives),
            teacher,
        )

    def negatives(self, label: Labelled, rng: np.random.Generator) -> list[int]:
        """Draw this visit's negatives: given with the data, else mined; known keys alone."""
        if self.hard is None:
            return []
        given = [key for key in label.negatives if key in self.numbers]
        mined = Mined(tuple(given), (0.0,) * len(given)) if given else self.mined.get(label.key, Mined((), ()))
        chosen = choose(mined, len(self.corpus), self.hard, rng)
        numbers = (self.numbers.get(one) if isinstance(one, str) else one for one in chosen)
        return [number for number in numbers if number is not None]

    @property
    def is_taught(self) -> bool:
        """Tell whether any candidate has a teacher's score: the data's, the grades, or the hybrid ranking's."""
        return (
            self.graded
            or any(label.teacher for label in self.labels)
            or any(mined.fused for mined in self.mined.values())
        )

    def teacher(self, label: Labelled, documents: Sequence[int]) -> tuple[float, ...] | None:
        """Give the teacher's score of each document; None unless it scored them all."""
        keys = [self.corpus.keys[number] for number in documents]
        if self.graded:
            return tuple(float(label.grades.get(key, 0)) for key in keys)
        if label.teacher and all(key in label.teacher for key in keys):
            return tuple(label.teacher[key] for key in keys)
        mined = self.mined.get(label.key)
        if mined is None or not mined.fused:
            return None
        # the engine's hybrid ranking is the teacher of what nobody judged; a judged answer stands above all of it
        known = dict(zip(mined.documents, mined.fused, strict=True))
        floor = min(mined.fused)
        return (max(mined.fused) + 1.0, *(known.get(key, floor) for key in keys[1:]))


class Batches:
    """Every batch of a run by its step: ``size`` examples, and beside them a share of an auxiliary view's.

    Usable as a data set of torch's DataLoader: ``batches[step]``.
    """

    def __init__(self, examples: Examples, size: int, seed: int, auxiliary: Examples | None = None, share: float = 0.0):
        self.examples = examples
        self.size = min(size, len(examples))
        self.seed = seed
        self.auxiliary = auxiliary
        self.beside = round(share * self.size) if auxiliary is not None else 0
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def per_epoch(self) -> int:
        """Count the steps of an epoch; the few examples that fill no batch wait for the next one's order."""
        return len(self.examples) // self.size

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of one step, counted from 0 over all epochs."""
        batch = collate(self.pairs(step))
        if isinstance(self.examples, PseudoExamples):
            return self.examples.with_teacher(batch, self.numbers(step)[1].tolist())
        return batch

    def numbers(self, step: int) -> tuple[int, np.ndarray]:
        """Tell a step's epoch and which examples it takes: int64 [size]."""
        epoch, place = divmod(step, self.per_epoch)
        return epoch, self.order(epoch)[place * self.size : (place + 1) * self.size]

    def pairs(self, step: int) -> list[Pair]:
        """Draw the pairs of one step."""
        epoch, numbers = self.numbers(step)
        pairs = [self.examples.pair(int(number), self.seed, epoch) for number in numbers]
        if self.auxiliary is not None and self.beside:
            rng = generator(self.seed, AUXILIARY, step)
            beside = rng.choice(len(self.auxiliary), size=min(self.beside, len(self.auxiliary)), replace=False)
            pairs += [self.auxiliary.pair(int(number), self.seed, AUXILIARY + step) for number in beside]
        return pairs

    def order(self, epoch: int) -> np.ndarray:
        """Order the examples of an epoch."""
        if self._order is None or self._order[0] != epoch:
            if isinstance(self.examples, PseudoExamples):
                self._order = epoch, self.examples.order(self.seed, epoch)
            else:
                self._order = epoch, permutation(self.seed, epoch, len(self.examples))
        return self._order[1]

    def steps(self, epochs: float) -> int:
        """Count the steps of so many epochs, at least 1."""
        return max(1, math.ceil(epochs * self.per_epoch))
