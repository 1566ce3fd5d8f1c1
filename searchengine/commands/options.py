"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

index_option = click.option(
    "--index",
    "index",
    type=click.Path(path_type=Path),
    envvar="SEARCHENGINE_INDEX",
    help="The index's folder. [default: .searchengine, here or above; env SEARCHENGINE_INDEX]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
rerank_option = click.option(
    "--rerank",
    metavar="MODEL",
    help="Read the best again: 'late' (the index's own encoder) or a CrossEncoder's folder or name.",
)
rerank_depth_option = click.option(
    "--rerank-depth", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many are read again."
)
rerank_weight_option = click.option(
    "--rerank-weight",
    type=click.FloatRange(0, 1),
    help="The reranker's share of the order.  [default: 0.5, of late 0.3]",
)

ann_option = click.option(
    "--ann",
    metavar="KIND",
    help="What searches large shards: auto, flat (exact), hnsw, ivf, ivfpq, rabitq, or a FAISS factory string. "
    "[default: the index's own, or auto]",
)
recall_option = click.option(
    "--recall",
    type=click.FloatRange(0.5, 0.999),
    help="The recall@10 that an approximate search shall reach. [default: the index's own, or 0.95]",
)


def located(index: Path | None) -> Path:
    """Turn the option into a place to look from: the option's, or the current folder."""
    return index if index is not None and str(index) not in ("", ".") else Path()
