"""Each kind of structure against the exact scan, at one size: build, bytes, recall@10, latency, queries a second.

    python -m benchmarks.scale.curve --sizes 10000,100000,1000000 --json scale.json --plots plots/
    python -m benchmarks.scale.curve --real ../shared/data/train-text --cache /tmp/vectors --sizes 100000
    python -m benchmarks.scale.curve --real ../shared/data/{train-text,squad} --queries ../shared/data/squad

The vectors are a segment of the index's own format; each kind is built by the indexer's own code to ``--recall``. The
machine's read bandwidth is measured in the same run. Recall is of questions that no calibration saw: made ones, and
with --queries the real ones of BEIR folders, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.beir import open_dataset
from benchmarks.machine import describe_machine, machine_line
from benchmarks.plots import check_matplotlib
from benchmarks.scale import real
from benchmarks.scale.synthetic import DIMENSION, Clumps
from indexer.ann import Ann
from indexer.calibrate import MOVED
from indexer.derive import derive_segment
from indexer.encoders import load_encoder
from indexer.errors import SearchEngineError
from indexer.kinds import BYTES, Wish, choose
from indexer.vectors import Segment, nearest, open_segment, write_segment_of

KINDS = ("ivf", "hnsw", "ivfpq", "rabitq")
DEPTH = 10
_QUESTIONS = 300
_BLOCK_ROWS = 16_384
_HNSW_MOST = 200_000  # rows: a graph over more takes two cores longer than a person waits


def bandwidth() -> float:
    """Measure how fast one thread reads memory: GB/s, the best of five sums over 400 MB."""
    numbers = np.ones(50_000_000, np.int64)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        numbers.sum()
        taken.append(time.perf_counter() - started)
    return float(numbers.nbytes / min(taken) / 1e9)


def synthetic(folder: Path, rows: int) -> tuple[Segment, np.ndarray]:
    """Write a segment of clumped vectors: it, and questions float32 [n, D]."""
    clumps = Clumps(rows)
    sizes = [min(_BLOCK_ROWS, rows - begin) for begin in range(0, rows, _BLOCK_ROWS)]
    return _written(folder, (clumps.block(n, size) for n, size in enumerate(sizes)), rows), clumps.questions(_QUESTIONS)


def encoded(folder: Path, rows: int, origins: Sequence[Path], cache: Path) -> tuple[Segment, np.ndarray]:
    """Write a segment of real passages' vectors, and make questions of passages that are not in it."""
    files = [path for origin in origins for path in sorted(origin.glob("*.jsonl*"))]
    sources = [path for path in files if "pairs" not in path.name and "queries" not in path.name]
    vectors = real.vectors(real.passages(sources), rows + _QUESTIONS, cache)
    held_out, vectors = vectors[:_QUESTIONS], vectors[_QUESTIONS:]
    chance = np.random.default_rng(5)
    along = [vectors[chance.integers(0, len(vectors), len(held_out))].astype(np.float32) for _ in range(4)]
    questions = held_out.astype(np.float32)
    for plus, minus in (along[:2], along[2:]):
        away = plus - minus
        questions += MOVED * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    questions /= np.linalg.norm(questions, axis=1, keepdims=True)
    return _written(folder, iter([vectors]), len(vectors)), questions


def asked(collections: Sequence[Path]) -> dict[str, np.ndarray]:
    """Encode up to 300 judged queries of each BEIR folder: name → float32 [n, D]."""
    if not collections:
        return {}
    encoder = load_encoder()
    found = {}
    for collection in collections:
        texts = list(open_dataset(collection).queries.values())
        found[collection.name] = encoder.encode_queries(texts[:: -(-len(texts) // _QUESTIONS)])
    return found


def _written(folder: Path, blocks: Iterator[np.ndarray], rows: int) -> Segment:
    write_segment_of(folder / "segment", blocks, DIMENSION, np.arange(rows), np.arange(rows))
    return open_segment(folder / "segment", rows, DIMENSION)


def measure(
    segment: Segment,
    questions: np.ndarray,
    kinds: Sequence[str],
    recall: float,
    folder: Path,
    real_queries: Mapping[str, np.ndarray],
) -> Iterator[dict[str, Any]]:
    """Measure the scan of fp16, that of bytes, and each kind built to ``recall``."""
    rows = len(segment.passages)
    truth = first_ten(segment, questions, exact=True)
    real_truth = {name: first_ten(segment, of_set, exact=True) for name, of_set in real_queries.items()}
    yield {"kind": "scan fp16", "factory": None, "bytes_per_passage": 2.0 * DIMENSION, "build_seconds": 0.0} | timed(
        segment, questions[:50], truth, exact=True
    )
    for kind in ("bytes", *kinds):
        factory = BYTES if kind == "bytes" else choose(kind, rows, DIMENSION) or kind
        if factory.startswith("HNSW") and rows > _HNSW_MOST:
            continue
        target = folder / f"{kind}".replace(",", "-")
        target.mkdir()
        try:
            said = derive_segment(segment, target, factory, Wish(kind, recall))
        except (RuntimeError, SearchEngineError) as error:
            sys.stderr.write(f"{kind}: {str(error).splitlines()[-1]}\n")
            continue
        opened = open_segment(segment.folder, rows, DIMENSION, (), Ann(target, said))
        of_sets = {
            name: found_of(real_truth[name], first_ten(opened, of_set, exact=False))
            for name, of_set in real_queries.items()
        }
        size = sum(path.stat().st_size for path in target.iterdir())
        yield {
            "kind": kind,
            "factory": factory,
            "bytes_per_passage": size / rows,
            "build_seconds": said.seconds,
            "calibrated_recall": said.recall,
            "effort": {said.parameter: said.effort} if said.parameter else {},
            "rerank": said.rerank,
            "real_recall@10": of_sets,
        } | timed(opened, questions, truth, exact=False)


def first_ten(segment: Segment, questions: np.ndarray, *, exact: bool) -> list[np.ndarray]:
    """Find the ids of each question's ten nearest, by a scan or as the segment is searched."""
    return [nearest([segment], question, DEPTH, exact=exact)[0] for question in questions]


def found_of(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """Tell how much of the exact lists was found, on the mean."""
    return float(np.mean([np.isin(right, got).mean() for right, got in zip(truth, found, strict=False)]))


def timed(segment: Segment, questions: np.ndarray, truth: Sequence[np.ndarray], *, exact: bool) -> dict[str, Any]:
    """Ask each question alone: recall@10, p50 and p95 in ms, queries a second by one and by two threads."""
    faiss.omp_set_num_threads(1)

    def ask(question: np.ndarray, count: int = DEPTH) -> np.ndarray:
        return nearest([segment], question, count, exact=exact)[0]

    for question in questions[:5]:
        ask(question)
    taken, found = [], []
    for question in questions:
        started = time.perf_counter()
        found.append(ask(question))
        taken.append(1000 * (time.perf_counter() - started))
    deep = []
    for question in questions[:50]:
        started = time.perf_counter()
        ask(question, 500)
        deep.append(1000 * (time.perf_counter() - started))
    rates = {}
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            list(pool.map(ask, questions))
            rates[str(threads)] = len(questions) / (time.perf_counter() - started)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    return {
        "recall@10": found_of(truth, found),
        "p50_ms": float(np.median(taken)),
        "p95_ms": float(np.percentile(taken, 95)),
        "p50_ms_of_500": float(np.median(deep)),
        "queries_per_second": rates,
    }


def table(rows: int, origin: str, limit: float, results: Sequence[dict[str, Any]]) -> list[str]:
    """Render the results at one size."""
    reading = rows * DIMENSION / limit / 1e6
    lines = [
        f"{rows:,} {origin} vectors of {DIMENSION}; reading their bytes at {limit:.1f} GB/s takes {reading:.2f} ms",
        f"  {'kind':<10}{'factory':<26}{'build s':>8}{'B/passage':>10}{'R@10':>7}{'p50 ms':>8}{'p95 ms':>8}"
        f"{'500: ms':>9}{'QPS':>8}{'QPS x2':>8}  searched by",
    ]
    for result in results:
        rates = result["queries_per_second"]
        said = " ".join(f"{name} {value}" for name, value in result.get("effort", {}).items())
        said += f", {result['rerank']} again" if result.get("rerank") else ""
        lines.append(
            f"  {result['kind']:<10}{result['factory'] or '':<26}{result['build_seconds']:>8.1f}"
            f"{result['bytes_per_passage']:>10.0f}{result['recall@10']:>7.3f}{result['p50_ms']:>8.2f}"
            f"{result['p95_ms']:>8.2f}{result['p50_ms_of_500']:>9.2f}{rates['1']:>8.0f}{rates['2']:>8.0f}  {said}"
        )
        if of_sets := result.get("real_recall@10"):
            lines.append("    real queries: " + ", ".join(f"{name} {value:.3f}" for name, value in of_sets.items()))
    return lines


def draw(report: dict[str, Any], folder: Path) -> None:
    """Draw latency against size, and recall against latency at the largest: two PNGs."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(report["sizes"], key=lambda size: size["rows"])
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for kind in dict.fromkeys(result["kind"] for size in sizes for result in size["results"]):
        points = [(size["rows"], r["p50_ms"]) for size in sizes for r in size["results"] if r["kind"] == kind]
        axes.plot(*zip(*points, strict=True), marker="o", label=kind)
    axes.set(xscale="log", yscale="log", xlabel="vectors", ylabel="p50 of one question, ms")
    axes.legend()
    figure.savefig(folder / "latency.png", dpi=120)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for result in sizes[-1]["results"]:
        axes.scatter(result["p50_ms"], result["recall@10"])
        axes.annotate(result["kind"], (result["p50_ms"], result["recall@10"]))
    axes.set(xscale="log", xlabel=f"p50 at {sizes[-1]['rows']:,} vectors, ms", ylabel="recall@10")
    figure.savefig(folder / "recall.png", dpi=120)


def main() -> None:
    """Read the command line, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="10000,100000,1000000")
    options.add_argument("--big", action="store_true", help="10,000,000 as well: 8 GB of disk, an hour")
    options.add_argument("--kinds", default=",".join(KINDS), help="kinds; FAISS factory strings after a ; each")
    options.add_argument("--recall", type=float, default=0.95)
    options.add_argument(
        "--real", type=Path, nargs="+", help="folders of JSONL texts: their passages, not synthetic ones"
    )
    options.add_argument(
        "--queries", type=Path, nargs="+", default=[], help="BEIR folders whose queries are asked, too"
    )
    options.add_argument("--cache", type=Path, default=Path("/tmp/searchengine-real-vectors"))  # noqa: S108
    options.add_argument("--scratch", type=Path, help="where segments are written [default: the system's]")
    options.add_argument("--json", type=Path)
    options.add_argument("--plots", type=Path)
    chosen = options.parse_args()
    if chosen.plots:
        check_matplotlib("--plots")
    named, *factories = chosen.kinds.split(";")
    kinds = [*filter(None, named.split(",")), *factories]
    real_queries = asked(chosen.queries)
    limit = bandwidth()
    load = os.getloadavg()[0]
    report: dict[str, Any] = {
        "machine": describe_machine(), "load": load, "read_gb_per_s": limit, "recall": chosen.recall, "sizes": []
    }  # fmt: skip
    sys.stdout.write(f"{machine_line()}\nload {load:.1f}, one thread reads {limit:.1f} GB/s\n")
    for rows in [*map(int, chosen.sizes.split(",")), *([10_000_000] if chosen.big else [])]:
        with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
            folder = Path(scratch)
            origin = "real" if chosen.real else "synthetic"
            made = encoded(folder, rows, chosen.real, chosen.cache) if chosen.real else synthetic(folder, rows)
            results = list(measure(*made, kinds, chosen.recall, folder, real_queries))
        report["sizes"].append({"rows": len(made[0].passages), "origin": origin, "results": results})
        sys.stdout.write("\n".join(table(len(made[0].passages), origin, limit, results)) + "\n")
        sys.stdout.flush()
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    if chosen.plots:
        draw(report, chosen.plots)


if __name__ == "__main__":
    main()
