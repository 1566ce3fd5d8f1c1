"""What a run learns from and what it is judged by: texts as tokens, batches, and the queries held out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import searchengine
from indexer.errors import DataError
from indexer.index import find_index
from indexer.progress import Progress
from trainer import distributed
from trainer.assemble import make_batches, make_pseudo, pseudo_settings
from trainer.candidates import CandidateSet
from trainer.corpus import Corpus, shared_corpus
from trainer.data import Batches
from trainer.encoder import TrainableEncoder
from trainer.evaluate import DevSet, labelled_dev, pseudo_dev, pseudo_query_dev, set_aside
from trainer.mine import build_index
from trainer.recipe import Recipe
from trainer.sources import Labels, kind_of, passages_of_index, read_labels, read_texts
from trainer.taught import PseudoExamples
from trainer.teacher import Taught, teach

ASIDE = 0.05  # of unlabelled documents, for the label-free test
INDEX = "index"
SAMPLED = 256  # queries and their passages: the spread of a cosine is then known to a few per cent


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
    judged: Path | None,
    progress: Progress,
) -> Material:
    """Read the data, hold out what the run is judged by, and make its batches; ``judged``: queries to judge by too."""
    also = () if judged is None else (judged_dev(judged, work, encoder, progress),)
    if recipe.view.kind == "pseudo":
        index = index_of(data, work, base, progress)
        return gather_passages(recipe, index, work, encoder, also, progress)
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


def gather_passages(
    recipe: Recipe, index: Path, work: Path, encoder: TrainableEncoder, also: tuple[DevSet, ...], progress: Progress
) -> Material:
    """Take an index's passages as the corpus, pseudo queries as examples, its hybrid ranking as their teacher.

    Whole documents are held out.
    """
    corpus = shared_corpus(lambda: passages_of_index(index), work, encoder.tokenizer, progress)
    names = [key.partition("#")[0] for key in corpus.keys]
    different = list(dict.fromkeys(names))
    chosen = set_aside(different, aside_share(len(different)))
    aside_names = {different[number] for number in chosen}
    aside = frozenset(number for number, name in enumerate(names) if name in aside_names)
    owners = np.unique(names, return_inverse=True)[1]
    settings = pseudo_settings(recipe)
    maker = make_pseudo(corpus, owners, encoder, recipe.run.seed)
    kinds = [kind for kind, share in settings.shares().items() if share > 0]
    dev = pseudo_query_dev(corpus, sorted(aside), maker, encoder, kinds)
    learnt = [number for number in range(len(corpus)) if number not in aside]
    queries = maker.draw(learnt, settings.queries, settings.shares())
    examples = PseudoExamples(corpus, queries, owners, settings)
    numbers = {int(key.partition("#")[2]): number for number, key in enumerate(corpus.keys)}
    texts = [encoder.tokenizer.decode(query.ids.tolist()) for query in queries]

    def ask() -> Taught:
        with searchengine.open(index) as searcher:
            return teach(searcher, texts, numbers, progress)

    dropped = examples.keep_found(distributed.from_first(ask))
    if settings.words:
        examples.spread = spread_of(encoder, examples)
    progress.note(
        f"{len(examples):,} pseudo queries of {len(corpus):,} passages; {dropped:,} others do not find theirs"
    )
    return Material(corpus, Batches(examples, recipe.run.batch, recipe.run.seed), (dev, *also))


def spread_of(encoder: TrainableEncoder, examples: PseudoExamples) -> float:
    """Measure one standard deviation of a query's cosine over the passages: some queries, some passages, evenly."""
    number = np.unique(np.linspace(0, len(examples) - 1, SAMPLED, dtype=np.int64)).tolist()
    pairs = [examples.pair(at, 0, 0) for at in number]
    queries = encoder.encode([pair.anchor for pair in pairs], query=True)
    passages = encoder.encode([pair.positive for pair in pairs], query=False)
    return float((queries @ passages.T).std(axis=1).mean())


def aside_share(documents: int) -> float:
    """Tell what share of documents is set aside: 250 of them where that is no more than a fifth, else at least fifty.

    Half of them at most. With fewer than some hundred queries no gain that a training brings is beyond chance.
    """
    return max(ASIDE, min(0.5, 50 / documents), min(0.2, 250 / documents))


def index_of(data: Sequence[Path], work: Path, base: str | Path | None, progress: Progress) -> Path:
    """Find or make the index of the data: one index is taken as it is, a folder of files is split into passages.

    Several sources, BEIR folders and JSONL become one passage a document, as ``bench`` has them.
    """
    model = None if base is None else str(base)
    kinds = [kind_of(place) for place in data]
    if kinds == ["index"]:
        return find_index(data[0])
    place = work / INDEX
    if set(kinds) == {"files"}:
        searchengine.index(list(data), index=place, model=model, progress=progress).close()
    else:
        build_index(read_texts(data, progress), place, model, progress).close()
    return place
