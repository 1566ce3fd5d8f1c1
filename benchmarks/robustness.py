"""How much an answer depends on where it stands, how the question is worded, and how long documents are.

Position: each answer is put at the start, middle and end of a long document among the same other passages. Wording:
the same questions with typos, other forms, without stop words … Length: what each retriever prefers. Deterministic by
seed; a sample of queries, so that it takes minutes.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.beir import Dataset, is_blank
from benchmarks.endpoint import Endpoint
from benchmarks.metrics import measure
from benchmarks.paraphrase import paraphrase
from benchmarks.perturb import WAYS, perturb
from benchmarks.positions import ANSWER_WORDS, FILLER_WORDS, PLACES, clipped, draw_fillers, place
from benchmarks.qrels import Qrels
from benchmarks.runs import Run
from benchmarks.significance import Comparison, compare, holm
from benchmarks.vocabulary import language_of, read_vocabulary
from indexer.documents import Document
from indexer.encoders import load_stored_encoder
from indexer.format import ENCODER
from indexer.progress import SILENT, Progress

if TYPE_CHECKING:
    from benchmarks.report import ModeResult
    from searchengine import Searcher

MEASURE = "nDCG@10"
CUTOFF = 10
QUERIES = 200  # asked at most, drawn by seed
QUANTILES = 4
CHANCE = 0.05
SPLITTINGS = {"whole": "one passage a document", "structure": "split into passages"}


@dataclass(frozen=True, slots=True)
class Robust:
    """What to measure: how many queries, drawn by which seed; who paraphrases them, if anybody."""

    queries: int = QUERIES
    seed: int = 0
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One condition in one mode: its nDCG@10 and, but for the plain condition, the difference to that.

    ``overlap`` is the share of the plain query's first ten that stays, for wordings. ``p_holm`` is corrected for all
    conditions of a table.
    """

    condition: str
    mode: str
    value: float
    difference: Comparison | None = None
    p_holm: float | None = None
    overlap: float | None = None


@dataclass(frozen=True, slots=True)
class LengthBias:
    """One mode's preference: mean words of its first ten documents, and nDCG@10 by length of the relevant ones.

    ``quantiles``: (most words, queries, nDCG@10), short to long. ``relevant`` and ``corpus`` are mean words of relevant
    documents and of all.
    """

    mode: str
    retrieved: float
    relevant: float
    corpus: float
    quantiles: tuple[tuple[float, int, float], ...]


@dataclass(frozen=True, slots=True)
class Robustness:
    """A data set's report. ``position`` has a table for each way to split: "whole", "structure"."""

    queries: int
    seed: int
    wording: tuple[Effect, ...]
    position: dict[str, tuple[Effect, ...]]
    length: tuple[LengthBias, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what ``bench --json`` writes under "robustness"."""
        return asdict(self)


def measure_robustness(
    searcher: Searcher,
    dataset: Dataset,
    results: Mapping[str, ModeResult],
    lists: Mapping[str, Mapping[str, Sequence[str]]],
    settings: Robust,
    *,
    model: str | None = None,
    backend: str = "auto",
    progress: Progress = SILENT,
) -> Robustness:
    """Measure an index of a data set; ``results`` and ``lists`` are what ``bench`` found, mode by mode.

    Raises DataError where the endpoint for paraphrases does not answer.
    """
    modes = tuple(results)
    seed = settings.seed
    asked = drawn_queries(dataset, settings.queries, seed)
    qrels = {query: dataset.qrels[query] for query in asked}
    return Robustness(
        len(asked),
        seed,
        measure_wording(searcher, dataset, asked, qrels, modes, seed, settings.endpoint, progress),
        measure_position(dataset, asked, qrels, modes, seed, model, backend, progress),
        measure_length(dataset, results, lists),
    )


def drawn_queries(dataset: Dataset, count: int, seed: int) -> dict[str, str]:
    """Draw queries that have words and a relevant document, in the data set's order."""
    fit = [q for q, text in dataset.queries.items() if not is_blank(text) and any(dataset.qrels[q].values())]
    drawn = np.random.default_rng(seed).permutation(len(fit))[:count]
    return {fit[at]: dataset.queries[fit[at]] for at in sorted(drawn.tolist())}


# Wording ------------------------------------------------------------------------------------------------------------


def measure_wording(
    searcher: Searcher,
    dataset: Dataset,
    asked: Mapping[str, str],
    qrels: Qrels,
    modes: Sequence[str],
    seed: int,
    endpoint: Endpoint | None = None,
    progress: Progress = SILENT,
) -> tuple[Effect, ...]:
    """Ask the same questions in other words: nDCG@10 of each way, against the questions as they are."""
    texts = (f"{document.title} {document.text}" for document in dataset.corpus)
    wanted = [word.lower() for text in asked.values() for word in text.split()]
    encoder = load_stored_encoder(searcher.folder / ENCODER / searcher.fingerprint)
    vocabulary = read_vocabulary(texts, encoder.encode_queries, wanted, language_of(asked.values()))
    worded = {"as asked": dict(asked)}
    for way in WAYS:
        worded[way] = {
            query: perturb(text, way, generator_of(seed, way, query), vocabulary) for query, text in asked.items()
        }
    if endpoint is not None:
        worded["paraphrase"] = paraphrase(asked, endpoint, progress)
    progress.start(f"{dataset.name} wording", len(worded) * len(modes), "runs")
    runs = {}
    for mode in modes:
        for way, questions in worded.items():
            runs[way, mode] = first_ten(searcher, questions, mode, dataset.own)
            progress.advance()
    progress.finish()
    return effects(runs, qrels, list(worded), modes, with_overlap=True)


def generator_of(seed: int, *names: str) -> np.random.Generator:
    """Make a generator that depends on seed and names alone, whatever is drawn elsewhere."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode("utf-8", "replace")) for name in names)])


def first_ten(searcher: Searcher, texts: Mapping[str, str], mode: str, own: frozenset[str] = frozenset()) -> Run:
    """Rank the ten best documents for each query; a query that stands in the corpus does not find itself."""
    rankings = {}
    for query, text in texts.items():
        found = searcher.rank(text, k=CUTOFF + 1, mode=mode)
        pairs = zip(found.documents, found.scores.tolist(), strict=True)
        rankings[query] = [pair for pair in pairs if query not in own or pair[0] != query][:CUTOFF]
    return Run(mode, rankings)


def effects(
    runs: Mapping[tuple[str, str], Run],
    qrels: Qrels,
    conditions: Sequence[str],
    modes: Sequence[str],
    *,
    with_overlap: bool = False,
) -> tuple[Effect, ...]:
    """Hold each (condition, mode) against the first condition in the same mode."""
    measured = {key: measure(run, qrels) for key, run in runs.items()}
    others = [(condition, mode) for condition in conditions[1:] for mode in modes]
    compared = {
        key: compare(measured[key].queries[MEASURE], measured[conditions[0], key[1]].queries[MEASURE]) for key in others
    }
    corrected = dict(zip(others, holm([compared[key].p for key in others]), strict=True))
    found = []
    for key in ((condition, mode) for condition in conditions for mode in modes):
        kept = overlap(runs[key], runs[conditions[0], key[1]]) if with_overlap else None
        found.append(Effect(*key, measured[key].means[MEASURE], compared.get(key), corrected.get(key), kept))
    return tuple(found)


def overlap(run: Run, plain: Run) -> float:
    """Tell the mean share of a run's first ten documents that another run's first ten have too."""
    shares = []
    for query, ranking in plain.rankings.items():
        first = {document for document, _ in ranking[:CUTOFF]}
        again = {document for document, _ in run.rankings[query][:CUTOFF]}
        shares.append(len(first & again) / len(first) if first else 1.0)
    return float(np.mean(shares))


# Position -----------------------------------------------------------------------------------------------------------


def measure_position(
    dataset: Dataset,
    asked: Mapping[str, str],
    qrels: Qrels,
    modes: Sequence[str],
    seed: int,
    model: str | None = None,
    backend: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, tuple[Effect, ...]]:
    """Find each answer at the start, middle and end of a long document, whole and split into passages."""
    import searchengine

    made, judged = composites(dataset, asked, qrels, seed)
    found = {}
    with tempfile.TemporaryDirectory(prefix="searchengine-robustness-") as folder:
        for passages in SPLITTINGS:
            runs = {}
            for where in PLACES:
                documents = (Document(key=key, title="", text=text) for key, text in made[where].items())
                with searchengine.index_documents(
                    documents,
                    index=Path(folder) / f"{passages}-{where}",
                    model=model,
                    backend=backend,
                    passages=passages,
                    progress=progress,
                ) as searcher:
                    for mode in modes:
                        runs[where, mode] = first_ten(searcher, {q: asked[q] for q in judged}, mode)
            found[passages] = effects(runs, judged, PLACES, modes)
    return found


def composites(
    dataset: Dataset, asked: Mapping[str, str], qrels: Qrels, seed: int
) -> tuple[dict[str, dict[str, str]], Qrels]:
    """Make a long document around each query's best answer: place → id → text; and which of them answer which query.

    The parts around an answer come from documents that no sampled query calls relevant.
    """
    best = {query: min(grades, key=lambda document: (-grades[document], document)) for query, grades in qrels.items()}
    relevant = {document for grades in qrels.values() for document, grade in grades.items() if grade > 0}
    generator = generator_of(seed, "position")
    spare = sorted(dataset.corpus.ids - relevant)
    drawn = {spare[at] for at in generator.permutation(len(spare))[: 20 * len(asked)].tolist()}
    found = dataset.corpus.select(drawn | set(best.values()))
    texts = {key: f"{document.title} {document.text}" for key, document in found.items()}
    answers = {key: clipped(texts[key], ANSWER_WORDS) for key in dict.fromkeys(best.values()) if key in texts}
    answers = {key: text for key, text in answers.items() if text}
    parts = [clipped(texts[key], FILLER_WORDS) for key in sorted(drawn & texts.keys())]
    fillers = draw_fillers(answers, parts, generator)
    made = {
        where: {key: place(answer, fillers[key], where).text for key, answer in answers.items()} for where in PLACES
    }
    judged = {query: {key: grades[key] for key in answers if grades.get(key)} for query, grades in qrels.items()}
    return made, {query: grades for query, grades in judged.items() if grades}


# Length -------------------------------------------------------------------------------------------------------------


def measure_length(
    dataset: Dataset, results: Mapping[str, ModeResult], lists: Mapping[str, Mapping[str, Sequence[str]]]
) -> tuple[LengthBias, ...]:
    """Compare the lengths of what is found with those of what is relevant, and nDCG@10 from short to long answers."""
    words = {document.id: len(f"{document.title} {document.text}".split()) for document in dataset.corpus}
    lengths = {
        query: float(np.mean(known))
        for query, grades in dataset.qrels.items()
        if (known := [words[document] for document, grade in grades.items() if grade > 0 and document in words])
    }
    queries = sorted(lengths, key=lambda query: (lengths[query], query))
    parts = [part.tolist() for part in np.array_split(np.array(queries, dtype=object), QUANTILES) if len(part)]
    found = []
    for mode, result in results.items():
        values = result.queries[MEASURE]
        first = [words[document] for ranking in lists[mode].values() for document in ranking[:CUTOFF]]
        quantiles = tuple((lengths[part[-1]], len(part), float(np.mean([values[q] for q in part]))) for part in parts)
        retrieved, relevant = (float(np.mean(some)) if some else 0.0 for some in (first, list(lengths.values())))
        found.append(LengthBias(mode, retrieved, relevant, float(np.mean(list(words.values()))), quantiles))
    return tuple(found)


# Tables -------------------------------------------------------------------------------------------------------------


def tables(found: Robustness) -> list[tuple[str, list[list[str]]]]:
    """Lay the report out as tables, (caption, rows with their head), for a terminal and a page alike."""
    changes = f"* p < {CHANCE:g}, corrected"
    laid = [
        (
            f"wording: {MEASURE} of {found.queries:,} queries, its change, the share of the first ten kept ({changes})",
            effect_rows(found.wording),
        )
    ]
    for passages, placed in found.position.items():
        caption = f"the answer's place in a long document, {SPLITTINGS[passages]}: {MEASURE}, its change ({changes})"
        laid.append((caption, effect_rows(placed)))
    head = ["", "words found", "relevant", "corpus", *(f"≤ {most:,.0f}" for most, _, _ in found.length[0].quantiles)]
    rows = [
        [
            bias.mode,
            *(f"{words:,.0f}" for words in (bias.retrieved, bias.relevant, bias.corpus)),
            *(f"{value:.4f}" for _, _, value in bias.quantiles),
        ]
        for bias in found.length
    ]
    caption = f"length: mean words of the first ten documents; {MEASURE} by words of the relevant ones, in quarters"
    return [*laid, (caption, [head, *rows])]


def effect_rows(found: Sequence[Effect]) -> list[list[str]]:
    """Lay effects out, a row a condition; a mode's value, its change and, for wordings, the share kept."""
    conditions = dict.fromkeys(effect.condition for effect in found)
    modes = dict.fromkeys(effect.mode for effect in found)
    heads = ["change", "kept"] if found[0].overlap is not None else ["change"]
    rows = [["", *(cell for mode in modes for cell in (mode, *heads))]]
    for condition in conditions:
        row = [condition]
        for effect in (effect for effect in found if effect.condition == condition):
            change = "" if effect.difference is None else f"{effect.difference.difference:+.4f}"
            change += "*" if effect.p_holm is not None and effect.p_holm < CHANCE else ""
            row += [f"{effect.value:.4f}", change, *([] if effect.overlap is None else [f"{effect.overlap:.2f}"])]
        rows.append(row)
    return rows
