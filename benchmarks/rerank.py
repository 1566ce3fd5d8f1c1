"""What rerankers bring, and by which share of the order: many sets, one table.

    python -m benchmarks.rerank ../shared/data/cranfield ../shared/data/nq-oracle --indexes /tmp/i --every nq-oracle=4

Each set is indexed once and kept. Every query's first ``--depth`` documents are read by the reranker; the table is
nDCG@10 for each share that its scores may have (0 is the first stage alone, 1 the reranker alone), then each set's
difference at ``--weight``, paired, p corrected over sets, and what reading takes a query.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.beir import Dataset, is_blank, open_dataset
from benchmarks.bench import build
from benchmarks.fusion import options_of_sets, paired, strides_of
from benchmarks.machine import machine_line
from benchmarks.metrics import Measured, measure
from benchmarks.runs import Run
from indexer.progress import SILENT
from searchengine import Searcher
from searchengine.hits import Candidates
from searchengine.rerank import DEPTH, Reranker, blend, default_weight

SHARES = tuple(share / 10 for share in range(11))
SHOWN = "nDCG@10"


@dataclass(frozen=True, slots=True)
class Read:
    """One query's best documents, their first scores [n], and what the reranker gave each [n]."""

    documents: tuple[str, ...]
    first: np.ndarray
    scores: np.ndarray


@dataclass
class Timed:
    """A reranker whose time is counted."""

    reranker: Reranker
    name: str
    seconds: float = 0.0

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """Score as the reranker does."""
        started = time.perf_counter()
        found = self.reranker.scores(query, passages)
        self.seconds += time.perf_counter() - started
        return found


def read_all(
    searcher: Searcher,
    queries: Mapping[str, str],
    reranker: Reranker,
    *,
    depth: int = DEPTH,
    mode: str = "hybrid",
    own: frozenset[str] = frozenset(),
) -> dict[str, Read]:
    """Read every query's ``depth`` best documents by a reranker; queries in ``own`` do not find themselves."""
    found = {}
    for identifier, text in queries.items():
        if is_blank(text):
            continue
        # a share of 0 keeps the first stage's order and scores, and tells what the reranker gave
        hits = searcher.search(text, k=depth, mode=mode, rerank=reranker, rerank_depth=depth, rerank_weight=0.0)
        kept = [hit for hit in hits if not (identifier in own and hit.document == identifier)]
        given = [hit.scores["rerank"] for hit in kept]
        found[identifier] = Read(
            tuple(hit.document for hit in kept),
            np.array([hit.score for hit in kept], np.float32),
            np.array([np.nan if score is None else score for score in given], np.float32),
        )
    return found


def reordered(read: Mapping[str, Read], queries: Mapping[str, str], weight: float) -> Run:
    """Order what was read by a share of the reranker's scores; a query that found nothing has an empty ranking."""
    run = Run(f"{weight:.2f}", {identifier: [] for identifier in queries})
    for identifier, one in read.items():
        mixed = blend(Candidates(np.arange(len(one.documents)), one.first), one.scores, weight)
        pairs = zip(mixed.passages.tolist(), mixed.scores.tolist(), strict=True)
        run.rankings[identifier] = [(one.documents[at], score) for at, score in pairs]
    return run


def by_share(
    read: Mapping[str, Read], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]]
) -> dict[float, Measured]:
    """Measure every share of the reranker's."""
    judged = {identifier: dict(qrels[identifier]) for identifier in queries}
    return {share: measure(reordered(read, queries, share), judged) for share in SHARES}


def best_share(measured: Mapping[float, Measured]) -> float:
    """Choose the share with the highest nDCG@10; of equal ones the least, which trusts what is known longer."""
    return max(measured, key=lambda share: (measured[share].means[SHOWN], -share))


def asked_of(dataset: Dataset, stride: int) -> dict[str, str]:
    """Take every ``stride``-th query of a set."""
    return dict(list(dataset.queries.items())[::stride])


def table(measured: Mapping[str, Mapping[float, Measured]], weight: float) -> list[str]:
    """Print share × set of nDCG@10, and the differences at ``weight``."""
    sets = list(measured)
    lines = [f"{'share':<8}" + "".join(f"{name[:13]:>14}" for name in [*sets, "mean"])]
    for share in SHARES:
        values = [measured[name][share].means[SHOWN] for name in sets]
        lines.append(f"{share:<8.1f}" + "".join(f"{value:>14.4f}" for value in [*values, float(np.mean(values))]))
    lines.append(f"share {weight} − none, {SHOWN}:")
    lines += paired({name: (measured[name][weight], measured[name][0.0]) for name in sets}, SHOWN)
    return lines


def main() -> None:
    """Read the command line, measure, print."""
    options = options_of_sets(__doc__)
    options.add_argument("--rerank", default="late", help="'late', or a CrossEncoder's folder or name")
    options.add_argument("--model", help="the encoder to index by")
    options.add_argument("--mode", default="hybrid")
    options.add_argument("--depth", type=int, default=DEPTH)
    options.add_argument("--weight", type=float, help="the share to compare at, in tenths  [default: the engine's]")
    chosen = options.parse_args()
    strides = strides_of(chosen.every)
    measured = {}
    weight = chosen.weight
    sys.stdout.write(f"{machine_line()}\n")
    for folder in chosen.sets:
        dataset = open_dataset(folder)
        with build(dataset, chosen.indexes / dataset.name, chosen.model, "auto", SILENT) as searcher:
            reranker = Timed(searcher.reranker(chosen.rerank), chosen.rerank)
            queries = asked_of(dataset, strides.get(dataset.name, 1))
            read = read_all(
                searcher, queries, reranker, depth=chosen.depth, mode=chosen.mode, own=frozenset(dataset.own)
            )
        measured[dataset.name] = by_share(read, queries, dataset.qrels)
        weight = default_weight(reranker.reranker) if weight is None else weight
        sys.stdout.write(
            f"{dataset.name}: {len(queries)} queries, {1000 * reranker.seconds / max(1, len(read)):.0f} ms to read "
            f"{chosen.depth} documents\n"
        )
        sys.stdout.flush()
    sys.stdout.write("\n".join(table(measured, weight)) + "\n")


if __name__ == "__main__":
    main()
