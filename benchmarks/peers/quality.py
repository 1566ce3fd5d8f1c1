"""Retrieval quality of the peers and of ours in one run: the same texts, the same encoder, the same metric code.

    python -m benchmarks.peers.quality ../shared/data/cranfield ../shared/data/scifact --keep /tmp/peers

Every system ranks a thousand documents a query; its run is a TREC file, measured as `searchengine bench` measures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.beir import Dataset, is_blank, open_dataset
from benchmarks.bench import kept_or_temporary
from benchmarks.bench import retrieve as retrieve_ours
from benchmarks.machine import describe_machine, machine_line
from benchmarks.metrics import DEPTH, measure
from benchmarks.outputs import write_json
from benchmarks.peers.drive import ask_peer, index_peer
from benchmarks.plots import bars, check_matplotlib, png
from benchmarks.runs import Run, read_run, write_run
from indexer.documents import Document

COMPARED = ("rank-bm25", "bm25s", "sentence-transformers", "txtai", "LanceDB")
OURS = {"ours, bm25": "bm25", "ours, dense": "dense", "ours, hybrid": "hybrid"}
SHOWN = ("nDCG@10", "R@100")
Figures = dict[str, dict[str, dict[str, float]]]  # system → set → measure → mean


def main() -> None:
    """Read the command line, measure every set, print one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("sets", nargs="+", type=Path, help="BEIR folders")
    options.add_argument("--keep", type=Path, help="keep indexes and runs there, and use those that are there already")
    options.add_argument("--json", type=Path)
    options.add_argument("--plot", type=Path, help="a PNG file")
    chosen = options.parse_args()
    if chosen.plot:
        check_matplotlib("--plot")
    figures: Figures = {system: {} for system in (*COMPARED, *OURS)}
    with kept_or_temporary(chosen.keep) as place:
        for folder in chosen.sets:
            dataset = open_dataset(folder)
            for system, run in {**peers(dataset, place / dataset.name), **ours(dataset, place / dataset.name)}.items():
                figures[system][dataset.name] = dict(measure(run, dataset.qrels).means)
    names = [folder.resolve().name for folder in chosen.sets]
    sys.stdout.write("\n".join([machine_line(), *table(figures, names)]) + "\n")
    if chosen.json:
        write_json(chosen.json, {"machine": describe_machine(), "figures": figures})
    if chosen.plot:
        means = {system: statistics.mean(found[name][SHOWN[0]] for name in names) for system, found in figures.items()}
        chosen.plot.parent.mkdir(parents=True, exist_ok=True)
        chosen.plot.write_bytes(png(bars(means, f"mean {SHOWN[0]} over {', '.join(names)}")))


def peers(dataset: Dataset, place: Path) -> dict[str, Run]:
    """Let every peer index and rank, or read the run that it left."""
    runs = {}
    for name in COMPARED:
        kept = place / f"{name}.trec"
        if not kept.exists():
            folder = place / name
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=made(place)) as fresh:
                    index_peer(name, dataset.corpus.path, Path(fresh) / name)
                    (Path(fresh) / name).rename(folder)
            write_run(rank(name, dataset, folder), kept)
        runs[name] = read_run(kept)
    return runs


def rank(name: str, dataset: Dataset, folder: Path) -> Run:
    """Ask a peer every judged query; an empty one finds nothing, a document does not find itself (ArguAna)."""
    rankings: dict[str, list[tuple[str, float]]] = {query: [] for query in dataset.queries}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as queries:
        for query, text in dataset.queries.items():
            if not is_blank(text):
                queries.write(json.dumps({"_id": query, "text": text}) + "\n")
        queries.flush()
        answers = ask_peer(name, "ask", folder, queries.name, "-k", str(DEPTH + 1)).lines
    for answer in answers:
        own = answer["_id"] if answer["_id"] in dataset.own else None
        rankings[answer["_id"]] = [(one, score) for one, score in answer["hits"] if one != own][:DEPTH]
    return Run(name, rankings)


def ours(dataset: Dataset, place: Path) -> dict[str, Run]:
    """Index by this project's own API, one passage a document, and rank in every mode."""
    import searchengine

    documents = (Document(key=one.id, title=one.title, text=one.text) for one in dataset.corpus)
    with searchengine.index_documents(documents, index=made(place) / "ours", passages="whole") as searcher:
        return {system: retrieve_ours(searcher, dataset, mode) for system, mode in OURS.items()}


def made(folder: Path) -> Path:
    """Make a folder, parents too."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def table(figures: Mapping[str, Mapping[str, Mapping[str, float]]], sets: Sequence[str]) -> list[str]:
    """Print system → sets → measures, and the ratio of the mean to that of our hybrid."""
    best = statistics.mean(figures["ours, hybrid"][name][SHOWN[0]] for name in sets)
    lines = [f"{' / '.join(SHOWN):<24}" + "".join(f"{name[:15]:>16}" for name in [*sets, "mean"]) + f"{'ratio':>8}"]
    for system, found in figures.items():
        cells = [[found[name][measure] for measure in SHOWN] for name in sets]
        cells.append([statistics.mean(column) for column in zip(*cells, strict=True)])
        shown = ["/".join(f"{value:.4f}" for value in cell) for cell in cells]
        lines.append(f"{system:<24}" + "".join(f"{cell:>16}" for cell in shown) + f"{cells[-1][0] / best:>8.3f}")
    return lines


if __name__ == "__main__":
    main()
