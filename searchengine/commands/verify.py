"""`searchengine verify`: is the index what was written, and if not, mend it."""

from __future__ import annotations

from pathlib import Path

import click

from indexer.errors import DamagedIndex
from searchengine import render, terminal
from searchengine.commands.options import index_option, json_option, located


@click.command()
@index_option
@click.option("--quick", is_flag=True, help="Check sizes and counts only.")
@click.option("--repair", is_flag=True, help="Mend what is found; what was damaged is kept in INDEX/damaged/.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, help="Seconds to wait for another writer.")
@json_option
def verify(index: Path | None, quick: bool, repair: bool, wait_s: float, as_json: bool) -> None:
    """Check every file of the index."""
    from indexer.index import find_index
    from indexer.seal import SEAL
    from indexer.verify import verify as check

    folder = located(index)
    if not (folder / SEAL).exists():  # else it is an index, be its catalog there or not
        folder = find_index(folder)
    findings = check(folder, quick=quick)
    for finding in findings:
        render.note(f"{finding.where}: {finding.what}" + ("" if repair else f" (mend: {finding.mend})"))
    done: list[str] = []
    if findings and repair:
        from indexer.repair import repair as mend

        done = mend(folder, wait_s=wait_s, progress=terminal.progress())
    if as_json:
        found = [{"where": finding.where, "what": finding.what, "mend": finding.mend} for finding in findings]
        click.echo(render.json({"sound": not findings or repair, "findings": found, "repaired": done}))
    elif not findings or repair:
        for sentence in done:
            click.echo(render.clean(sentence))
        click.echo(render.clean(f"{folder}: sound"))
    if findings and not repair:
        raise DamagedIndex(f"{folder}: {render.counted(len(findings), 'finding')}")
