"""`searchengine bench`: options, one call for each data set, one rendering."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from indexer.errors import UsageError
from searchengine import render, terminal


@click.command()
@click.argument("folders", metavar="BEIR_DIRS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="Which qrels: qrels/SPLIT.tsv.")
@click.option("--modes", default="bm25,dense,hybrid", show_default=True, help="Which retrievers, separated by commas.")
@click.option("--model", help="Encoder: a name or a folder.  [default: the index's, else the built-in one]")
@click.option("--index", type=click.Path(path_type=Path), help="Keep the index here, for the next run to reuse.")
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write JSON; '-' is stdout.")
@click.option("--runs", type=click.Path(path_type=Path), help="Write TREC run files into this folder.")
@click.option("--plots", type=click.Path(path_type=Path), help="Draw PNG plots into this folder.")
@click.option("--keep-first", is_flag=True, help="Go on where ids repeat, with the first of them.")
@click.option(
    "--backend", default="auto", show_default=True, help="What runs the encoder: auto, onnx, openvino, torch."
)
def bench(
    folders: tuple[Path, ...],
    split: str,
    modes: str,
    model: str | None,
    index: Path | None,
    json_file: Path | None,
    runs: Path | None,
    plots: Path | None,
    keep_first: bool,
    backend: str,
) -> None:
    """Evaluate retrieval on BEIR_DIRS.

    Each holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped. Several folders give a table
    each and the means; --index then keeps one index for each, below the folder given.
    """
    from benchmarks import bench as benchmark
    from benchmarks.outputs import check_file
    from benchmarks.plots import check_plots, write_plots
    from benchmarks.report import as_text, to_json, write_json

    to_stdout = json_file is not None and str(json_file) == "-"
    names = [folder.resolve().name for folder in folders]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two data sets are called {repeated[0]}: their results would be mixed up (rename one folder)")
    wanted = benchmark.check_modes([mode.strip() for mode in modes.split(",") if mode.strip()])
    if json_file is not None and not to_stdout:  # asked before hours of encoding, not after
        check_file(json_file)
    if plots is not None:
        check_plots(plots)

    reports = []
    for folder, name in zip(folders, names, strict=True):
        report = benchmark.bench(
            folder,
            split=split,
            modes=wanted,
            model=model,
            index=index / name if index is not None and len(folders) > 1 else index,
            runs=runs,
            progress=terminal.progress(),
            keep_first=keep_first,
            backend=backend,
        )
        command = command_line(folder, split, wanted, model, keep_first, backend)
        reports.append(replace(report, details={**report.details, "command": command}))

    click.echo(to_json(reports) if to_stdout else as_text(reports), nl=False)
    if json_file is not None and not to_stdout:
        write_json(reports, json_file)
    if plots is not None:
        write_plots(reports, plots)
    written = [str(path) for path in (json_file, runs, plots) if path is not None and str(path) != "-"]
    if written:
        render.note(f"written: {', '.join(written)}")


def command_line(
    folder: Path, split: str, modes: tuple[str, ...], model: str | None, keep_first: bool, backend: str
) -> str:
    """Spell the command that gives these figures again; where it writes to does not belong to it."""
    words = ["searchengine", "bench", str(folder), "--split", split, "--modes", ",".join(modes)]
    words += ["--model", model] if model is not None else []
    words += ["--keep-first"] if keep_first else []
    words += ["--backend", backend] if backend != "auto" else []
    return shlex.join(words)
