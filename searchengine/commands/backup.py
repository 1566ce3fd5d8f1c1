"""`searchengine backup`: a consistent copy, also while a writer runs."""

from __future__ import annotations

from pathlib import Path

import click

from searchengine import render
from searchengine.commands.options import index_option, json_option, located


@click.command()
@click.argument("dest", type=click.Path(path_type=Path))
@index_option
@json_option
def backup(dest: Path, index: Path | None, as_json: bool) -> None:
    """Copy the index to DEST while it may be in use."""
    from indexer.backup import backup as copy
    from indexer.index import find_index

    made = copy(find_index(located(index)), dest)
    if as_json:
        click.echo(
            render.json(
                {
                    "backup": str(made.place),
                    "generation": made.generation,
                    "documents": made.documents,
                    "passages": made.passages,
                    "size_bytes": made.size_bytes,
                }
            )
        )
        return
    click.echo(
        render.clean(
            f"{made.place}: generation {made.generation}, {render.counted(made.documents, 'document')} in "
            f"{render.counted(made.passages, 'passage')}, {render.size(made.size_bytes)}"
        )
    )
    render.note(f'ask it with: searchengine query "your question" --index {dest}')
