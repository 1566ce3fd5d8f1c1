"""What a GPU brings: passages encoded and vectors searched, as ratios in one run on one machine.

    python -m benchmarks.speed.gpu ../shared/data/scifact ../shared/data/nfcorpus --json runs/speed/gpu.json
    python -m benchmarks.speed.gpu ../shared/data/scifact --device cpu --passages 64 --vectors 5000     the same, here

Encoding: the engine's own path (tokenising ahead, batches of like length, pinned copies) against sentence-transformers'
encode() as it comes and at its best (bfloat16, batches of 256), and what tokenising alone takes. The share of the peak
counts weights and attention over the texts' own tokens, as `benchmarks.speed.encode` does. Searching: one query after
the other over synthetic vectors (`benchmarks.scale.synthetic`), FAISS on the GPU against the processor's scan, the same
lists asked of both; and a thousand queries in one call.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.beir import open_dataset
from benchmarks.machine import describe_machine, machine_line
from benchmarks.outputs import write_json
from benchmarks.scale.synthetic import DIMENSION, Clumps
from benchmarks.speed.encode import operations
from indexer.encoders import load_encoder
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.cache import cache_root
from indexer.encoders.model_folder import find
from indexer.snapshot import Generation
from indexer.vectors import nearest, open_segment, write_segment
from searchengine.gpu import GpuNearest

ROUNDS = 3
WARM = 256  # texts that wake a contender up
PEAK = {"cuda": 8192, "cpu": 1024}  # rows, columns and depth of the matrices multiplied
K = 10
TOGETHER = 1000  # queries in one call
_BLOCK = 100_000


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Time some work: the median of ``rounds``, the device's own work awaited."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def peak(device: str) -> float:
    """Measure the bfloat16 operations a second of a large multiplication."""
    size = PEAK[device]
    one, other = (torch.rand(size, size, device=device).bfloat16() for _ in range(2))
    return 2.0 * size**3 / seconds(lambda: one @ other, 20)


def contenders(
    device: str, model: str | None
) -> tuple[dict[str, Callable[[Sequence[str]], np.ndarray]], BatchedEncoder]:
    """Load what is to be compared; the engine's own, which counts tokens too, beside it."""
    from sentence_transformers import SentenceTransformer

    folder = str(find(model, cache_root()).path)
    plain = SentenceTransformer(folder, device=device)
    best = SentenceTransformer(folder, device=device).bfloat16()
    own = load_encoder(model, backend="torch", device=device)
    if not isinstance(own, BatchedEncoder):
        raise TypeError("an encoder of another make cannot be counted")
    return {
        "sentence-transformers": lambda texts: plain.encode(list(texts), normalize_embeddings=True),
        "the same, bfloat16, 256": lambda texts: best.encode(list(texts), batch_size=256, normalize_embeddings=True),
        "tokenising alone": own.count_tokens,  # type: ignore[dict-item]  # timed only
        "searchengine": own.encode_passages,
    }, own


def encoding(texts: Sequence[str], device: str, model: str | None = None) -> dict[str, Any]:
    """Encode all texts by each contender: passages a second, the ratio to encode(), the share of the peak."""
    encoders, own = contenders(device, model)
    special = len(own.tokenizer.encode("").ids)
    lengths = [min(count + special, own.max_length) for count in own.count_tokens(texts)]
    most = peak(device)
    work = operations(lengths, model)
    taken = {}
    for name, encode in encoders.items():
        encode(texts[:WARM])
        taken[name] = seconds(lambda encode=encode: encode(texts))  # type: ignore[misc]
        sys.stderr.write(f"{name}: {taken[name]:.2f} s\n")
    exact = encoders["sentence-transformers"](texts[:WARM])
    likeness = float((own.encode_passages(texts[:WARM]) * exact).sum(axis=1).min())
    base = taken["sentence-transformers"]
    rows = {
        name: {
            "passages_per_second": len(texts) / spent,
            "tokens_per_second": sum(lengths) / spent,
            "ratio": base / spent,
            "share_of_bf16_peak": work / spent / most,
        }
        for name, spent in taken.items()
    }
    return {"passages": len(texts), "peak_tflops": most / 1e12, "least_cosine": likeness, "contenders": rows}


def searching(vectors: int, device: str, queries: int = 100) -> dict[str, Any]:
    """Search synthetic vectors on the processor and on the GPU: milliseconds a query, equal lists, queries together."""
    clumps = Clumps(vectors)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "segment"
        blocks = [clumps.block(at, min(_BLOCK, vectors - at)) for at in range(0, vectors, _BLOCK)]
        rows = np.concatenate(blocks)
        write_segment(place, rows, np.arange(vectors), np.arange(vectors))
        generation = Generation(1, {}, (open_segment(place, vectors, DIMENSION),), None)
        asked = clumps.questions(max(queries, TOGETHER))
        there = GpuNearest()
        here_ms, right = ask(lambda query: nearest(generation.segments, query, K), asked[:queries])
        gpu_ms, proposed = ask(lambda query: there.nearest(generation, query, K), asked[:queries])
        same = float(np.mean([np.isin(ids, expected).mean() for ids, expected in zip(proposed, right, strict=True)]))
        found = {"vectors": vectors, "processor_ms": here_ms, "gpu_ms": gpu_ms, "same": same}
        if device == "cuda":
            import faiss

            flat = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(DIMENSION))
            flat.add(rows)
            found["together_per_second"] = TOGETHER / seconds(lambda: flat.search(asked[:TOGETHER], K))
    return found


def ask(
    search: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], queries: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """Ask one query after the other, once it is warm: the median milliseconds of one, and what each finds."""
    search(queries[0])
    taken, lists = [], []
    for query in queries:
        began = time.perf_counter()
        lists.append(search(query)[0])
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken), lists


def table(found: dict[str, Any]) -> str:
    """Draw one run's figures."""
    encoded, searched = found["encoding"], found["searching"]
    lines = [f"{'':<26}{'passages/s':>12}{'tokens/s':>14}{'ratio':>8}{'of bf16 peak':>14}"]
    for name, row in encoded["contenders"].items():
        lines.append(
            f"{name:<26}{row['passages_per_second']:>12,.0f}{row['tokens_per_second']:>14,.0f}"
            f"{row['ratio']:>8.2f}{row['share_of_bf16_peak']:>14.1%}"
        )
    lines.append(
        f"{encoded['passages']:,} passages, GEMM peak {encoded['peak_tflops']:.1f} TFLOP/s in bfloat16, least cosine "
        f"to sentence-transformers {encoded['least_cosine']:.5f}"
    )
    together = searched.get("together_per_second")
    lines.append(
        f"{searched['vectors']:,} vectors: processor {searched['processor_ms']:.2f} ms a query, GPU "
        f"{searched['gpu_ms']:.2f} ms ({searched['processor_ms'] / searched['gpu_ms']:.1f} ×), {searched['same']:.1%} "
        f"of the first {K} the same" + (f"; {together:,.0f} queries/s together" if together else "")
    )
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", type=Path, nargs="+")
    parser.add_argument("--device", choices=sorted(PEAK), default="cuda")
    parser.add_argument("--model", help="another than the default model")
    parser.add_argument("--passages", type=int, help="encode so many")
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here (--device cpu runs the same code on the processor)")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "no GPU"
    sys.stdout.write(f"{machine_line()}; {name}\n")
    documents = [document for place in options.collections for document in open_dataset(place).corpus]
    texts = [f"{document.title} {document.text}" for document in documents][: options.passages]
    found = {
        "machine": describe_machine(),
        "gpu": name,
        "encoding": encoding(texts, options.device, options.model),
        "searching": searching(options.vectors, options.device),
    }
    sys.stdout.write(table(found) + "\n")
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
