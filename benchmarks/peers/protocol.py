"""What every peer is asked, and how: three commands whose answers are JSON lines on stdout.

    python -m benchmarks.peers.NAME index CORPUS FOLDER MODEL [--documents N] → {"documents": n, "seconds": s}
    python -m benchmarks.peers.NAME query FOLDER MODEL TEXT                   → {"hits": [[id, score], …]}
    python -m benchmarks.peers.NAME ask FOLDER MODEL QUERIES [-k 1000]        → {"_id", "hits", "milliseconds"} each

CORPUS and QUERIES are a BEIR folder's files; a document is title + " " + text, as everywhere in these benchmarks.
Imports the standard library alone: the peers' environment has nothing of the project's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

Hits = list[tuple[str, float]]


class Peer(Protocol):
    """A library that can be searched, as its own documentation shows."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Make an index of texts in ``folder``, which is empty, with the encoder in ``model``."""
        ...

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Open an index; what is returned answers a text with the k best (id, score), best first."""
        ...


def serve(peer: Peer) -> None:
    """Carry out the command line's command."""
    options = argparse.ArgumentParser()
    commands = options.add_subparsers(dest="command", required=True)
    for name, words in {"index": ("corpus", "folder"), "query": ("folder",), "ask": ("folder",)}.items():
        command = commands.add_parser(name)
        for word in (*words, "model"):
            command.add_argument(word, type=Path)
        if name == "index":
            command.add_argument("--documents", type=int, default=None)
        else:
            command.add_argument("asked")
            command.add_argument("-k", type=int, default=10)
    chosen = options.parse_args()
    if chosen.command == "index":
        started = time.perf_counter()
        ids, texts = read(chosen.corpus, chosen.documents)
        chosen.folder.mkdir(parents=True, exist_ok=True)
        peer.index(ids, texts, chosen.folder, chosen.model)
        say({"documents": len(ids), "seconds": time.perf_counter() - started})
        return
    ask = peer.open(chosen.folder, chosen.model)
    if chosen.command == "query":
        say({"hits": ask(chosen.asked, chosen.k)})
        return
    for record in records(Path(chosen.asked)):
        started = time.perf_counter()
        hits = ask(record["text"], chosen.k)
        say({"_id": record["_id"], "hits": hits, "milliseconds": 1000 * (time.perf_counter() - started)})


def read(corpus: Path, count: int | None) -> tuple[list[str], list[str]]:
    """Read the first documents of a corpus: ids, and title + " " + text."""
    found = list(itertools.islice(records(corpus), count))
    return [record["_id"] for record in found], [f"{record.get('title', '')} {record['text']}" for record in found]


def records(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def say(answer: dict[str, Any]) -> None:
    """Write one line of the protocol."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
