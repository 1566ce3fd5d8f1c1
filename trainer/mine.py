"""Mine hard negatives: with the engine's own index and hybrid retrieval, or with the encoder in training (ANCE).

What a query's judgements call relevant is never a negative, nor what looks too much like its answer (``Filter`` rules
of ``negatives/hard.py``). Knows nothing of steps and losses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import searchengine
from benchmarks.outputs import check_file, write_whole
from indexer.documents import Document
from indexer.encoders import load_cross_encoder
from indexer.progress import SILENT, Progress
from indexer.vectors import best
from trainer.negatives.hard import HardSettings, Mined, allowed
from trainer.sources import Labelled, Text, read_labels, read_texts

if TYPE_CHECKING:
    from searchengine import Searcher

DEPTH = 1000  # how deep the dense ranking is asked for cosines


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What was mined: queries, negatives in all, and how many candidates the filter left out."""

    queries: int
    negatives: int
    filtered: int
    output: Path


def build_index(
    texts: Iterable[Text], place: Path, model: str | None, progress: Progress = SILENT, backend: str = "auto"
) -> Searcher:
    """Index texts, one passage a document, as ``bench`` does; an index that is there already is brought up to date."""
    documents = (Document(key=text.key, title=text.title, text=text.body) for text in texts)
    return searchengine.index_documents(
        documents, index=place, model=model, backend=backend, passages="whole", progress=progress
    )


def mine_with_engine(
    searcher: Searcher, labels: Sequence[Labelled], settings: HardSettings, progress: Progress = SILENT
) -> tuple[dict[str, Mined], int]:
    """Mine each query's negatives by retrieval; return them by the label's key, and how many the filter left out."""
    found: dict[str, Mined] = {}
    left_out = 0
    progress.start("mine", len(labels), "queries")
    for label in labels:
        relevant = [key for key, grade in label.grades.items() if grade > 0]
        depth = settings.range_max + len(relevant)
        by_meaning = searcher.rank(label.text, k=DEPTH, mode="dense")
        cosines = dict(zip(by_meaning.documents, by_meaning.scores.tolist(), strict=True))
        modes = ("dense", "bm25") if settings.source == "both" else (settings.source,)
        # by "feedback": what merely resembles the answer must not gain by that, it is what is looked for
        rankings = [searcher.rank(label.text, k=depth, mode=mode, fusion="feedback") for mode in modes]
        lists = [ranking.documents for ranking in rankings]
        fused = dict(zip(lists[-1], rankings[-1].scores.tolist(), strict=True))
        ranked = list(dict.fromkeys(key for key in chain(*zip_longest(*lists)) if key is not None))
        mined, dropped = select(ranked, cosines, relevant, settings)
        if settings.source == "hybrid":
            mined = replace(mined, fused=tuple(fused[key] for key in mined.documents))
        found[label.key] = mined
        left_out += dropped
        progress.advance()
    progress.finish()
    return found, left_out


def mine_with_vectors(
    queries: np.ndarray, passages: np.ndarray, labels: Sequence[Labelled], keys: list[str], settings: HardSettings
) -> dict[str, Mined]:
    """Mine with vectors at hand: queries [n, D] of the labels, passages [m, D] of the documents ``keys``."""
    found = {}
    depth = min(len(keys), settings.range_max + 20)
    for label, vector in zip(labels, queries, strict=True):
        numbers, scores = best(np.arange(len(keys)), passages @ vector, depth)
        relevant = [key for key, grade in label.grades.items() if grade > 0]
        cosines = {keys[number]: score for number, score in zip(numbers.tolist(), scores.tolist(), strict=True)}
        found[label.key], _ = select(list(cosines), cosines, relevant, settings)
    return found


def select(
    ranked: Sequence[str], cosines: dict[str, float], relevant: Sequence[str], settings: HardSettings
) -> tuple[Mined, int]:
    """Take ranks ``range_min`` to ``range_max`` of what is not relevant and passes the filter; count what does not.

    A document without a cosine is one that the dense ranking does not reach: it counts as the least of those it does.
    """
    floor = min(cosines.values(), default=0.0)
    known = set(relevant)
    candidates = [key for key in ranked if key not in known][settings.range_min - 1 : settings.range_max]
    scores = [cosines.get(key, floor) for key in candidates]
    positive = max((cosines.get(key, floor) for key in relevant), default=1.0)
    passing = allowed(scores, positive, share=settings.share, margin=settings.margin)
    kept = [(key, score) for key, score, fits in zip(candidates, scores, passing, strict=True) if fits]
    kept = kept[: settings.pool]
    return Mined(tuple(key for key, _ in kept), tuple(score for _, score in kept)), int((~passing).sum())


def mine(
    data: Sequence[Path],
    output: Path,
    settings: HardSettings,
    *,
    model: str | None = None,
    index: Path | None = None,
    per_query: int = 8,
    teacher: str | None = None,
    progress: Progress = SILENT,
) -> MiningReport:
    """Mine hard negatives for the labelled training queries of ``data`` and write them as JSONL that ``train`` reads.

    A line: query, positive texts, negative texts, and the ids of both with the negatives' cosines. Dev and test
    queries are never mined for. ``teacher``, a cross-encoder's folder or name, adds what it gives each of these texts
    as "scores", which the recipe ``distill`` learns.
    """
    from benchmarks.bench import kept_or_temporary

    check_file(output)
    scorer = None if teacher is None else load_cross_encoder(teacher, progress=progress)
    labels = read_labels(data).train
    with kept_or_temporary(index) as place:
        searcher = build_index(read_texts(data, progress), place, model, progress)
        with searcher:
            found, left_out = mine_with_engine(searcher, labels, settings, progress)
    wanted = {key for mined in found.values() for key in mined.documents[:per_query]}
    wanted |= {key for label in labels for key, grade in label.grades.items() if grade > 0}
    texts = {text.key: f"{text.title} {text.body}".strip() for text in read_texts(data) if text.key in wanted}
    written = 0
    with write_whole(output) as part, part.open("w", encoding="utf-8") as file:
        for label in labels:
            positives = [key for key, grade in label.grades.items() if grade > 0 and key in texts]
            mined = found[label.key]
            negatives = list(zip(mined.documents, mined.scores, strict=True))[:per_query]
            if not positives:
                continue
            written += len(negatives)
            record: dict[str, Any] = {
                "query": label.text,
                "positive": [texts[key] for key in positives],
                "negatives": [texts[key] for key, _ in negatives],
                "query_id": label.key,
                "positive_ids": positives,
                "negative_ids": [key for key, _ in negatives],
                "negative_cosines": [round(score, 6) for _, score in negatives],
            }
            if scorer is not None:
                given = scorer.scores(label.text, [*record["positive"], *record["negatives"]])
                record["scores"] = [round(float(score), 6) for score in given]
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return MiningReport(len(labels), written, left_out, output)
