"""What a run learns from and what it is judged by: texts as tokens, batches, and the queries held out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from indexer.errors import DataError
from indexer.progress import Progress
from trainer.assemble import make_batches
from trainer.candidates import CandidateSet
from trainer.corpus import Corpus, shared_corpus
from trainer.data import Batches
from trainer.encoder import TrainableEncoder
from trainer.evaluate import DevSet, labelled_dev, pseudo_dev, set_aside
from trainer.recipe import Recipe
from trainer.sources import Labels, read_labels, read_texts
from trainer.unlabelled import NOBODY, Asked, aside_share, gather_passages, index_of


@dataclass(frozen=True, slots=True)
class Beside:
    """What a caller gives beside the data: judged queries to be judged by too, and whom a run may ask."""

    judged: Path | None = None
    asked: Asked = NOBODY


NOTHING = Beside()


@dataclass(frozen=True)
class Material:
    """A run's corpus, batches and held-out sets: its own first, then the judged queries that a caller gave beside."""

    corpus: Corpus
    batches: Batches
    devs: tuple[DevSet | CandidateSet, ...]

    @property
    def dev(self) -> Any:  # a DevSet, or what a cross-encoder is judged by
        """The set that the run is judged by first, and during training."""
        return self.devs[0]


def gather(
    recipe: Recipe,
    data: Sequence[Path],
    work: Path,
    encoder: TrainableEncoder,
    labels: Labels | None,
    base: str | Path | None,
    beside: Beside,
    progress: Progress,
) -> Material:
    """Read the data, hold out what the run is judged by, and make its batches."""
    also = () if beside.judged is None else (judged_dev(beside.judged, work, encoder, progress),)
    if recipe.view.kind == "pseudo":
        index = index_of(data, work, base, progress)
        corpus, batches, dev = gather_passages(recipe, index, work, encoder, beside.asked, progress)
        return Material(corpus, batches, (dev, *also))
    corpus = shared_corpus(lambda: read_texts(data, progress), work, encoder.tokenizer, progress)
    dev, aside = hold_out(corpus, labels, encoder, progress)
    return Material(corpus, make_batches(recipe, corpus, labels, aside, encoder), (dev, *also))


def judged_dev(place: Path, work: Path, encoder: TrainableEncoder, progress: Progress) -> DevSet:
    """Read judged queries to be judged by alone: a set's dev split, else its training queries; never test."""
    labels = read_labels([place], 1.0)
    corpus = shared_corpus(lambda: read_texts([place], progress), work / "judged", encoder.tokenizer, progress)
    dev = labelled_dev(corpus, labels.dev, encoder)
    if not len(dev):
        raise DataError(f"{place}: no judged query whose answers are among its documents")
    return replace(dev, kind="judged queries")


def hold_out(
    corpus: Corpus, labels: Labels | None, encoder: TrainableEncoder, progress: Progress
) -> tuple[DevSet, frozenset[int]]:
    """Make the held-out set, and say which documents it keeps out of training."""
    if labels is not None:
        dev = labelled_dev(corpus, labels.dev, encoder)
        if len(dev):
            return dev, frozenset()
        progress.note("no held-out query: too few labels; judged by known items instead")
    aside = set_aside(corpus.keys, aside_share(len(corpus)))
    return pseudo_dev(corpus, aside, encoder), aside
