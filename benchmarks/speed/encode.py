"""Passages encoded a second: each backend against sentence-transformers' encode(), in turns over the same texts.

    python -m benchmarks.speed.encode ../shared/data/scifact --passages 600 --turn 60

In turns, because machines are shared: each contender sees the same noise. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.beir import open_dataset
from benchmarks.machine import machine_line
from indexer.encoders import load_encoder
from indexer.encoders.pretrained import default_folder

BACKENDS = ("openvino-int8", "openvino", "torch", "onnx")
Encode = Callable[[Sequence[str]], np.ndarray]


def contenders() -> dict[str, Encode]:
    """Load everything that is to be compared; the first is what the others are measured against."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(default_folder()), device="cpu")
    encoders: dict[str, Encode] = {
        "sentence-transformers": lambda texts: model.encode(list(texts), normalize_embeddings=True)
    }
    for backend in BACKENDS:
        encoders[backend] = load_encoder(backend=backend).encode_passages
    return encoders


def measure(texts: list[str], turn: int) -> None:
    """Encode ``texts`` by turns of ``turn`` passages and print the table."""
    encoders = contenders()
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    likeness: dict[str, list[float]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode(texts[:8])
    for begin in range(0, len(texts) - turn + 1, turn):
        batch = texts[begin : begin + turn]
        reference = np.empty((0, 0))
        for name, encode in encoders.items():
            started = time.perf_counter()
            vectors = encode(batch)
            rates[name].append(len(batch) / (time.perf_counter() - started))
            reference = vectors if not reference.size else reference
            likeness[name].append(float((vectors * reference).sum(axis=1).mean()))
    base = statistics.median(rates["sentence-transformers"])
    lines = [f"{'backend':<22}{'passages/s':>11}{'ratio':>7}{'cosine':>9}"]
    for name, found in rates.items():
        median = statistics.median(found)
        lines.append(f"{name:<22}{median:>11.1f}{median / base:>7.2f}{statistics.mean(likeness[name]):>9.5f}")
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Read the command line and measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("collection", type=Path)
    options.add_argument("--passages", type=int, default=600)
    options.add_argument("--turn", type=int, default=60)
    chosen = options.parse_args()
    corpus = open_dataset(chosen.collection).corpus
    texts = [f"{document.title} {document.text}" for document in itertools.islice(corpus, chosen.passages)]
    sys.stdout.write(f"{machine_line()}\n{len(texts)} passages of {chosen.collection.name}\n")
    measure(texts, chosen.turn)


if __name__ == "__main__":
    main()
