"""Passages encoded a second: each backend against sentence-transformers' encode(), and the share of the GEMM peak.

    python -m benchmarks.speed.encode ../shared/data/scifact                     the whole corpus, in turns of 128
    python -m benchmarks.speed.encode ../shared/data/scifact --passages 512      a sample, spread over the corpus
    python -m benchmarks.speed.encode ../shared/data/scifact --quality           nDCG@10 of each backend's vectors

In turns, because machines are shared: each contender and each multiplication sees the same noise. Ratios are of
medians. Work is counted over weights and attention, and over the texts' own tokens: padding is no work.
`--count processor` divides by processor time instead of wall time, and gives every library one thread: the figure to
take on a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.beir import open_dataset
from benchmarks.machine import describe_machine, machine_line
from benchmarks.outputs import write_json
from indexer.encoders import load_encoder
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.cache import cache_root
from indexer.encoders.model_folder import find
from indexer.errors import ModelError

BASE = "sentence-transformers"
EXACT = "onnx"  # float32: what the others' vectors and nDCG@10 are held against
BACKENDS = ("openvino-int8", "openvino", "torch", EXACT, "onnx-int8")
PEAK = 2048  # rows, columns and depth of the matrices multiplied
Encode = Callable[[Sequence[str]], np.ndarray]
Clock = Callable[[], float]


def contenders(backends: Sequence[str], model: str | None, threads: int | None) -> dict[str, Encode]:
    """Load everything that is to be compared; the first is what the others are measured against."""
    from sentence_transformers import SentenceTransformer

    folder = find(model, cache_root())
    theirs = SentenceTransformer(str(folder.path), device="cpu", trust_remote_code=False)
    encoders: dict[str, Encode] = {BASE: lambda texts: theirs.encode(list(texts), normalize_embeddings=True)}
    for backend in backends:
        try:
            encoders[backend] = load_encoder(model, backend=backend, device="cpu", threads=threads).encode_passages
        except ModelError as error:
            sys.stderr.write(f"{backend}: left out: {error}\n")
    return encoders


def multiplications() -> dict[str, Callable[[], float]]:
    """Give one large multiplication a number format; each runs it once and returns its operations."""
    import torch

    one, other = torch.rand(PEAK, PEAK), torch.rand(PEAK, PEAK)
    one16, other16 = one.bfloat16(), other.bfloat16()
    one8, other8 = (one * 127).to(torch.int8), (other * 127).to(torch.int8)

    def run(multiply: Callable[[], object]) -> float:
        multiply()
        return 2.0 * PEAK**3

    return {
        "fp32": lambda: run(lambda: one @ other),
        "bf16": lambda: run(lambda: one16 @ other16),
        "int8": lambda: run(lambda: torch._int_mm(one8, other8)),
    }


def operations(lengths: Sequence[int], model: str | None) -> float:
    """Count what a transformer must multiply for texts of so many tokens: 2 × matmul parameters and 4 L H S a token."""
    config = json.loads((find(model, cache_root()).path / "config.json").read_text())
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    parameters = layers * (4 * width * width + 2 * width * config["intermediate_size"])
    return float(sum(tokens * (2 * parameters + 4 * layers * width * tokens) for tokens in lengths))


def measure(texts: list[str], turn: int, options: argparse.Namespace) -> dict[str, Any]:
    """Encode ``texts`` by turns of ``turn`` passages; passages and operations a second of each contender."""
    clock: Clock = time.process_time if options.count == "processor" else time.perf_counter
    threads = 1 if options.count == "processor" else None
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    encoders = contenders(options.backends, options.model, threads)
    exact = load_encoder(options.model, backend=EXACT, device="cpu", threads=threads)
    if not isinstance(exact, BatchedEncoder):
        raise TypeError("an encoder of another make cannot be counted")
    special = len(exact.tokenizer.encode("").ids)
    peaks = multiplications()
    for work in (*peaks.values(), *(lambda encode=encode: encode(texts[:8]) for encode in encoders.values())):
        work()  # what a library does only once
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    peak_rates: dict[str, list[float]] = {name: [] for name in peaks}
    likeness: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    work_done = []
    turns = range(0, max(1, len(texts) - turn + 1), turn)
    for number, begin in enumerate(turns):
        batch = texts[begin : begin + turn]
        work_done.append(
            operations([min(n + special, exact.max_length) for n in exact.count_tokens(batch)], options.model)
        )
        vectors = {}
        for name, encode in encoders.items():
            began = clock()
            vectors[name] = encode(batch)
            seconds[name].append(clock() - began)
        for name, multiply in peaks.items():
            began = clock()
            done = multiply() + multiply()
            peak_rates[name].append(done / (clock() - began))
        reference = vectors[EXACT] if EXACT in vectors else exact.encode_passages(batch)
        for name in encoders:
            likeness[name].append((vectors[name] * reference).sum(axis=1))
        sys.stderr.write(f"\rturn {number + 1} of {len(turns)}")
    sys.stderr.write("\n")
    peak = {name: statistics.median(rates) for name, rates in peak_rates.items()}
    rows = {}
    for name, taken in seconds.items():
        rate = statistics.median(turn / spent for spent in taken) if len(texts) >= turn else len(texts) / taken[0]
        flops = statistics.median(done / spent for done, spent in zip(work_done, taken, strict=True))
        # each turn against the same turn of the base: what slowed one mostly slowed the other
        ratio = statistics.median(base / spent for base, spent in zip(seconds[BASE], taken, strict=True))
        cosine = np.concatenate(likeness[name])
        rows[name] = {
            "passages_per_second": rate,
            "ratio": ratio,
            "gflops": flops / 1e9,
            "share_of_bf16_peak": flops / peak["bf16"],
            "cosine_mean": float(cosine.mean()),
            "cosine_min": float(cosine.min()),
        }
    return {"count": options.count, "peak_gflops": {name: rate / 1e9 for name, rate in peak.items()}, "backends": rows}


def quality(collection: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Give nDCG@10 of exact dense search over each backend's vectors; the queries' are the float32 ones throughout."""
    from benchmarks.metrics import measure as measure_run
    from benchmarks.runs import Run

    dataset = open_dataset(collection, options.split)
    documents = list(dataset.corpus)
    texts = [f"{document.title} {document.text}" for document in documents]
    asked = load_encoder(options.model, backend=EXACT, device="cpu").encode_queries(list(dataset.queries.values()))
    found: dict[str, dict[str, float]] = {}
    exact = np.empty((0, 0), dtype=np.float32)
    for backend in (EXACT, *(name for name in options.backends if name != EXACT)):
        vectors = load_encoder(options.model, backend=backend, device="cpu").encode_passages(texts)
        exact = exact if exact.size else vectors
        rankings = {}
        for query, scores in zip(dataset.queries, asked @ vectors.T, strict=True):
            best = np.argsort(-scores, kind="stable")[:1000]
            ranking = [(documents[place].id, float(scores[place])) for place in best]
            rankings[query] = [pair for pair in ranking if pair[0] != query or query not in dataset.own]
        cosine = (vectors * exact).sum(axis=1)
        found[backend] = {
            "nDCG@10": measure_run(Run(backend, rankings), dataset.qrels).means["nDCG@10"],
            "cosine_mean": float(cosine.mean()),
            "cosine_min": float(cosine.min()),
        }
        sys.stderr.write(f"{backend}: {found[backend]}\n")
    return found


def table(result: dict[str, Any]) -> str:
    """Draw one run's figures."""
    head = f"{'backend':<22}{'passages/s':>11}{'ratio':>7}{'GFLOP/s':>9}{'of bf16 peak':>14}"
    lines = [f"{head}{'cosine':>9}{'least':>9}"]
    for name, row in result["backends"].items():
        lines.append(
            f"{name:<22}{row['passages_per_second']:>11.1f}{row['ratio']:>7.2f}{row['gflops']:>9.0f}"
            f"{row['share_of_bf16_peak']:>13.0%} {row['cosine_mean']:>9.5f}{row['cosine_min']:>9.5f}"
        )
    peaks = ", ".join(f"{name} {rate:.0f}" for name, rate in result["peak_gflops"].items())
    lines.append(f"GEMM peak of {PEAK}³ by torch (oneDNN), GFLOP/s: {peaks}; by {result['count']} time")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--passages", type=int, help="a sample of so many, spread over the corpus")
    parser.add_argument("--turn", type=int, default=128, help="passages a turn")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=BACKENDS)
    parser.add_argument("--model", help="another than the default model")
    parser.add_argument("--count", choices=("wall", "processor"), default="wall")
    parser.add_argument("--quality", action="store_true", help="nDCG@10 of each backend in place of speed")
    parser.add_argument("--split", default="test")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    sys.stdout.write(f"{machine_line()}\n")
    result: dict[str, Any] = {"machine": describe_machine(), "collection": options.collection.name}
    if options.quality:
        result["quality"] = quality(options.collection, options)
        exact = result["quality"][EXACT]["nDCG@10"]
        sys.stdout.write(f"{'backend':<16}{'nDCG@10':>9}{'to fp32':>9}{'cosine':>9}{'least':>9}\n")
        for name, row in result["quality"].items():
            sys.stdout.write(
                f"{name:<16}{row['nDCG@10']:>9.4f}{row['nDCG@10'] - exact:>+9.4f}"
                f"{row['cosine_mean']:>9.5f}{row['cosine_min']:>9.5f}\n"
            )
    else:
        texts = [f"{document.title} {document.text}" for document in open_dataset(options.collection).corpus]
        step = max(1, len(texts) // options.passages) if options.passages else 1
        texts = texts[::step][: options.passages]
        sys.stdout.write(f"{len(texts)} passages of {options.collection.name}, turns of {options.turn}\n")
        result |= measure(texts, options.turn, options)
        sys.stdout.write(table(result) + "\n")
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
