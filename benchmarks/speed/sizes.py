"""A warm query as the index grows, made of clustered vectors and Zipfian text: latency, recall, memory.

    python -m benchmarks.speed.sizes ../shared/data/scifact --sizes 5000,100000 --keep /tmp/searchengine-sizes

A made passage's vector is that of a passage of the collection with noise added, its text words drawn by Zipf's law and
a few of that passage's: so the collection's own questions, encoded as ever, have near and far neighbours. Recall@10 is
of the dense list against a float64 product with every vector.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import searchengine
from benchmarks.beir import Dataset, open_dataset
from benchmarks.machine import describe_machine, machine_line
from benchmarks.outputs import write_json
from benchmarks.peers.drive import run
from benchmarks.plots import check_matplotlib, new_figure, png
from benchmarks.speed.warm import MODES
from indexer.chunk import whole
from indexer.derive import derive
from indexer.documents import Document
from indexer.encoders import load_encoder, load_stored_encoder
from indexer.format import ENCODER
from indexer.index import Splitting, create_index, is_index
from indexer.merge import merge_segments
from indexer.snapshot import Snapshot
from indexer.staging import Prepared
from indexer.writer import Writer

SEED = 7
CENTRES = 512  # passages of the collection that are encoded; the rest of an index is made of them
NOISE = 0.6  # of a vector's length: a cosine of about 0.86 to its centre
WORDS = 50_000  # of the vocabulary; the n-th is drawn with probability proportional to 1 / n
LENGTH, BORROWED = 40, 8  # words of a passage, and how many of them are its centre's
COMMIT = 20_000
TOP = 10


def main() -> None:
    """Read the command line, make what is not there yet, measure each size in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("collection", type=Path, help="a BEIR folder")
    options.add_argument("--sizes", default="5000,100000", help="passages, comma-separated")
    options.add_argument("--keep", type=Path, required=True, help="where the indexes are made, or lie already")
    options.add_argument("--questions", type=int, default=100)
    options.add_argument("--json", type=Path)
    options.add_argument("--plot", type=Path, help="a PNG file")
    chosen = options.parse_args()
    if chosen.plot:
        check_matplotlib("--plot")
    dataset = open_dataset(chosen.collection)
    questions = list(dataset.queries.values())[: chosen.questions]
    rows = {}
    for size in map(int, chosen.sizes.split(",")):
        folder = chosen.keep / f"{dataset.name}-{size}"
        if not (folder / "made").exists():
            make(dataset, size, folder)
        rows[size] = measure(folder, questions)
        rows[size]["recall@10"] = recall(folder, questions)
    sys.stdout.write("\n".join([machine_line(), *table(rows)]) + "\n")
    if chosen.json:
        write_json(chosen.json, {"machine": describe_machine(), "sizes": rows})
    if chosen.plot:
        chosen.plot.parent.mkdir(parents=True, exist_ok=True)
        chosen.plot.write_bytes(draw(rows))


def make(dataset: Dataset, size: int, folder: Path) -> None:
    """Make an index of ``size`` passages, by the writer that every index is made by."""
    encoder = load_encoder()
    documents = [document for _, document in zip(range(CENTRES), dataset.corpus, strict=False)]
    texts = [f"{document.title} {document.text}" for document in documents]
    centres = encoder.encode_passages(texts)
    if not is_index(folder):
        create_index(folder, encoder, Splitting(mode="whole"), str(folder.absolute()), None)
    with Writer(folder) as writer:
        stored, _, _ = writer.count()
        for number, prepared in enumerate(passages(size, centres, [text.split() for text in texts])):
            if number < stored:  # an earlier run was interrupted
                continue
            writer.put(None, [prepared])
            if (number + 1) % COMMIT == 0:
                writer.commit()
        if writer.staged()[0]:
            writer.commit()
        merge_segments(writer)
        derive(writer)
    (folder / "made").touch()


def passages(size: int, centres: np.ndarray, words: list[list[str]]) -> Iterator[Prepared]:
    """Make passages: the n-th is the same whatever the size."""
    odds = 1 / np.arange(1, WORDS + 1)
    odds /= odds.sum()
    for block in range(-(-size // COMMIT)):
        rng = np.random.default_rng((SEED, block))
        homes = rng.integers(len(centres), size=COMMIT)
        noise = rng.standard_normal((COMMIT, centres.shape[1]), dtype=np.float32) / np.sqrt(centres.shape[1])
        vectors = centres[homes] + NOISE * noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        drawn = rng.choice(WORDS, size=(COMMIT, LENGTH - BORROWED), p=odds)
        for row in range(min(COMMIT, size - block * COMMIT)):
            own = words[homes[row]]
            borrowed = [own[place] for place in rng.integers(len(own), size=BORROWED)]
            text = " ".join([*borrowed, *(f"w{word}" for word in drawn[row])])
            document = Document(key=f"{block * COMMIT + row}", text=text, language="en")
            yield Prepared(document, whole(document), vectors[row : row + 1].astype(np.float16), "en")


def measure(folder: Path, questions: list[str]) -> dict[str, Any]:
    """Time every question in every mode, in a process of its own: milliseconds, and its peak memory."""
    asked = folder.parent / "questions.json"
    asked.write_text(json.dumps(questions), encoding="utf-8")
    finished = run([sys.executable, "-m", "benchmarks.speed.warm", folder, asked], read=True)
    measured: dict[str, Any] = {
        mode: {"p50": statistics.median(taken), "p95": float(np.percentile(taken, 95))}
        for mode, taken in finished.lines[0].items()
    }
    return {**measured, "peak_bytes": finished.peak_bytes}


def recall(folder: Path, questions: list[str]) -> float:
    """Compare the dense mode's ten best with a product in float64 over every live vector: the mean share found."""
    shares = []
    snapshot = Snapshot(folder)
    with searchengine.open(folder) as searcher, snapshot.reading() as generation:
        encoder = load_stored_encoder(folder / ENCODER / searcher.fingerprint)
        for question in questions:
            vector = encoder.encode_queries([question])[0].astype(np.float64)
            best: list[tuple[float, int]] = []
            for segment in generation.segments:
                for begin in range(0, len(segment.passages), COMMIT):
                    block = segment.codes[begin : begin + COMMIT].astype(np.float64) @ vector
                    top = np.argpartition(-block, min(TOP, len(block) - 1))[:TOP]
                    best += zip(block[top].tolist(), segment.passages[begin + top].tolist(), strict=True)
            exact = sorted(best, reverse=True)[:TOP]
            least = exact[-1][0] - 1e-6  # a tie with the last is as good
            found = searcher.search(question, k=TOP, mode="dense", all_passages=True)
            shares.append(sum((hit.scores["dense"] or 0) >= least for hit in found) / len(exact))
    snapshot.close()
    return statistics.mean(shares)


def table(rows: dict[int, dict[str, Any]]) -> list[str]:
    """Print size → medians and 95th percentiles, recall, memory."""
    lines = [f"{'passages':>10}" + "".join(f"{mode + ' p50/p95 ms':>22}" for mode in MODES) + "  recall@10  peak MB"]
    for size, row in rows.items():
        cells = "".join(f"{row[mode]['p50']:>14.2f} /{row[mode]['p95']:>6.2f}" for mode in MODES)
        lines.append(f"{size:>10,}{cells}{row['recall@10']:>11.4f}{row['peak_bytes'] / 1e6:>9.0f}")
    return lines


def draw(rows: dict[int, dict[str, Any]]) -> bytes:
    """Draw medians over sizes, both logarithmic."""
    figure = new_figure()
    axes = figure.add_subplot()
    for mode in MODES:
        axes.loglog(list(rows), [row[mode]["p50"] for row in rows.values()], marker="o", label=mode)
    axes.set_xlabel("passages")
    axes.set_ylabel("ms a warm query, median")
    axes.legend()
    return png(figure)


if __name__ == "__main__":
    main()
