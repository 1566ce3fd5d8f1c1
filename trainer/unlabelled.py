"""What a run without labels learns from: an index's passages, queries made of them, and what a teacher says of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import searchengine
from benchmarks.endpoint import Endpoint
from indexer.encoders import load_cross_encoder
from indexer.encoders.cache import cache_root
from indexer.encoders.model_folder import find
from indexer.errors import UsageError
from indexer.index import find_index
from indexer.progress import Progress
from trainer import distributed
from trainer.assemble import make_pseudo, pseudo_settings
from trainer.corpus import Corpus, shared_corpus
from trainer.data import Batches
from trainer.encoder import TrainableEncoder
from trainer.evaluate import DevSet, asked_aside, pseudo_query_dev, set_aside
from trainer.generated import ask_for
from trainer.mine import build_index
from trainer.pseudo import PseudoQuery
from trainer.recipe import Recipe
from trainer.sources import Text, kind_of, passages_of_index, read_texts
from trainer.taught import PseudoExamples
from trainer.teacher import Taught, read_by, teach

ASIDE = 0.05  # of unlabelled documents, for the label-free test
INDEX = "index"
SAMPLED = 256  # queries and their passages: the spread of a cosine is then known to a few per cent


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a caller lets a run ask: a language model for questions, a cross-encoder (folder or name) for scores."""

    generator: Endpoint | None = None
    teacher: str | None = None


NOBODY = Asked()


def check_asked(recipe: Recipe, asked: Asked, progress: Progress) -> None:
    """Refuse, before anything is made, what nobody can be asked for. Raises UsageError, ModelError."""
    pseudo = recipe.view.kind == "pseudo"
    if not pseudo and asked != NOBODY:
        raise UsageError(f"recipe {recipe.name}: only pseudo queries take a generator or a teacher")
    if pseudo and pseudo_settings(recipe).generated and asked.generator is None:
        raise UsageError("view.generated: name a language model that asks the questions (--generator URL)")
    if asked.teacher is not None:
        find(asked.teacher, cache_root(progress))


def gather_passages(
    recipe: Recipe,
    index: Path,
    work: Path,
    encoder: TrainableEncoder,
    asked: Asked,
    progress: Progress,
) -> tuple[Corpus, Batches, DevSet]:
    """Take an index's passages as the corpus, pseudo queries as examples, its hybrid ranking as their teacher.

    Whole documents are held out.
    """
    settings = pseudo_settings(recipe)
    generator, teacher = asked.generator, asked.teacher
    corpus = shared_corpus(lambda: passages_of_index(index), work, encoder.tokenizer, progress)
    names = [key.partition("#")[0] for key in corpus.keys]
    different = list(dict.fromkeys(names))
    chosen = set_aside(different, aside_share(len(different)))
    aside_names = {different[number] for number in chosen}
    aside = sorted(number for number, name in enumerate(names) if name in aside_names)
    learnt = [number for number, name in enumerate(names) if name not in aside_names]
    owners = np.unique(names, return_inverse=True)[1]
    maker = make_pseudo(corpus, owners, encoder, recipe.run.seed)
    if settings.generated and generator is not None:
        wanted = maker.order(learnt, "generated")[: settings.wanted()["generated"]] + asked_aside(aside)
        found = distributed.from_first(lambda: generate(index, corpus, wanted, generator, work, progress))
        maker.generated = {number: encoder.tokens_of(text) for number, text in found.items()}
    kinds = [kind for kind, count in settings.wanted().items() if count]
    dev = pseudo_query_dev(corpus, aside, maker, encoder, kinds)
    examples = PseudoExamples(corpus, maker.draw(learnt, settings.wanted()), owners, settings)
    texts = [encoder.tokenizer.decode(query.ids.tolist()) for query in examples.queries]
    numbers = {int(key.partition("#")[2]): number for number, key in enumerate(corpus.keys)}

    def ask() -> Taught:
        with searchengine.open(index) as searcher:
            return teach(searcher, texts, numbers, progress)

    kept = examples.keep_found(distributed.from_first(ask))
    dropped = len(texts) - len(kept)
    if teacher is not None:
        queries = [texts[at] for at in kept]
        examples.taught = distributed.from_first(
            lambda: read_by_teacher(teacher, index, examples, queries, encoder, progress)
        )
    if settings.words:
        examples.spread = spread_of(encoder, examples)
    progress.note(
        f"{len(examples):,} pseudo queries of {len(corpus):,} passages; {dropped:,} others do not find theirs"
    )
    return corpus, Batches(examples, recipe.run.batch, recipe.run.seed), dev


def texts_of(index: Path, corpus: Corpus, wanted: set[int]) -> dict[int, Text]:
    """Read the passages that a corpus has under these numbers, as they were written."""
    keys = {corpus.keys[number]: number for number in wanted}
    return {keys[text.key]: text for text in passages_of_index(index) if text.key in keys}


def generate(
    index: Path, corpus: Corpus, wanted: Sequence[int], endpoint: Endpoint, work: Path, progress: Progress
) -> dict[int, str]:
    """Let a language model ask for each passage: number → question."""
    texts = texts_of(index, corpus, set(wanted))
    passages = {number: f"{text.title}\n{text.body}".strip() for number, text in texts.items()}
    return ask_for(passages, endpoint, work, progress)


def read_by_teacher(
    teacher: str,
    index: Path,
    examples: PseudoExamples,
    queries: Sequence[str],
    encoder: TrainableEncoder,
    progress: Progress,
) -> Taught:
    """Let a cross-encoder read each query with the first passages that the engine finds for it.

    It reads what training shows the encoder: nothing bears its title where a title asks, and the answer is without the
    words that were taken out of it.
    """
    if examples.taught is None:
        raise ValueError("the engine's ranking comes first")
    scorer = load_cross_encoder(teacher, progress=progress)
    taught = examples.taught.first(examples.settings.judged)
    texts = texts_of(index, examples.corpus, set(taught.passages[taught.passages >= 0].tolist()))

    def shown(query: PseudoQuery, number: int) -> str:
        if number == query.passage and query.end > query.start:
            return encoder.tokenizer.decode(query.answer(examples.corpus, examples.settings.longest).tolist())
        text = texts[number]
        return text.body if query.kind == "title" else f"{text.title} {text.body}".strip()

    def read(at: int, passages: Sequence[int]) -> np.ndarray:
        return scorer.scores(queries[at], [shown(examples.queries[at], number) for number in passages])

    return read_by(read, taught, progress)


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
