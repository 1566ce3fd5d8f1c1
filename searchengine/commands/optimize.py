"""`searchengine optimize`: give back what deletions left behind, build what searches large shards."""

from __future__ import annotations

from pathlib import Path

import click

from searchengine import render, terminal
from searchengine.commands.options import ann_option, index_option, json_option, located, recall_option


@click.command()
@index_option
@ann_option
@recall_option
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, help="Seconds to wait for another writer.")
@json_option
def optimize(index: Path | None, ann: str | None, recall: float | None, wait_s: float, as_json: bool) -> None:
    """Merge segments and write the postings anew."""
    from indexer.index import find_index
    from indexer.merge import optimize as merge_all
    from indexer.status import size_of

    folder = find_index(located(index))
    before = size_of(folder)
    merged = merge_all(folder, wait_s=wait_s, ann=ann, recall=recall, progress=terminal.progress())
    after = size_of(folder)
    if as_json:
        click.echo(render.json({"merged_segments": merged, "bytes_before": before, "bytes_after": after}))
    else:
        click.echo(
            f"{render.counted(merged, 'segment')} merged, {render.size(before)} before, {render.size(after)} now"
        )
