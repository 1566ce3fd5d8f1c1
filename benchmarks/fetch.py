"""BEIR sets by name, from their official addresses, each accepted by its published checksum alone.

    python -m benchmarks.fetch scifact nfcorpus --to ../data

A download that broke off is gone on from where it ended; a set appears whole or not at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from benchmarks.download import download
from benchmarks.outputs import make_folder
from benchmarks.unpack import unpack
from indexer.errors import DataError, SearchEngineError, UsageError
from indexer.progress import SILENT, Progress

ADDRESS = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
# md5 of NAME.zip, from the table of https://github.com/beir-cellar/beir and of its data set cards. MS MARCO is not
# here: others measured another checksum (2440…) than that table states (4440…).
SETS = {
    "arguana": "8ad3e3c2a5867cdced806d6503f29b99",
    "climate-fever": "8b66f0a9126c521bae2bde127b4dc99d",
    "cqadupstack": "4e41456d7df8ee7760a7f866133bda78",
    "dbpedia-entity": "c2a39eb420a3164af735795df012ac2c",
    "fever": "5a818580227bfb4b35bb6fa46d9b6c03",
    "fiqa": "17918ed23cd04fb15047f73e6c3bd9d9",
    "hotpotqa": "f412724f78b0d91183a0e86805e16114",
    "nfcorpus": "a89dba18a62ef92f7d323ec890a0d38d",
    "nq": "d4d3d2e48787a744b6f6e691ff534307",
    "quora": "18fb154900ba42a600f84b839c173167",
    "scidocs": "38121350fc3a4d2f48850f6aff52e4a9",
    "scifact": "5f7d1de60b170fc8027bb7898e2efca1",
    "trec-covid": "ce62140cb23feb9becf6270d0d1fe6d1",
    "webis-touche2020": "46f650ba5a527fc69e0a6521c5a23563",
}


def fetch(name: str, to: str | Path, *, progress: Progress = SILENT, address: str = ADDRESS) -> Path:
    """Bring a BEIR set to the folder ``to``/NAME and return that; one that is there already is left as it is.

    Raises UsageError for an unknown name, DataError when it cannot be had or is not the published one, or when
    something else has its place; StorageError.
    """
    if name not in SETS:
        near = get_close_matches(name, SETS, 1)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(SETS)}"
        raise UsageError(f"no BEIR set {name!r} is known here ({advice})")
    folder = Path(to) / name
    if folder.exists() or folder.is_symlink():
        if not has_corpus(folder):
            raise DataError(f"{folder}: in the way, and no BEIR folder (move it, or choose another --to)")
        progress.note(f"{folder} is there already: left as it is")
        return folder
    make_folder(folder.parent)
    archive = folder.parent / f".{name}.zip.part"
    download(f"{address}/{name}.zip", SETS[name], archive, progress=progress)
    try:
        unpack(archive, folder)
    except DataError:  # after a StorageError the archive is sound: the next run need not fetch it again
        archive.unlink(missing_ok=True)
        raise
    archive.unlink(missing_ok=True)
    return folder


def has_corpus(folder: Path) -> bool:
    """Say whether a folder holds a corpus, or, as cqadupstack does, folders that do."""
    return any(any(folder.glob(pattern)) for pattern in ("corpus.jsonl*", "*/corpus.jsonl*"))


def main(words: Sequence[str] | None = None) -> int:
    """Fetch what the command line names; return the exit code."""
    from searchengine import render, terminal

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetch", description="Fetch BEIR sets by name.")
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"one of {', '.join(SETS)}")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="each set becomes DIR/NAME")
    options = parser.parse_args(words)
    try:
        folders = [fetch(name, options.to, progress=terminal.progress()) for name in options.names]
    except SearchEngineError as error:
        render.note(str(error))
        return error.exit_code
    sys.stdout.write("".join(f"{folder}\n" for folder in folders))
    render.note(f"next: searchengine bench {' '.join(map(str, folders))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
