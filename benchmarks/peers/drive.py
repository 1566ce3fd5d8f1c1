"""Start a program, wait for it, and tell what it said, how long it took and how much memory it needed.

The peers run in the environment that `make peers` made, each by the commands of ``protocol.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.encoders.pretrained import default_folder
from indexer.errors import UsageError

ENVIRONMENT = Path(".venv-peers")
PEERS = {  # name in tables: its program; the first four answer in two ways or by meaning, the last two by words
    "txtai": "txtai_hybrid",
    "LanceDB": "lancedb_hybrid",
    "Chroma": "chroma",
    "sentence-transformers": "dense",
    "bm25s": "bm25s_lexical",
    "rank-bm25": "rank_bm25_lexical",
}
# Linux counts towards a child's peak what its parent held when it started it: so a small parent starts it.
LAUNCH = """
import json, os, sys, time
started = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
seconds = time.perf_counter() - started
with open(sys.argv[1], "w") as note:
    json.dump([seconds, 1024 * used.ru_maxrss, os.waitstatus_to_exitcode(status)], note)
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program came to: its output's JSON lines, wall seconds, the most memory that it held at once."""

    lines: list[dict[str, Any]]
    seconds: float
    peak_bytes: int


def run(words: Sequence[str | Path], *, read: bool = False) -> Finished:
    """Run a program to its end; ``read``: parse what it wrote to stdout, one JSON object a line.

    Raises UsageError with the program's last words when it fails.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile() as note:
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCH, note.name]
        subprocess.run([*launcher, *map(str, words)], stdout=out, stderr=err, check=True)
        seconds, peak_bytes, code = json.load(note)
        out.seek(0)
        err.seek(0)
        if code:
            raise UsageError(f"{words[0]} failed: {err.read().decode(errors='replace').strip()[-400:]}")
        lines = [json.loads(line) for line in out if line.startswith(b"{")] if read else []
    return Finished(lines, seconds, peak_bytes)


def ask_peer(name: str, command: str, folder: Path, *words: str | Path, before: Sequence[Path] = ()) -> Finished:
    """Give a peer one command; ``before`` are arguments that stand before its index's folder."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        raise UsageError(f"{python}: not there (make peers makes it)")
    program = f"benchmarks.peers.{PEERS[name]}"
    return run([python, "-m", program, command, *before, folder, default_folder(), *words], read=True)


def index_peer(name: str, corpus: Path, folder: Path, documents: int | None = None) -> Finished:
    """Let a peer index the first documents of a corpus; the process from start to end."""
    words = [] if documents is None else ["--documents", str(documents)]
    return ask_peer(name, "index", folder, *words, before=[corpus])
