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


def located(index: Path | None) -> Path:
    """Turn the option into a place to look from: the option's, or the current folder."""
    return index if index is not None and str(index) not in ("", ".") else Path()
