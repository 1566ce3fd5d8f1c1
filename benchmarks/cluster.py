"""An index by one process beside one by a local Ray cluster whose workers are killed: what is lost, doubled, different?

    python -m benchmarks.cluster FOLDER [--workers 2] [--kills 4] [--queries 100]

Prints one table and fails where the two differ. Knows nothing of how the work is spread.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import click
import numpy as np

import searchengine
from indexer.cluster import import_ray
from indexer.errors import SearchEngineError
from indexer.snapshot import Snapshot
from searchengine import Searcher

TASKS = ("read_block", "PassageEncoder.encode")  # what Ray shows of a worker that has work
CONTENTS = {
    "sources": "SELECT path, size, digest, skipped, notes FROM sources ORDER BY path",
    "documents": "SELECT d.id, d.key, d.title, d.kind, d.language, d.digest, s.path"
    " FROM documents d JOIN sources s ON s.id = d.source ORDER BY d.id",
    "passages": 'SELECT id, document, ordinal, text, start, "end", line, page, heading, digest'
    " FROM passages ORDER BY id",
}


def contents(searcher: Searcher) -> dict[str, list[tuple[object, ...]]]:
    """Return what an index says of its documents, but where their vectors lie and when files were seen."""
    snapshot = Snapshot(searcher.folder)
    try:
        with snapshot.reading():
            return {table: snapshot.rows(statement) for table, statement in CONTENTS.items()}
    finally:
        snapshot.close()


def vectors(searcher: Searcher) -> np.ndarray:
    """Return the live vectors float32 [n, D] in the order of their passages' ids. Raises ValueError for a double id."""
    with Snapshot(searcher.folder).reading() as generation:
        alive = [(segment, np.flatnonzero(segment.alive())) for segment in generation.segments]
        ids = np.concatenate([segment.passages[rows] for segment, rows in alive])
        if len(np.unique(ids)) < len(ids):
            raise ValueError(f"{searcher.folder}: {len(ids) - len(np.unique(ids))} passages stand in it twice")
        return np.concatenate([segment.vectors(rows) for segment, rows in alive])[np.argsort(ids)]


def found(searcher: Searcher, text: str, mode: str) -> list[tuple[str, int, float]]:
    """Return a question's ten best passages: their document, place and score."""
    hits = searcher.search(text, 10, mode=mode, all_passages=True)
    return [(hit.document, hit.passage, hit.score) for hit in hits]


class Killer(threading.Thread):
    """Kills (SIGKILL) workers of this process's cluster, each while it runs a task of the name whose turn it is."""

    def __init__(self, *tasks: str, pause_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.to_kill = list(tasks)
        self._pause_s = pause_s
        self.done = threading.Event()

    def run(self) -> None:
        """Look for victims until all are found, or nobody needs them any more."""
        while self.to_kill and not self.done.wait(0.005):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    title = (process / "cmdline").read_text().strip("\0")
                    if title == f"ray::{self.to_kill[0]}" and _is_ours(int(process.name)):
                        os.kill(int(process.name), signal.SIGKILL)
                        self.to_kill.pop(0)
                        self.done.wait(self._pause_s)
                        break


def _is_ours(process: int) -> bool:
    while process > 1:
        if process == os.getpid():
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="CPUs of the local cluster.")
@click.option("--kills", type=click.IntRange(0), default=4, show_default=True, help="Workers to kill, three s apart.")
@click.option(
    "--queries", type=click.IntRange(1), default=100, show_default=True, help="Questions, of passages' words."
)
def main(folder: Path, workers: int, kills: int, queries: int) -> None:
    """Index FOLDER by one process and by a cluster whose workers are killed, and compare."""
    ray = import_ray()
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        alone = searchengine.index(folder, index=Path(place) / "alone")
        seconds = time.monotonic() - began
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        killer = Killer(*(TASKS[number % 2] for number in range(kills)), pause_s=3)
        killer.start()
        began = time.monotonic()
        together = searchengine.index(folder, index=Path(place) / "together", ray=True)
        beside = time.monotonic() - began
        killer.done.set()
        ray.shutdown()
        _compare(alone, together, queries)
    click.echo(f"one process {seconds:.0f} s; {workers} workers {beside:.0f} s, {kills - len(killer.to_kill)} killed")


def _compare(alone: Searcher, together: Searcher, queries: int) -> None:
    one, other = contents(alone), contents(together)
    differing = 0
    for table in CONTENTS:
        lost, more = len(set(one[table]) - set(other[table])), len(set(other[table]) - set(one[table]))
        doubled = len(other[table]) - len(set(other[table]))
        differing += lost + more + doubled
        click.echo(f"{table:10} {len(one[table]):>9,}   lost {lost}   doubled {doubled}   different {more}")
    first, second = vectors(alone), vectors(together)
    unequal = len(first) if first.shape != second.shape else int((first != second).any(axis=1).sum())
    click.echo(f"{'vectors':10} {len(first):>9,}   different {unequal}")
    texts = [str(row[3]) for row in one["passages"]]
    asked = [" ".join(text.split()[:12]) for text in texts[:: max(1, len(texts) // queries)]][:queries]
    pairs = [(text, mode) for text in asked if text for mode in ("hybrid", "dense", "bm25")]
    apart = sum(found(alone, *pair) != found(together, *pair) for pair in pairs)
    click.echo(f"{'hit lists':10} {len(pairs):>9,}   different {apart}")
    if differing or unequal or apart:
        raise SearchEngineError("the two indexes differ")


if __name__ == "__main__":
    main()
