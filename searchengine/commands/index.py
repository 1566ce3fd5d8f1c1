"""`searchengine index`: make an index equal to what is on disk."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

import searchengine
from indexer.errors import SearchEngineError
from indexer.index import is_index, place_for
from searchengine import render, terminal
from searchengine.commands.options import ann_option, index_option, json_option, recall_option

if TYPE_CHECKING:
    from indexer.build import BuildReport

_SHOWN = 50


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@index_option
@click.option("--model", help="A sentence-transformers name or folder. [default: the index's own, or all-MiniLM-L6-v2]")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes that read files. [default: one a core, at most 4]")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave files out, as .gitignore would; repeatable.")
@click.option(
    "--max-file-size", type=click.FloatRange(0, min_open=True), help="Skip larger files, in MB. [default: 50]"
)
@click.option(
    "--passages",
    type=click.Choice(["structure", "whole"]),
    help="Split documents, or keep each as one passage, for a new index. [default: structure]",
)
@click.option(
    "--passage-tokens", type=click.IntRange(16, 8192), help="Size of a passage, for a new index. [default: 200]"
)
@click.option(
    "--overlap", type=click.IntRange(0, 4096), help="Tokens that neighbours share, for a new index. [default: 0]"
)
@click.option("--backend", default="auto", show_default=True, help="What runs the encoder: openvino, onnx, torch.")
@click.option("--device", default="auto", show_default=True, help="Where it runs: cpu, cuda.")
@ann_option
@recall_option
@click.option("--allow-mass-delete", is_flag=True, help="Believe it when most of what was indexed is gone.")
@click.option("--rebuild", is_flag=True, help="Index everything anew, for another model or passage size.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, help="Seconds to wait for another writer.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Read, split and encode on the Ray cluster at ADDRESS (auto: the one running here), or on one started for "
    "this run. Stands behind PATHS.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 when a file could not be read.")
@click.option("--verbose", is_flag=True, help="Name every skipped file and every note.")
@json_option
def index(
    paths: tuple[Path, ...],
    index: Path | None,
    model: str | None,
    jobs: int | None,
    exclude: tuple[str, ...],
    max_file_size: float | None,
    passages: str | None,
    passage_tokens: int | None,
    overlap: int | None,
    backend: str,
    device: str,
    ann: str | None,
    recall: float | None,
    allow_mass_delete: bool,
    rebuild: bool,
    wait_s: float,
    ray: str | None,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Create or update the index of PATHS."""
    try:
        searcher = searchengine.index(
            list(paths),
            index=index,
            model=model,
            jobs=jobs,
            exclude=exclude,
            max_file_bytes=None if max_file_size is None else int(max_file_size * 2**20),
            passages=passages,
            passage_tokens=passage_tokens,
            overlap=overlap,
            backend=backend,
            device=device,
            ann=ann,
            recall=recall,
            allow_mass_delete=allow_mass_delete,
            rebuild=rebuild,
            wait_s=wait_s,
            ray=ray or False,
            progress=terminal.progress(),
        )
    except KeyboardInterrupt:
        _say_what_is_kept(place_for(list(paths)) if index is None else index)
        raise
    searcher.close()
    report = searcher.report
    if report is None:
        raise TypeError("index() gave no report")
    if as_json:
        click.echo(render.json(asdict(report) | {"index": str(report.index)}))
    else:
        _show(report, verbose=verbose)
    if strict and report.skipped:
        raise SearchEngineError(f"{render.counted(len(report.skipped), 'file')} could not be read (--strict)")


def _say_what_is_kept(folder: Path) -> None:
    if is_index(folder):
        with searchengine.open(folder) as searcher:
            documents, passages = searcher.count()
        render.note(f"{folder}: keeps {render.counted(documents, 'document')} in {render.counted(passages, 'passage')}")


def _show(report: BuildReport, *, verbose: bool) -> None:
    left_out = [(path, f"{reason}, skipped") for path, reason in report.skipped]
    left_out += [(path, f"{reason}, ignored") for path, reason in report.ignored]
    shown = len(left_out) if verbose else _SHOWN
    for path, reason in left_out[:shown]:
        render.note(f"{path}: {reason}")
    if (more := len(left_out) - shown) > 0:
        render.note(f"… and {render.counted(more, 'more')} left out (--verbose names them)")
    for note in report.notes[: None if verbose else _SHOWN]:
        render.note(note)
    parts = [
        (report.files_added, "added"),
        (report.files_changed, "changed"),
        (report.files_renamed, "renamed"),
        (report.files_deleted, "deleted"),
        (report.files_unchanged, "unchanged"),
        (len(report.skipped), "skipped"),
        (len(report.ignored), "ignored"),
    ]
    said = ", ".join(f"{number:,} {what}" for number, what in parts if number) or "nothing to do"
    rate = report.passages_encoded / report.encode_seconds if report.encode_seconds else 0
    encoded = f"; {render.counted(report.passages_encoded, 'passage')} encoded" + (
        f" ({rate:.0f}/s, {report.backend})" if report.passages_encoded else ""
    )
    where = min(os.path.relpath(report.index), str(report.index), key=len)
    click.echo(f"files: {said}{encoded}")
    click.echo(
        f"{where}: {render.counted(report.documents, 'document')}, {render.counted(report.passages, 'passage')}, "
        f"{report.seconds:.1f} s"
    )
    render.note(
        'ask it with: searchengine query "your question"' + ("" if where == ".searchengine" else f" --index {where}")
    )
