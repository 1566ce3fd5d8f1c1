"""▶ The main path: BEIR folder → index → a run for each mode → measures → report.

One passage a document, title + " " + text, so that figures compare with published ones. Knows nothing of terminals.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.beir import Dataset, is_blank, open_dataset
from benchmarks.machine import describe_machine
from benchmarks.metrics import DEPTH, measure
from benchmarks.outputs import make_folder
from benchmarks.report import COMPARED, Latency, ModeComparison, ModeResult, Report
from benchmarks.robustness import Robust, measure_robustness
from benchmarks.runs import Ranking, Run, check_id, write_run
from benchmarks.significance import compare, holm
from indexer.documents import Document
from indexer.errors import DataError, StorageError, UsageError
from indexer.index import is_index
from indexer.progress import SILENT, Progress
from indexer.snapshot import Snapshot
from searchengine.fusion import FUSIONS
from searchengine.rerank import DEPTH as RERANK_DEPTH

if TYPE_CHECKING:
    from searchengine import Searcher
    from searchengine.rerank import Reranker

MODES = ("bm25", "dense", "hybrid")
ALL_MODES = (*MODES, "rm3")
RERANKED = "+rerank"  # behind a mode's name
FUSION = FUSIONS[0]  # the engine's default, named so that the report can tell it
TIMED_QUERIES = 1000  # at most, spread evenly: enough for a 95th percentile
TIMED_RERANKED = 50  # of a reranked mode: reading fifty passages takes a hundred times as long as finding them
WARM_UP_QUERIES = 5  # the first ones load the encoder and map files
LISTED = 10  # documents a report keeps of each ranking: as many as nDCG@10 looks at


def bench(
    folder: str | Path,
    *,
    split: str = "test",
    modes: Sequence[str] = MODES,
    model: str | None = None,
    index: str | Path | None = None,
    runs: str | Path | None = None,
    progress: Progress = SILENT,
    keep_first: bool = False,
    backend: str = "auto",
    label: str = "",
    robust: Robust | None = None,
    rerank: str | None = None,
    rerank_depth: int = RERANK_DEPTH,
    rerank_weight: float | None = None,
) -> Report:
    """Measure retrieval on one split of a BEIR folder, in each mode.

    The index is made in a temporary folder, or kept at ``index``, where a later run encodes only what it lacks.
    ``runs`` is a folder for TREC run files, DATASET.SPLIT.MODE.trec, and checked to be writable before encoding.
    ``robust`` asks for the robustness report as well.
    ``label`` names the model where several are compared, also in its run files: DATASET.SPLIT.LABEL.MODE.trec.
    ``rerank``: measure the last mode once more as MODE+rerank, its ``rerank_depth`` best read again by this reranker.
    Raises UsageError for an unknown mode, DataError for a faulty folder, StorageError, ModelError, IncompatibleIndex.
    """
    modes = check_modes(modes)
    dataset = open_dataset(folder, split, keep_first=keep_first)
    for note in dataset.notes:
        progress.note(f"{dataset.name}: {note}")
    if runs is not None:
        check_runs(dataset, Path(runs), label)
    system = f"{label}." if label else ""
    with kept_or_temporary(index) as place, build(dataset, place, model, backend, progress) as searcher:
        results = {}
        lists = {}
        again = None
        if rerank is not None:
            again = Again(searcher.reranker(rerank, progress), rerank_depth, rerank_weight)
            modes = (*modes, f"{modes[-1]}{RERANKED}")
        for mode in modes:
            run = retrieve(searcher, dataset, mode, progress, again)
            if runs is not None:
                named = replace(run, name=f"{system}{mode}")
                write_run(named, Path(runs) / f"{dataset.name}.{dataset.split}.{named.name}.trec")
            measured = measure(run, dataset.qrels)
            latency = time_searches(searcher, dataset, mode, again)
            results[mode] = ModeResult(measured.means, measured.queries, latency)
            lists[mode] = {
                query: tuple(document for document, _ in ranking[:LISTED]) for query, ranking in run.rankings.items()
            }
        robustness = None
        if robust is not None:
            plain = {mode: result for mode, result in results.items() if not mode.endswith(RERANKED)}
            robustness = measure_robustness(
                searcher, dataset, plain, lists, robust, model=model, backend=backend, progress=progress
            )
        if (built := searcher.report) is None:
            raise TypeError("index_documents() gave no report")
        rate = built.passages_encoded / built.encode_seconds if built.passages_encoded else None
        return Report(
            dataset=dataset.name,
            split=split,
            model=searcher.encoder_name,
            documents=len(dataset.corpus),
            queries=len(dataset.queries),
            results=results,
            index_seconds=round(built.seconds, 3),
            passages_per_second=rate and round(rate, 1),
            comparisons=compare_modes(results),
            notes=dataset.notes,
            details={
                "fingerprint": searcher.fingerprint,
                "backend": built.backend,
                "passages_encoded": built.passages_encoded,
                "fusion": FUSION,
                "weights": searcher.weights().as_dict(),
                "machine": describe_machine(),
                **({} if again is None else again.as_json()),
            },
            label=label,
            lists=lists,
            robustness=robustness,
        )


@dataclass(frozen=True, slots=True)
class Again:
    """How the best are read again: by what, how many, and its share of the order (None: the reranker's default)."""

    reranker: Reranker
    depth: int
    weight: float | None

    def as_json(self) -> dict[str, Any]:
        """Return what a report says of it."""
        return {"rerank": self.reranker.name, "rerank_depth": self.depth, "rerank_weight": self.weight}

    def options(self, mode: str) -> dict[str, Any]:
        """Give the engine's options for a mode: nothing for one that is not reranked."""
        if not mode.endswith(RERANKED):
            return {}
        return {"rerank": self.reranker, "rerank_depth": self.depth, "rerank_weight": self.weight}


def asked(mode: str, again: Again | None) -> dict[str, Any]:
    """Give the engine's options for a mode's name."""
    return {"mode": mode.removesuffix(RERANKED), "fusion": FUSION, **({} if again is None else again.options(mode))}


def check_modes(modes: Sequence[str]) -> tuple[str, ...]:
    """Return the modes, each once. Raises UsageError for none or an unknown one, with the nearest name."""
    if not modes:
        raise UsageError(f"no mode given (choose from {', '.join(ALL_MODES)})")
    for mode in modes:
        if mode not in ALL_MODES:
            near = get_close_matches(mode, ALL_MODES, 1)
            advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(ALL_MODES)}"
            raise UsageError(f"unknown mode {mode!r} ({advice})")
    return tuple(dict.fromkeys(modes))


def check_runs(dataset: Dataset, folder: Path, label: str = "") -> None:
    """Raise StorageError or DataError now rather than after encoding: run files must be writable, ids must fit them."""
    make_folder(folder)
    if label:
        check_id(label, "model's name")
    for query in dataset.queries:
        check_id(query, "query id")
    for document in dataset.corpus.ids:
        check_id(document, "document id")


@contextmanager
def kept_or_temporary(index: str | Path | None) -> Iterator[Path]:
    """Give the index's folder: the one asked for, else a temporary one that is removed. Raises StorageError."""
    if index is not None:
        yield Path(index)
        return
    try:
        temporary = tempfile.TemporaryDirectory(prefix="searchengine-bench-")
    except OSError as error:
        raise StorageError(f"no temporary folder can be made: {error.strerror} (give one with --index)") from error
    with temporary as name:
        yield Path(name) / "index"


def build(dataset: Dataset, place: Path, model: str | None, backend: str, progress: Progress) -> Searcher:
    """Index the corpus, one passage a document. Raises DataError for an index that holds something else."""
    import searchengine

    if is_index(place):
        refuse_foreign_index(dataset, place)
    documents = (Document(key=found.id, title=found.title, text=found.text) for found in dataset.corpus)
    return searchengine.index_documents(
        documents, index=place, model=model, backend=backend, passages="whole", progress=progress
    )


def refuse_foreign_index(dataset: Dataset, place: Path) -> None:
    """Raise DataError, before anything is written, unless an index holds only this corpus, one passage a document.

    Other documents would be found as well, and the index of someone's folder is no place for a corpus.
    """
    snapshot = Snapshot(place)
    try:
        with snapshot.reading() as generation:
            mode = generation.settings["splitting"]["mode"]
            rows = snapshot.rows("SELECT key, source FROM documents")
            strangers = sum(source is not None or key not in dataset.corpus.ids for key, source in rows)
    finally:
        snapshot.close()
    if mode != "whole" or strangers:
        what = f"{strangers:,} documents that {dataset.name} lacks" if strangers else "documents split into passages"
        raise DataError(f"{place}: the index holds {what} (give each data set an index of its own with --index)")


def retrieve(
    searcher: Searcher, dataset: Dataset, mode: str, progress: Progress = SILENT, again: Again | None = None
) -> Run:
    """Rank the thousand best documents for every query; an empty query finds nothing.

    A query that is a document of the corpus (ArguAna) does not find itself.
    """
    rankings: dict[str, Ranking] = {}
    progress.start(f"{dataset.name} {mode}", len(dataset.queries), "queries")
    for query, text in dataset.queries.items():
        rankings[query] = []
        if not is_blank(text):
            own = query if query in dataset.own else None
            found = searcher.rank(text, k=DEPTH + (own is not None), **asked(mode, again))
            pairs = zip(found.documents, found.scores.tolist(), strict=True)
            rankings[query] = [(document, score) for document, score in pairs if document != own][:DEPTH]
        progress.advance()
    progress.finish()
    return Run(mode, rankings)


def time_searches(searcher: Searcher, dataset: Dataset, mode: str, again: Again | None = None) -> Latency | None:
    """Time searches for ten hits with their texts, one at a time, after a warm-up; None when every query is empty."""
    texts = [text for text in dataset.queries.values() if not is_blank(text)]
    if not texts:
        return None
    most = TIMED_RERANKED if mode.endswith(RERANKED) else TIMED_QUERIES
    texts = texts[:: -(-len(texts) // most)]
    for text in texts[:WARM_UP_QUERIES]:
        searcher.search(text, k=10, **asked(mode, again))
    milliseconds = []  # no progress here: a bar's own thread would be timed with it
    for text in texts:
        started = time.perf_counter()
        searcher.search(text, k=10, **asked(mode, again))
        milliseconds.append((time.perf_counter() - started) * 1000)
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return Latency(round(float(p50), 3), round(float(p95), 3))


def compare_modes(results: dict[str, ModeResult]) -> tuple[ModeComparison, ...]:
    """Compare every two modes, the later one against the earlier, by nDCG@10; p corrected for all of them."""
    pairs = [(later, earlier) for earlier, later in itertools.combinations(results, 2)]
    found = [compare(results[a].queries[COMPARED], results[b].queries[COMPARED]) for a, b in pairs]
    corrected = holm([comparison.p for comparison in found])
    return tuple(
        ModeComparison(COMPARED, a, b, comparison, p)
        for (a, b), comparison, p in zip(pairs, found, corrected, strict=True)
    )
