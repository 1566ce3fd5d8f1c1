"""`searchengine status`: what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from searchengine import render
from searchengine.commands.options import index_option, json_option, located


@click.command()
@index_option
@click.option("--skipped", is_flag=True, help="Name every file that gave no document, with its reason.")
@json_option
def status(index: Path | None, skipped: bool, as_json: bool) -> None:
    """Say what the index holds."""
    from indexer.index import find_index
    from indexer.status import describe

    state = describe(find_index(located(index)))
    if as_json:
        click.echo(render.json(state))
        return
    encoder = state["encoder"]
    rows = [
        ("index", state["index"]),
        ("indexes", ", ".join(state["roots"]) or "documents handed over by a program"),
        ("documents", f"{state['documents']:,} in {render.counted(state['passages'], 'passage')}"),
        (
            "skipped",
            f"{render.counted(len(state['skipped']), 'file')}"
            + (" (--skipped names them)" if state["skipped"] and not skipped else ""),
        ),
        ("encoder", f"{encoder['name']}, {encoder['dimension']} dimensions, {encoder['fingerprint'][:12]}"),
        ("fusion", fusion_line(state["fusion"])),
        (
            "generation",
            f"{state['generation']} ({render.counted(state['segments'], 'segment')}, {state['dead_rows']} dead rows)",
        ),
        ("search", _said(state["search"])),
        ("on disk", render.size(state["size_bytes"])),
        ("updated", state["updated"]),
        ("format", str(state["format"])),
    ]
    click.echo(render.table(rows))
    if skipped:
        for entry in state["skipped"]:
            click.echo(render.clean(f"{entry['path']}: {entry['reason']}"))


def fusion_line(stored: Any) -> str:
    """Say what hybrid search weighs by, and where that was learnt; a damaged setting is shown as it stands."""
    from indexer.format import FUSION
    from searchengine.fusion import weights_of

    try:
        weights = weights_of({FUSION: stored})
    except ValueError as error:
        return f"damaged ({error}; searchengine tune --reset restores the default)"
    line = f"lexical span {weights.span:g}, feedback {weights.feedback:g}, neighbours {weights.neighbours:g}"
    learnt = stored.get("learnt") if isinstance(stored, dict) else None
    if not isinstance(learnt, dict):
        return f"{line} (the default)" if stored is None else line
    return f"{line}, learnt from {learnt.get('queries')} queries of {learnt.get('from')}"


def _said(search: dict[str, Any]) -> str:
    """Say what searches the index's shards."""
    built = [shard for shard in search["shards"] if shard["factory"]]
    if not built:
        return f"{search['kind']}: every vector is scanned"
    parts = [
        f"{shard['factory']} over {shard['rows']:,}"
        + (
            ", exact"
            if shard["exact"]
            else f", recall@10 {shard['recall']:.3f} on {shard['questions']} questions"
            + "".join(f", {name} {value}" for name, value in shard["effort"].items())
            + f", {shard['rerank']} scored again"
        )
        for shard in built
    ]
    rest = len(search["shards"]) - len(built)
    parts += [f"{render.counted(rest, 'segment')} scanned"] if rest else []
    return f"{search['kind']}, to reach {search['recall']:g}: " + "; ".join(parts)
