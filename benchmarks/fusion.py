"""Every way to fuse two lists, on many sets at once: what the default was chosen by.

    python -m benchmarks.fusion ../shared/data/scifact ../shared/data/nq-oracle --indexes /tmp/i --every nq-oracle=4

Each set is indexed once and kept. One table: nDCG@10 / R@100 a set, their means, and the worst difference to the better
of dense and BM25 over all sets; then each set's nDCG@10 against min-max 0.6, paired, p corrected over sets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.asked import Asked, ask_all
from benchmarks.beir import Dataset, open_dataset
from benchmarks.bench import build
from benchmarks.metrics import Measured, measure
from benchmarks.runs import Run
from benchmarks.significance import compare, holm
from indexer.progress import SILENT
from indexer.snapshot import Snapshot, documents_of
from indexer.vectors import best
from searchengine import feedback, fusion, neighbours
from searchengine.hits import Candidates

KEPT = 100
BASE = "min-max 0.6"
PARTS = ("dense", "BM25")
SHOWN = ("nDCG@10", "R@100")


def ranked(asked: Asked, scores: np.ndarray) -> Candidates:
    """Rank the pool by scores float64 [u]."""
    return Candidates(*best(asked.pool.passages, scores, len(asked.pool)))


def spanned(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale so that ``low`` becomes 0 and ``high`` 1."""
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def computed(asked: Asked) -> Candidates:
    """Min-max 0.6 with missing scores computed: a cosine below the list's last is then below 0."""
    last = float(asked.dense.scores[-1]) if len(asked.dense) else 0.0
    cosines, bm25 = asked.pool.cosines, asked.pool.bm25
    return ranked(
        asked, 0.6 * spanned(cosines, last, cosines.max(initial=0)) + 0.4 * spanned(bm25, 0, bm25.max(initial=0))
    )


def theoretical(asked: Asked) -> Candidates:
    """Bruch's choice: theoretical minima (−1 and 0), 0.8 dense, missing scores computed."""
    cosines, bm25 = asked.pool.cosines, asked.pool.bm25
    return ranked(
        asked, 0.8 * spanned(cosines, -1, cosines.max(initial=0)) + 0.2 * spanned(bm25, 0, bm25.max(initial=0))
    )


def z_scores(asked: Asked, limit: float = np.inf) -> Candidates:
    """0.6 dense of z-scores by each list's own mean and deviation, cut at ``limit`` deviations."""
    scores = np.zeros(len(asked.pool))
    for share, known, values in ((0.6, asked.dense, asked.pool.cosines), (0.4, asked.lexical, asked.pool.bm25)):
        if len(known):
            middle, spread = known.scores.mean(dtype=np.float64), known.scores.std(dtype=np.float64) or 1
            scores += share * np.clip((values - middle) / spread, -limit, limit)
    return ranked(asked, scores)


def by_best(asked: Asked) -> Candidates:
    """``standard`` with BM25 as a share of the query's best score, however few of the words that one has."""
    top = float(asked.pool.bm25.max(initial=0))
    return fusion.standard(replace(asked.pool, full=top), *asked.moments(asked.vector))


def by_full(asked: Asked) -> Candidates:
    """``standard`` with BM25 as a share of the query's full score alone."""
    top = float(asked.pool.bm25.max(initial=0))
    full = asked.pool.full**2 / top if top else 0.0
    return fusion.standard(replace(asked.pool, full=full), *asked.moments(asked.vector))


def whole_feedback(asked: Asked) -> Candidates:
    """``feedback`` that moves the query as far whatever its words find."""
    first = fusion.standard(asked.pool, *asked.moments(asked.vector))
    rows = np.searchsorted(asked.pool.passages, first.passages[: feedback.READ])
    moved = feedback.towards(asked.vector, asked.vectors[rows], first.scores[: feedback.READ], 1)
    return fusion.standard(replace(asked.pool, cosines=asked.vectors @ moved), *asked.moments(moved))


def trusting(asked: Asked) -> Candidates:
    """``feedback`` that counts the cosine in full, however little of the query the encoder reads."""
    return feedback.ask_again(replace(asked.pool, trust=1.0), asked.vectors, asked.vector, asked.moments)


def again(asked: Asked) -> Candidates:
    """``feedback``."""
    return feedback.ask_again(asked.pool, asked.vectors, asked.vector, asked.moments)


def near(asked: Asked, **settings: Any) -> Candidates:
    """``neighbours`` with other settings."""
    return neighbours.lifted(again(asked), asked.pool, asked.vectors, asked.alike, **settings)


WAYS: dict[str, Callable[[Asked], Candidates]] = {
    "dense": lambda asked: asked.dense,
    "BM25": lambda asked: asked.lexical,
    BASE: lambda asked: fusion.convex(asked.dense, asked.lexical),
    "RRF 60": lambda asked: fusion.reciprocal_rank(asked.dense, asked.lexical),
    "min-max 0.6, computed": computed,
    "theoretical min-max 0.8": theoretical,
    "z-scores 0.6": z_scores,
    "z-scores 0.6, ±3 (DBSF)": lambda asked: z_scores(asked, 3),
    "standard, BM25 by best": by_best,
    "standard, BM25 by full": by_full,
    "standard": lambda asked: fusion.standard(asked.pool, *asked.moments(asked.vector)),
    "feedback, whole": whole_feedback,
    "feedback, trusting": trusting,
    "feedback": again,
    "neighbours, 5": lambda asked: near(asked, nearest=5),
    "neighbours, all of it": lambda asked: near(asked, share=1.0),
    "neighbours": lambda asked: neighbours.ask_and_lift(
        asked.pool, asked.vectors, asked.vector, asked.moments, asked.alike
    ),
}


def runs_of(dataset: Dataset, place: Path, texts: Mapping[str, str]) -> dict[str, Run]:
    """Rank every query by every way, the hundred best documents each."""
    runs = {name: Run(name, {}) for name in WAYS}
    snapshot = Snapshot(place)
    with snapshot.reading() as generation:
        for identifier, asked in ask_all(place, generation, texts):
            own = identifier if identifier in dataset.own else None
            found = {name: way(asked) for name, way in WAYS.items()}
            passages = np.unique(np.concatenate([each.passages[: KEPT + 1] for each in found.values()]))
            names = snapshot.names(documents_of(generation.segments, passages).tolist())
            named = dict(zip(passages.tolist(), names, strict=True))
            for name, each in found.items():
                pairs = zip(each.passages[: KEPT + 1].tolist(), each.scores.tolist(), strict=False)
                ranking = [(named[passage], score) for passage, score in pairs if named[passage] != own]
                runs[name].rankings[identifier] = ranking[:KEPT]
    snapshot.close()
    return runs


def table(measured: Mapping[str, Mapping[str, Measured]]) -> list[str]:
    """Print set → way → measures as lines."""
    sets = list(measured)
    lines = [f"{'':<25}" + "".join(f"{name[:13]:>16}" for name in [*sets, "mean", "worst to part"])]
    for way in WAYS:
        cells = []
        means, worst = [], []
        for measure_name in SHOWN:
            values = [measured[name][way].means[measure_name] for name in sets]
            parts = [max(measured[name][part].means[measure_name] for part in PARTS) for name in sets]
            cells.append(values)
            means.append(f"{np.mean(values):.4f}")
            worst.append(f"{min(np.subtract(values, parts)):+.4f}")
        shown = [f"{ndcg:.4f}/{recall:.4f}" for ndcg, recall in zip(*cells, strict=True)]
        lines.append(f"{way:<25}" + "".join(f"{cell:>16}" for cell in [*shown, "/".join(means), "/".join(worst)]))
    for way, base in (("standard", BASE), ("feedback", BASE), ("neighbours", BASE), ("neighbours", "feedback")):
        lines.append(f"{way} − {base}, {SHOWN[0]}:")
        lines += paired({name: (measured[name][way], measured[name][base]) for name in sets}, SHOWN[0])
    return lines


def paired(systems: Mapping[str, tuple[Measured, Measured]], shown: str) -> list[str]:
    """Print set → (a, b) as lines: a's difference to b query by query, p corrected over the sets."""
    compared = [compare(a.queries[shown], b.queries[shown]) for a, b in systems.values()]
    corrected = holm([found.p for found in compared])
    return [
        f"  {name:<16}{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  p {p:.4f}  "
        f"{found.wins} won, {found.losses} lost"
        for name, found, p in zip(systems, compared, corrected, strict=True)
    ]


def options_of_sets(description: str | None) -> argparse.ArgumentParser:
    """Make a command line that names sets, where their indexes are kept, and how many of their queries are asked."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sets", type=Path, nargs="+")
    options.add_argument("--indexes", type=Path, required=True, help="where each set's index is made and kept")
    options.add_argument(
        "--every", action="append", default=[], metavar="SET=N", help="ask every Nth query of SET only"
    )
    return options


def strides_of(entries: Sequence[str]) -> dict[str, int]:
    """Take SET=N apart: set → N."""
    return {name: int(stride) for name, _, stride in (entry.partition("=") for entry in entries)}


def main() -> None:
    """Read the command line, measure, print."""
    chosen = options_of_sets(__doc__).parse_args()
    strides = strides_of(chosen.every)
    measured = {}
    for folder in chosen.sets:
        dataset = open_dataset(folder)
        place = chosen.indexes / dataset.name
        build(dataset, place, None, "auto", SILENT).close()
        texts = dict(list(dataset.queries.items())[:: strides.get(dataset.name, 1)])
        runs = runs_of(dataset, place, texts)
        qrels = {identifier: dataset.qrels[identifier] for identifier in texts}
        measured[dataset.name] = {name: measure(run, qrels) for name, run in runs.items()}
        sys.stderr.write(f"{dataset.name}: {len(texts)} queries\n")
    sys.stdout.write("\n".join(table(measured)) + "\n")


if __name__ == "__main__":
    main()
