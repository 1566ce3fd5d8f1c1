"""Pseudo queries as training examples, with the engine's hybrid ranking as the teacher of the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from indexer.errors import UsageError
from trainer.batch import Batch, Ids, Pair
from trainer.corpus import Corpus
from trainer.pseudo import KINDS, PseudoQuery
from trainer.randomness import generator, permutation
from trainer.settings import rates, within
from trainer.teacher import DEPTH, Taught
from trainer.words import WordScores


@dataclass(frozen=True)
class Pseudo:
    """Which pseudo queries are made: about ``queries`` of them, of each kind in its share of their sum.

    A title or heading is what somebody wrote to tell what a passage is about. An opening sentence is not: it teaches
    that neighbours in a text answer each other, and questions lost by that (docs/training.md). So a run with less than
    ``fewest`` queries is refused.

    ``cluster``: so many queries that the teacher confuses stand in a batch together, each the others' hard negative; 1
    mixes at random. ``margin``: a passage that the teacher scores less than so many standard deviations below the
    answer is no negative; it may be another answer. ``longest``: tokens of a passage in training. ``found``: keep a
    query only where the teacher finds its passage among the first so many (consistency). ``generated`` needs a
    language model that asks (``--generator``). ``judged``: how many of what the hybrid ranking finds a cross-encoder
    reads, where one is the teacher (``--teacher``); its scores are logits, and ``margin`` then counts these.
    ``words``: how many standard deviations of the cosine the best possible BM25 score counts beside it in a training
    score (the engine's fusion counts 4): what the words tell already is then not learnt. Source: CLEAR, Gao et al.,
    arXiv:2004.13969.
    """

    queries: int = 6000
    title: float = 1.0
    sentence: float = 0.0
    terms: float = 0.0
    opening: float = 0.0
    generated: float = 0.0
    fewest: int = 100
    longest: int = 200
    found: int = 20
    cluster: int = 8
    margin: float = 3.0
    words: float = 0.0
    judged: int = 20

    def __post_init__(self) -> None:
        kinds = self.kinds()
        rates(**kinds)
        within("fewest", self.fewest, 1, whole=True)
        within("queries", self.queries, 1, whole=True)
        within("longest", self.longest, 16, whole=True)
        within("found", self.found, 1, whole=True)
        within("judged", self.judged, 2, DEPTH, whole=True)
        within("cluster", self.cluster, 1, whole=True)
        within("margin", self.margin, 0)
        within("words", self.words, 0)
        if not sum(kinds.values()) > 0:
            raise UsageError(f"view pseudo: one of {', '.join(kinds)} must be above 0")

    def kinds(self) -> dict[str, float]:
        """Give each kind's part as it was set."""
        return {kind: getattr(self, kind) for kind in KINDS}

    def wanted(self) -> dict[str, int]:
        """Say how many queries of each kind are made, 0 of some."""
        kinds = self.kinds()
        total = sum(kinds.values())
        return {kind: round(part / total * self.queries) for kind, part in kinds.items()}


class PseudoExamples:
    """Pseudo queries and what each must find. ``owners`` int64 [passages] names each passage's document."""

    def __init__(self, corpus: Corpus, queries: Sequence[PseudoQuery], owners: np.ndarray, settings: Pseudo) -> None:
        self.corpus = corpus
        self.queries = list(queries)
        self.owners = owners
        self.settings = settings
        self.taught: Taught | None = None
        self.spread = 0.0  # of the starting model's cosines, one standard deviation
        if len(self.queries) < settings.fewest:
            raise UsageError(
                f"{len(self.queries):,} pseudo queries come of {len(corpus):,} passages, too few to learn by: nothing "
                "is changed (a passage is asked for by a title or heading that no other has; --set view.opening=1 asks "
                f"by first sentences too, --set view.fewest=N takes fewer than {settings.fewest})"
            )

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.queries)

    def pair(self, number: int, seed: int, epoch: int) -> Pair:
        """Pair a query with its passage, less the query's own words."""
        query = self.queries[number]
        answer = query.answer(self.corpus, self.settings.longest)
        return Pair(query.ids, answer, query.passage, frozenset({query.passage}))

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Order the queries of an epoch, each once: neighbours by the teacher stand together, clusters in random order.

        Source: topic-aware batches, Hofstätter et al., arXiv:2104.06967 (TAS-B), with the teacher's ranking for topics.
        """
        mixed = permutation(seed, epoch, len(self))
        if self.taught is None or self.settings.cluster == 1:
            return mixed
        asking: dict[int, list[int]] = {}
        for number in mixed.tolist():
            asking.setdefault(self.queries[number].passage, []).append(number)
        waiting = np.ones(len(self), dtype=bool)
        clusters: list[list[int]] = []
        for first in mixed.tolist():
            if waiting[first]:
                waiting[first] = False
                clusters.append([first, *self.neighbours(first, asking, waiting)])
        order = generator(seed, epoch, len(self)).permutation(len(clusters))
        return np.array([number for at in order.tolist() for number in clusters[at]], dtype=np.int64)

    def neighbours(self, first: int, asking: dict[int, list[int]], waiting: np.ndarray) -> list[int]:
        """Take the waiting queries whose passages one query finds first, of other documents than its own."""
        if self.taught is None:
            return []
        taken: list[int] = []
        documents = {int(self.owners[self.queries[first].passage])}
        ranked = np.argsort(-self.taught.scores[first], kind="stable")
        for passage in self.taught.passages[first][ranked].tolist():
            for number in asking.get(passage, ()):
                if len(taken) == self.settings.cluster - 1:
                    return taken
                if waiting[number] and int(self.owners[passage]) not in documents:
                    waiting[number] = False
                    documents.add(int(self.owners[passage]))
                    taken.append(number)
        return taken

    def keep_found(self, taught: Taught) -> list[int]:
        """Drop the queries whose passage the teacher does not find soon enough; return the places of those kept."""
        ranks = [taught.rank(at, query.passage) for at, query in enumerate(self.queries)]
        kept = [at for at, rank in enumerate(ranks) if rank <= self.settings.found]
        if not kept:
            raise UsageError("the engine finds none of the pseudo queries' passages: there is nothing to learn from")
        self.queries = [self.queries[at] for at in kept]
        self.taught = Taught(taught.passages[kept], taught.scores[kept])
        return kept

    def with_teacher(self, batch: Batch, numbers: Sequence[int]) -> Batch:
        """Let the teacher score every passage of the batch for every query.

        What it ranks above the answer, or less than ``margin`` below it, is no negative. Passages of the answer's own
        document are neither scored nor negatives.
        """
        if self.taught is None:
            return batch
        passages = np.asarray(batch.documents)
        target_B = batch.target_B.numpy()
        count = len(batch.passages)
        teacher_BP = np.stack([self.taught.of(number, passages) for number in numbers])
        owners_P = self.owners[passages]
        rows = np.arange(len(numbers))
        strange_BP = owners_P[None, :] == owners_P[target_B][:, None]
        strange_BP[rows, target_B] = False
        excluded_BP = batch.excluded_BP.numpy() | strange_BP
        order_BP = np.stack([np.concatenate([[target], np.delete(np.arange(count), target)]) for target in target_B])
        listed_BP = np.where(np.take_along_axis(excluded_BP, order_BP, axis=1), -1, order_BP)
        above_BP = teacher_BP > teacher_BP[rows, target_B][:, None] - self.settings.margin
        above_BP[rows, target_B] = False
        beside_BP = None
        if self.settings.words:
            beside_BP = torch.from_numpy(self.words(batch.anchors, passages) * self.settings.words * self.spread)
        return replace(
            batch,
            beside_BP=beside_BP,
            excluded_BP=torch.from_numpy(excluded_BP | above_BP),
            listed_BC=torch.from_numpy(listed_BP),
            teacher_BC=torch.from_numpy(np.take_along_axis(teacher_BP, order_BP, axis=1)),
        )

    def words(self, anchors: Sequence[Ids], passages: np.ndarray) -> np.ndarray:
        """Score passages int [P] by the words of queries alone: float32 [B, P], shares as fusion counts them."""
        texts, scores = self.asked
        at = np.searchsorted(texts, passages)
        return np.stack([scores.shares(ids)[at] for ids in anchors]).astype(np.float32)

    @cached_property
    def asked(self) -> tuple[np.ndarray, WordScores]:
        """List the passages that any query asks for, ascending int64, and how to score their bodies by words."""
        texts = np.unique([query.passage for query in self.queries])
        longest = self.settings.longest
        return texts, WordScores([self.corpus.bodies[number][:longest] for number in texts.tolist()])
