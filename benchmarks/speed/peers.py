"""Index a collection, ask it cold, ask it warm: ours and the peers in one run, with the memory that each needs.

    python -m benchmarks.speed.peers ../shared/data/scifact --documents 1000 --rounds 10

Every figure but the warm one is of whole processes, from start to end: the installed command on our side, on theirs the
shortest program that does the same (benchmarks/peers). The same texts, the same encoder. Ratios are theirs to ours.
The peers' encoder reads the first 256 tokens of a document and no more; ours splits documents and reads all of them.
`whole` is ours doing as the peers do (`index --passages whole`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.beir import open_dataset
from benchmarks.machine import describe_machine, machine_line
from benchmarks.outputs import write_json
from benchmarks.peers.drive import Finished, ask_peer, index_peer, run
from benchmarks.plots import bars, check_matplotlib, png
from benchmarks.speed.warm import WARM_UP

COMPARED = ("txtai", "LanceDB", "Chroma")
OURS, WHOLE = "ours", "ours, whole"
PROGRAM = Path(sys.executable).with_name("searchengine")
QUESTION = "does a low dose of aspirin protect the heart of older people?"


def main() -> None:
    """Read the command line, measure, print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("collection", type=Path, help="a BEIR folder")
    options.add_argument("--documents", type=int, default=1000, help="index the first so many (0: all)")
    options.add_argument("--rounds", type=int, default=10, help="cold processes of each")
    options.add_argument("--json", type=Path)
    options.add_argument("--plots", type=Path, help="a folder for PNG files")
    chosen = options.parse_args()
    if chosen.plots:
        check_matplotlib("--plots")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        part(chosen.collection, chosen.documents or None, place)
        warm_up(place)
        figures = {"index": indexing(place), "cold": cold(place, chosen.rounds), "warm": warm(place, chosen.collection)}
    count = chosen.documents or "all"
    sys.stdout.write(f"{machine_line()}\n{chosen.collection.name}, {count} documents, {chosen.rounds} cold processes\n")
    sys.stdout.write("\n".join(table(figures)) + "\n")
    if chosen.json:
        written = {"machine": describe_machine(), "documents": count, "figures": figures}
        write_json(chosen.json, written)
    if chosen.plots:
        chosen.plots.mkdir(parents=True, exist_ok=True)
        for kind, unit in (("index", "seconds"), ("cold", "seconds"), ("warm", "milliseconds")):
            values = {name: statistics.median(found[unit]) for name, found in figures[kind].items()}
            title = f"{kind}, {chosen.collection.name}, {count} documents: {unit}"
            (chosen.plots / f"{kind}.png").write_bytes(png(bars(values, title)))


Figures = dict[str, dict[str, list[float]]]  # system → quantity → one value a run


def part(collection: Path, documents: int | None, place: Path) -> None:
    """Write the first documents of a collection, for us as one folder to index and for the peers as a corpus."""
    corpus = itertools.islice(open_dataset(collection).corpus, documents)
    folder = place / "documents"
    folder.mkdir()
    lines = [json.dumps({"_id": one.id, "title": one.title, "text": one.text}) for one in corpus]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def warm_up(place: Path) -> None:
    """Index one text: what happens once a machine (export, choice of backend) is no part of any figure."""
    (place / "small").mkdir()
    (place / "small" / "one.txt").write_text("One short text.", encoding="utf-8")
    run([PROGRAM, "index", place / "small"])


def indexing(place: Path) -> Figures:
    """Index by each, one process each, ours twice, first and last, as machines drift."""
    corpus = place / "documents" / "corpus.jsonl"
    figures: Figures = {}
    command: list[str | Path] = [PROGRAM, "index", place / "documents", "--index"]
    own = [run([*command, place / "ours"])]
    add(figures, WHOLE, run([*command, place / "whole", "--passages", "whole"]))
    for name in COMPARED:
        add(figures, name, index_peer(name, corpus, place / name))
    own.append(run([*command, place / "ours again"]))
    for finished in own:
        add(figures, OURS, finished)
    return figures


def cold(place: Path, rounds: int) -> Figures:
    """Answer one question, a fresh process each time, in turns, so that all see the same noise."""
    figures: Figures = {}
    for _ in range(rounds):
        add(figures, "import torch", run([sys.executable, "-c", "import torch"]))
        add(figures, OURS, run([PROGRAM, "query", QUESTION, "--index", place / "ours"]))
        for name in COMPARED:
            add(figures, name, ask_peer(name, "query", place / name, QUESTION))
    return figures


def warm(place: Path, collection: Path) -> Figures:
    """Answer the collection's judged questions in one process, one at a time, ten hits with their documents."""
    questions = [text for text in open_dataset(collection).queries.values() if text.strip()][: WARM_UP + 100]
    asked = place / "queries.jsonl"
    asked.write_text("".join(json.dumps({"_id": "", "text": text}) + "\n" for text in questions), encoding="utf-8")
    texts = place / "questions.json"
    texts.write_text(json.dumps(questions[WARM_UP:]), encoding="utf-8")
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.speed.warm",
        place / "ours",
        texts,
        "--modes",
        "hybrid",
    ]
    figures: Figures = {OURS: {"milliseconds": run(words, read=True).lines[0]["hybrid"]}}
    for name in COMPARED:
        lines = ask_peer(name, "ask", place / name, asked).lines
        figures[name] = {"milliseconds": [float(line["milliseconds"]) for line in lines][WARM_UP:]}
    return figures


def add(figures: Figures, name: str, finished: Finished) -> None:
    """Note a run of a system."""
    found = figures.setdefault(name, {"seconds": [], "peak_bytes": []})
    found["seconds"].append(finished.seconds)
    found["peak_bytes"].append(float(finished.peak_bytes))


def table(figures: dict[str, Figures]) -> list[str]:
    """Print system → medians, each with its ratio to ours."""
    columns = [
        ("index s", "index", "seconds", 1.0),
        ("peak MB", "index", "peak_bytes", 1e-6),
        ("cold s", "cold", "seconds", 1.0),
        ("peak MB", "cold", "peak_bytes", 1e-6),
        ("warm ms", "warm", "milliseconds", 1.0),
    ]
    lines = [f"{'':<14}" + "".join(f"{name:>10}{'ratio':>7}" for name, *_ in columns)]
    for system in (OURS, WHOLE, *COMPARED, "import torch"):
        cells = ""
        for _, kind, quantity, unit in columns:
            found = figures[kind].get(system)
            if found is None:
                cells += f"{'':>17}"
                continue
            value = statistics.median(found[quantity])
            cells += f"{value * unit:>10.2f}{value / statistics.median(figures[kind][OURS][quantity]):>7.2f}"
        lines.append(f"{system:<14}{cells}")
    taken = {system: statistics.median(found["seconds"]) for system, found in figures["index"].items()}
    ratios = ", ".join(f"{system} {taken[system] / taken[WHOLE]:.2f}" for system in COMPARED)
    return [*lines, f"to index whole documents, ratio to ours doing so too: {ratios}"]


if __name__ == "__main__":
    main()
