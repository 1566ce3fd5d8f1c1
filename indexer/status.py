"""What an index holds, in one dictionary."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.format import FORMAT, FUSION
from indexer.index import base_of
from indexer.kinds import wish_of
from indexer.snapshot import Snapshot
from indexer.vectors import Segment


def describe(folder: Path) -> dict[str, Any]:
    """Describe the index at ``folder``: counts, encoder, generation, bytes on disk, what was skipped and why."""
    snapshot = Snapshot(folder)
    try:
        with snapshot.reading() as generation:
            documents, passages = snapshot.count()
            base = base_of(folder, generation.settings)
            roots = [str(base / os.fsdecode(path)) for (path,) in snapshot.rows("SELECT path FROM roots ORDER BY path")]
            skipped = snapshot.rows("SELECT path, skipped FROM sources WHERE skipped IS NOT NULL ORDER BY path")
            return {
                "index": str(folder.absolute()),
                "format": FORMAT,
                "generation": generation.number,
                "roots": [os.path.normpath(root) for root in roots],
                "documents": documents,
                "passages": passages,
                "segments": len(generation.segments),
                "dead_rows": sum(len(segment.dead) for segment in generation.segments),
                "search": {
                    **asdict(wish_of(generation.settings)),
                    "shards": [_shard(segment) for segment in generation.segments],
                },
                "encoder": generation.settings["encoder"],
                "splitting": generation.settings["splitting"],
                "fusion": generation.settings.get(FUSION),  # None: the default weights
                "size_bytes": size_of(folder),
                "updated": time.strftime(
                    "%Y-%m-%d %H:%M:%S", time.localtime((folder / "catalog.sqlite").stat().st_mtime)
                ),
                "skipped": [{"path": os.fsdecode(path), "reason": reason} for path, reason in skipped],
            }
    finally:
        snapshot.close()


def _shard(segment: Segment) -> dict[str, Any]:
    """Say what a segment is searched by; ``factory`` None: all of its vectors are scanned."""
    rows, ann = len(segment.passages), segment.ann
    if ann is None:
        return {"segment": segment.folder.name, "rows": rows, "factory": None, "exact": True}
    said = ann.description
    return {
        "segment": segment.folder.name,
        "rows": rows,
        "factory": said.factory,
        "exact": ann.is_exact,
        "recall": said.recall,
        "target": said.target,
        "questions": said.questions,
        "effort": {said.parameter: said.effort} if said.parameter else {},
        "rerank": said.rerank,
        "size_bytes": size_of(ann.folder),
        "build_seconds": said.seconds,
    }


def size_of(folder: Path) -> int:
    """Add up the bytes of the index's files; a file linked twice within it counts once."""
    seen = {
        (stat.st_dev, stat.st_ino): stat.st_size
        for path in folder.rglob("*")
        if not (stat := path.lstat()).st_mode & 0o40000
    }
    return sum(seen.values())
