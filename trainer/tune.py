"""Fusion weights learnt from judgements: three numbers, cross-validated, kept only where they help beyond chance.

Every query is retrieved once; all settings are tried on its arrays. Knows nothing of how an encoder is trained.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.asked import Asked, ask_all
from benchmarks.beir import is_blank, open_dataset, read_queries, refuse_strangers
from benchmarks.qrels import Qrels, read_qrels
from benchmarks.report import draw
from benchmarks.significance import bootstrap_interval, randomisation_test
from indexer.errors import DataError, IndexBusy, UsageError
from indexer.format import FUSION
from indexer.index import find_index
from indexer.progress import SILENT, Progress
from indexer.snapshot import Snapshot, document_name, documents_of
from indexer.writer import Writer
from searchengine.engine import POOLED
from searchengine.fusion import DEFAULT, NEIGHBOURS, Weights
from searchengine.hits import Candidates
from searchengine.neighbours import ask_and_lift
from trainer.choice import choose, cross_validate
from trainer.sources import labels_of_beir, read_labels

SPANS = (0.0, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0)  # around the default by factors of √2
SHARES = (0.0, 0.5, 1.0, 2.0)
LIFTS = (0.0, NEIGHBOURS)
GRID = tuple(Weights(*settings) for settings in itertools.product(SPANS, SHARES, LIFTS))
MEASURE = "nDCG@10"
CUTOFF = 10
CHANCE = 0.05
FEWEST = 10  # queries; fewer say nothing


@dataclass(frozen=True, slots=True)
class Judged:
    """Judged queries to learn from: texts, judgements by document name, and where they come from.

    ``own`` are queries that stand in the index under their own id: finding themselves is no success. ``trained_on``: an
    encoder may have been trained on them.
    """

    queries: dict[str, str]
    qrels: Qrels
    origin: str
    source: Path
    own: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    trained_on: bool = False


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What was learnt. ``kept`` False: the index is as it was, ``reason`` says why.

    ``before`` is the default's nDCG@10, ``after`` what choosing weights gives queries that chose nothing
    (cross-validated); ``low`` and ``high`` bound their difference (95 %, bootstrap), ``p`` is its chance. ``grid`` has
    every setting's mean over all queries.
    """

    index: Path
    origin: str
    queries: int
    kept: bool
    reason: str
    weights: Weights
    before: float
    after: float
    low: float
    high: float
    p: float
    grid: tuple[tuple[Weights, float], ...]

    def as_json(self) -> dict[str, Any]:
        """Return what ``tune --json`` prints."""
        grid = [{**weights.as_dict(), MEASURE: value} for weights, value in self.grid]
        return {**asdict(self), "index": str(self.index), "weights": self.weights.as_dict(), "grid": grid}


def judged_in_folder(folder: Path, split: str | None = None) -> Judged:
    """Take a BEIR folder's judged queries: its dev split, else its train split; "held-out" is what ``train`` held out.

    Raises UsageError for the test split: what is learnt there cannot be measured there. DataError as ``open_dataset``.
    """
    if split == "test":
        raise UsageError(
            f"{folder}: weights are not learnt from test judgements (choose --split train, dev or held-out)"
        )
    if split == "held-out":
        labels = read_labels([folder])
        texts = {label.key: label.text for label in labels.dev}
        return Judged(texts, {label.key: label.grades for label in labels.dev}, labels.split, folder)
    if split is None:
        split = "dev" if labels_of_beir(folder, "dev") is not None else "train"
    found = open_dataset(folder, split)
    origin = f"{found.name} {split}"
    return Judged(found.queries, found.qrels, origin, folder / "qrels", found.own, found.notes, split == "train")


def judged_in_files(queries: Path, qrels: Path) -> Judged:
    """Take judged queries from queries.jsonl ("_id", "text") and a TSV file of query, document name and grade.

    Raises DataError naming file and line.
    """
    notes: list[str] = []
    texts = read_queries(queries, keep_first=False, notes=notes)
    judged, _ = read_qrels(qrels)
    if not judged:
        raise DataError(f"{qrels}: no judgement in it")
    refuse_strangers(judged.keys() - texts.keys(), len(judged), "query", qrels, queries, notes)
    kept = {query: grades for query, grades in judged.items() if query in texts}
    return Judged({query: texts[query] for query in kept}, kept, qrels.name, qrels, notes=tuple(notes))


def tune(index: Path, judged: Judged, *, dry_run: bool = False, progress: Progress = SILENT) -> TuneReport:
    """Learn an index's fusion weights from judged queries and store them in it, in one commit.

    They are kept only if they gain on queries that had no part in choosing them, beyond chance; else (or in a
    ``dry_run``) the index stays as it was.
    Raises UsageError for fewer than ten judged queries, DataError where the index lacks what they judge, IndexBusy.
    """
    folder = find_index(index)
    for note in judged.notes:
        progress.note(note)
    names, values, fingerprint = measure_grid(folder, judged, GRID, progress)
    distances = np.array([distance(weights) for weights in GRID])
    _, groups = np.unique([" ".join(judged.queries[name].split()) for name in names], return_inverse=True)
    gains = cross_validate(values, distances, groups)
    weights = GRID[choose(values, distances)]
    before = float(values[GRID.index(DEFAULT)].mean())
    gain, p = float(gains.mean()), randomisation_test(gains)
    low, high = bootstrap_interval(gains)
    kept, reason = decide(weights, gain, p)
    report = TuneReport(
        folder,
        judged.origin,
        len(names),
        kept and not dry_run,
        reason,
        weights,
        before,
        before + gain,
        low,
        high,
        p,
        tuple(zip(GRID, values.mean(axis=1).tolist(), strict=True)),
    )
    if report.kept:
        store(folder, report, fingerprint)
    return report


def decide(weights: Weights, gain: float, p: float) -> tuple[bool, str]:
    """Tell whether weights are worth keeping, and the sentence that says why."""
    if weights == DEFAULT:
        return False, "no other weights are better than the default by more than the noise"
    if not gain > 0 or p >= CHANCE:
        return False, f"on queries that had no part in the choice the gain ({gain:+.4f}, p {p:.3f}) may be chance"
    return True, f"better on queries that had no part in the choice ({gain:+.4f}, p {p:.4f})"


def as_text(report: TuneReport) -> str:
    """Draw every setting's mean as a table, then what was chosen and what it brings."""
    lift = report.weights.neighbours
    means = {(weights.span, weights.feedback): value for weights, value in report.grid if weights.neighbours == lift}
    rows = [[f"span {span:g}", *(f"{means[span, share]:.4f}" for share in SHARES)] for span in SPANS]
    chosen, default = report.weights, DEFAULT
    return "\n".join(
        [
            f"{report.queries:,} queries of {report.origin}, {MEASURE} by span and feedback, neighbours {lift:g}",
            draw([["", *(f"feedback {share:g}" for share in SHARES)], *rows]),
            f"default: {named(default)}: {report.before:.4f}",
            f"chosen: {named(chosen)}; cross-validated {report.after:.4f} "
            f"({report.after - report.before:+.4f} [{report.low:+.4f}, {report.high:+.4f}], p {report.p:.4f})",
            f"{'kept' if report.kept else 'not kept'}: {report.reason}",
        ]
    )


def named(weights: Weights) -> str:
    """Spell weights out."""
    return f"span {weights.span:g}, feedback {weights.feedback:g}, neighbours {weights.neighbours:g}"


def distance(weights: Weights) -> float:
    """Tell how far weights lie from the default: octaves of the span (0 as if 0.5) plus the change of the others."""
    octaves = abs(math.log2(max(weights.span, 0.5) / DEFAULT.span))
    return octaves + abs(weights.feedback - DEFAULT.feedback) + abs(weights.neighbours - DEFAULT.neighbours)


def store(folder: Path, report: TuneReport, fingerprint: str) -> None:
    """Commit learnt weights. Raises IndexBusy where the index was made anew with another encoder meanwhile."""
    learnt = {"from": report.origin, "queries": report.queries, "before": report.before, "after": report.after}
    with Writer(folder) as writer:
        if writer.settings["encoder"]["fingerprint"] != fingerprint:
            raise IndexBusy(f"{folder}: was made anew with another encoder meanwhile (nothing was stored; tune again)")
        writer.store_setting(FUSION, {**report.weights.as_dict(), "learnt": learnt})


def reset(index: Path) -> bool:
    """Remove learnt weights from an index, in one commit; False where it carries none."""
    with Writer(find_index(index)) as writer:
        if FUSION not in writer.settings:
            return False
        writer.store_setting(FUSION, None)
        return True


def measure_grid(
    folder: Path, judged: Judged, grid: Iterable[Weights], progress: Progress = SILENT
) -> tuple[list[str], np.ndarray, str]:
    """Measure every setting on every query that can be answered: query ids [Q], nDCG@10 float64 [S, Q].

    Also returns the fingerprint of the index's encoder. Blank queries and those without a relevant document are left
    out. Raises UsageError where fewer than ten queries remain, DataError where the index lacks judged documents.
    """
    grid = tuple(grid)
    snapshot = Snapshot(folder)
    try:
        with snapshot.reading() as generation:
            numbers = numbers_of(snapshot, judged, folder, progress)
            if judged.trained_on and generation.settings["encoder"]["model"] is not None:
                progress.note(
                    f"if the index's encoder was trained on {judged.origin}, these queries flatter it: --split held-out"
                )
            texts = {
                query: text
                for query, text in judged.queries.items()
                if not is_blank(text) and any(judged.qrels[query].values())
            }
            if len(texts) < FEWEST:
                raise UsageError(
                    f"{judged.origin}: {len(texts)} judged queries with an answer; weights need at least {FEWEST}"
                )
            names, columns = [], []
            progress.start("tune", len(texts), "queries")
            for query, asked in ask_all(folder, generation, texts, POOLED):
                documents = documents_of(generation.segments, asked.pool.passages)
                graded = {numbers[name]: grade for name, grade in judged.qrels[query].items() if name in numbers}
                grades = np.array([graded.get(document, 0) for document in documents.tolist()], dtype=np.float64)
                left_out = numbers.get(query, -1) if query in judged.own else -1
                ideal = gain_of(np.sort(list(judged.qrels[query].values()))[::-1])
                columns.append([ndcg(rank(asked, w), asked, documents, grades, left_out) / ideal for w in grid])
                names.append(query)
                progress.advance()
            progress.finish()
            return names, np.array(columns).T, str(generation.settings["encoder"]["fingerprint"])
    finally:
        snapshot.close()


def numbers_of(snapshot: Snapshot, judged: Judged, folder: Path, progress: Progress) -> Mapping[str, int]:
    """Find the judged documents in the index: name → id. Raises DataError where more than a tenth is not there."""
    wanted = {name for grades in judged.qrels.values() for name in grades} | judged.own
    rows = snapshot.rows("SELECT d.id, d.key, s.path FROM documents d LEFT JOIN sources s ON s.id = d.source")
    named = (
        (document_name(key, None if path is None else path.decode("utf-8", "surrogateescape")), number)
        for number, key, path in rows
    )
    numbers = {name: number for name, number in named if name in wanted}
    notes: list[str] = []
    refuse_strangers(wanted - numbers.keys(), len(wanted), "document", judged.source, folder, notes)
    for note in notes:
        progress.note(note)
    return numbers


def rank(asked: Asked, weights: Weights) -> Candidates:
    """Fuse as the engine does by default, with other weights."""
    return ask_and_lift(asked.pool, asked.vectors, asked.vector, asked.moments, asked.alike, weights)


def ndcg(fused: Candidates, asked: Asked, documents: np.ndarray, grades: np.ndarray, left_out: int = -1) -> float:
    """Sum the first ten documents' discounted gains; documents and grades [u] are those of the pool's passages.

    A document counts where its best passage stands; the one numbered ``left_out`` does not count at all.
    """
    places = np.searchsorted(asked.pool.passages, fused.passages)
    places = places[documents[places] != left_out]
    _, first = np.unique(documents[places], return_index=True)
    return gain_of(grades[places[np.sort(first)[:CUTOFF]]])


def gain_of(grades: np.ndarray) -> float:
    """Discount grades [n], best place first, as trec_eval does: linear gains over log2(rank + 1), ten at most."""
    first = np.asarray(grades, dtype=np.float64)[:CUTOFF]
    return float((first / np.log2(np.arange(len(first)) + 2)).sum())
