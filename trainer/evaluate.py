"""Is the encoder better? nDCG@10 on queries held out from training, by the engine's own metrics over the whole corpus.

Labelled data: the dev split. Without labels: known-item queries of documents set aside, the title (or the first
sentence where there is none) looks for the rest of its document among all. Knows nothing of steps and losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.metrics import Measured, measure
from benchmarks.runs import Run
from indexer.progress import SILENT, Progress
from indexer.vectors import best
from searchengine.fusion import standard
from searchengine.hits import Pool
from trainer.batch import Ids
from trainer.corpus import Corpus
from trainer.encoder import TrainableEncoder
from trainer.pseudo import LEFT, PseudoQueries, PseudoQuery
from trainer.randomness import generator
from trainer.sources import Labelled, is_held_out
from trainer.words import WordScores

MEASURE = "nDCG@10"
FUSED = "fused nDCG@10"  # by cosine and words, as the engine's fusion counts them
POOLED = 20  # a quick evaluation looks among each query's best so many of the start model
PSEUDO_QUERIES = 300
DISTRACTORS = 2000  # documents beside them
LARGEST = 50_000  # documents that labelled queries are searched among; of more, the judged ones and a sample
DEPTH_KEPT = 100  # of a ranking; R@100 looks no deeper
BLOCK = 256


@dataclass
class DevSet:
    """Held-out queries: token ids, judgements by document number, and the documents to look among.

    ``passages`` are what the encoder reads of each document in ``documents``; ``kind`` is what a log calls it. Where
    there are ``words``, those of the passages, the set is also judged by the score that fusion makes of both.
    """

    kind: str
    queries: list[Ids]
    grades: list[dict[int, int]]
    documents: np.ndarray
    passages: list[Ids]
    start_rows: np.ndarray | None = field(default=None, repr=False)
    words: WordScores | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.queries)


def labelled_dev(corpus: Corpus, labels: Sequence[Labelled], encoder: TrainableEncoder) -> DevSet:
    """Judge by labelled queries over the whole corpus, or over a sample of a very large one."""
    numbers = {key: number for number, key in enumerate(corpus.keys)}
    judged = [{numbers[key]: grade for key, grade in label.grades.items() if key in numbers} for label in labels]
    kept = [(label, grades) for label, grades in zip(labels, judged, strict=True) if any(grades.values())]
    longest = encoder.passage_frame.longest
    documents, kind = np.arange(len(corpus)), "dev"
    if len(corpus) > LARGEST:
        known = np.array(sorted({number for _, grades in kept for number in grades}), dtype=np.int64)
        sampled = generator(0, len(corpus)).choice(len(corpus), LARGEST, replace=False)
        documents, kind = np.union1d(known, sampled), f"dev, among {LARGEST:,} documents"
    return DevSet(
        kind,
        [encoder.tokens_of(label.text) for label, _ in kept],
        [grades for _, grades in kept],
        documents,
        [corpus.whole(number, longest) for number in documents.tolist()],
    )


def set_aside(keys: Sequence[str], share: float) -> frozenset[int]:
    """Choose documents for the label-free test by a hash of their keys, as many as it needs and no more."""
    chosen = [number for number, key in enumerate(keys) if is_held_out(key, share)]
    return frozenset(chosen[: PSEUDO_QUERIES * 2])


def pseudo_dev(corpus: Corpus, aside: frozenset[int], encoder: TrainableEncoder, seed: int = 0) -> DevSet:
    """Judge by known items: the head of each document set aside looks for the rest of it among thousands.

    The rest is what stands behind the title, or behind the first tenth (at most 32 tokens) where there is none.
    """
    longest = encoder.passage_frame.longest
    queries: list[Ids] = []
    grades: list[dict[int, int]] = []
    rests: dict[int, Ids] = {}
    for number in sorted(aside):
        title, body = corpus.titles[number], corpus.bodies[number]
        if len(title) < 3:
            cut = min(32, len(body) // 10)
            title, body = body[:cut], body[cut:]
        if len(title) >= 3 and len(body) >= 8 and len(queries) < PSEUDO_QUERIES:
            queries.append(title)
            grades.append({number: 1})
            rests[number] = body[:longest]
    others = np.array([number for number in range(len(corpus)) if number not in rests], dtype=np.int64)
    if len(others) > DISTRACTORS:
        others = np.sort(generator(seed, 0).choice(others, DISTRACTORS, replace=False))
    documents = np.concatenate([np.array(sorted(rests), dtype=np.int64), others])
    # the distractors without their titles too, or those would give them away
    passages = [rests[n] if n in rests else (corpus.bodies[n][:longest]) for n in documents.tolist()]
    return DevSet("known items", queries, grades, documents, passages)


def pseudo_query_dev(
    corpus: Corpus,
    aside: Sequence[int],
    maker: PseudoQueries,
    encoder: TrainableEncoder,
    kinds: Sequence[str],
    seed: int = 0,
) -> DevSet:
    """Judge by pseudo queries of the passages set aside, one of each kind that a recipe learns from, and by a sentence.

    Titles find their passages too easily to tell two encoders apart, and nothing is trained on sentences unless the
    recipe says so. A passage stands there without its title and without what it is asked for by, among thousands of
    others without theirs.
    """
    longest = encoder.passage_frame.longest
    rests: dict[int, Ids] = {}
    queries: list[Ids] = []
    grades: list[dict[int, int]] = []
    for number in mixed(aside, seed):
        if len(rests) == PSEUDO_QUERIES:
            break
        asked = (query for kind in (*kinds, "sentence") if (query := maker.of(number, kind)))
        made = list({query.ids.tobytes(): query for query in asked}.values())
        while made and len(left_of(corpus.bodies[number], made)) < LEFT:
            made.pop()
        if made:
            rests[number] = left_of(corpus.bodies[number], made)[:longest]
            queries += [query.ids for query in made]
            grades += [{number: 1} for _ in made]
    others = np.array([number for number in range(len(corpus)) if number not in rests], dtype=np.int64)
    if len(others) > DISTRACTORS:
        others = np.sort(generator(seed, 0).choice(others, DISTRACTORS, replace=False))
    documents = np.concatenate([np.array(list(rests), dtype=np.int64), others])
    passages = [rests[n] if n in rests else corpus.bodies[n][:longest] for n in documents.tolist()]
    return DevSet("pseudo queries", queries, grades, documents, passages, words=WordScores(passages))


def asked_aside(aside: Sequence[int]) -> list[int]:
    """Name the passages set aside that questions are wanted for."""
    return mixed(aside)[:PSEUDO_QUERIES]


def mixed(aside: Sequence[int], seed: int = 0) -> list[int]:
    """Say in which order the passages set aside are looked at."""
    order: list[int] = generator(seed, 1).permutation(np.asarray(aside, dtype=np.int64)).tolist()
    return order


def left_of(body: Ids, queries: Sequence[PseudoQuery]) -> Ids:
    """Take out of a passage's body what these queries were taken from."""
    kept = np.ones(len(body), dtype=bool)
    for query in queries:
        kept[query.start : query.end] = False
    return body[kept]


def evaluate(encoder: TrainableEncoder, dev: DevSet, progress: Progress = SILENT) -> Measured:
    """Measure dense retrieval among all of the set's documents; its vectors are kept when these are the first."""
    progress.start("evaluate", len(dev.passages), "passages")
    rows = encoder.encode(dev.passages, query=False, progress=progress)
    progress.finish()
    if dev.start_rows is None:
        dev.start_rows = rows
    queries = encoder.encode(dev.queries, query=True)
    found = measure_rankings("dense", rankings(queries, rows, dev.documents), dev.grades)
    if dev.words is None:
        return found
    fused = measure_rankings("fused", fused_rankings(queries, rows, dev.documents, dev.queries, dev.words), dev.grades)
    return Measured({**found.means, FUSED: fused.means[MEASURE]}, {**found.queries, FUSED: fused.queries[MEASURE]})


def pooled(dev: DevSet, encoder: TrainableEncoder) -> DevSet:
    """Shrink a set to what can matter soon: judged documents and each query's best by the start model.

    For evaluations during training; figures are higher than over the whole corpus, their order is what counts.
    """
    if dev.start_rows is None:
        raise ValueError("evaluate the start model over the whole corpus first")
    vectors = encoder.encode(dev.queries, query=True)
    wanted = {number for grades in dev.grades for number in grades}
    for first in best_rows(vectors, dev.start_rows, POOLED):
        wanted.update(dev.documents[first].tolist())
    kept = np.flatnonzero(np.isin(dev.documents, list(wanted)))
    return DevSet(
        f"{dev.kind}, pooled", dev.queries, dev.grades, dev.documents[kept], [dev.passages[at] for at in kept]
    )


def rankings(queries: np.ndarray, rows: np.ndarray, documents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rank ``documents`` [n] by their vectors [n, D] for each query vector: ids and cosines, best first."""
    return [
        (documents[first], rows[first] @ queries[number])
        for number, first in enumerate(best_rows(queries, rows, DEPTH_KEPT))
    ]


def fused_rankings(
    queries: np.ndarray, rows: np.ndarray, documents: np.ndarray, texts: Sequence[Ids], words: WordScores
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rank as ``rankings`` does, by what the engine's ``standard`` makes of cosines and the queries' words."""
    found = []
    for vector, ids in zip(queries, texts, strict=True):
        cosines = rows @ vector
        bm25, full = words.bm25(ids)
        moments = float(cosines.mean(dtype=np.float64)), float(cosines.std(dtype=np.float64))
        ranked = standard(Pool(documents, cosines, bm25, full), *moments, count=DEPTH_KEPT)
        found.append((ranked.passages, ranked.scores))
    return found


def measure_rankings(
    name: str, ranked: Sequence[tuple[np.ndarray, np.ndarray]], grades: Sequence[Mapping[int, int]]
) -> Measured:
    """Measure each query's documents, int64 [k] best first with their scores [k], by its grades of document numbers."""
    rankings = {
        str(query): [(str(document), float(score)) for document, score in zip(*found, strict=True)]
        for query, found in enumerate(ranked)
    }
    qrels = {
        str(query): {str(document): grade for document, grade in judged.items()} for query, judged in enumerate(grades)
    }
    return measure(Run(name, rankings), qrels)


def best_rows(queries: np.ndarray, rows: np.ndarray, k: int) -> list[np.ndarray]:
    """Find each query's ``k`` most similar rows, best first, ties by number: arrays int64 [k]."""
    numbers = np.arange(len(rows))
    found = []
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ rows.T
        found += [best(numbers, line, k)[0] for line in scores]
    return found
