"""`searchengine bench`: options, one call for each data set and model, one rendering."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from indexer.errors import UsageError
from indexer.index import is_index
from searchengine import render, terminal
from searchengine.commands.options import rerank_depth_option, rerank_option, rerank_weight_option


@click.command()
@click.argument("folders", metavar="BEIR_DIRS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="Which qrels: qrels/SPLIT.tsv.")
@click.option(
    "--modes", default="bm25,dense,hybrid", show_default=True, help="Which of bm25, rm3, dense, hybrid; by commas."
)
@click.option("--model", help="Encoder: a name or a folder.  [default: the index's, else the built-in one]")
@click.option("--models", help="Compare several encoders, separated by commas; 'default' is the built-in one.")
@click.option("--baseline", metavar="MODEL:MODE", help="What --models are compared with.  [default: the first's dense]")
@click.option(
    "--worst", metavar="N", type=click.IntRange(1, 1000), help="Show the N queries lost most, and what was found."
)
@rerank_option
@rerank_depth_option
@rerank_weight_option
@click.option("--index", type=click.Path(path_type=Path), help="Keep the index here, for the next run to reuse.")
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write JSON; '-' is stdout.")
@click.option("--runs", type=click.Path(path_type=Path), help="Write TREC run files into this folder.")
@click.option("--plots", type=click.Path(path_type=Path), help="Draw PNG plots into this folder.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write a page with tables and plots.")
@click.option("--robustness", is_flag=True, help="Measure position, wording and length as well.")
@click.option(
    "--sample", type=click.IntRange(10), default=200, show_default=True, help="Queries --robustness asks at most."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws what --robustness asks.")
@click.option(
    "--paraphrase", metavar="URL", envvar="SEARCHENGINE_LLM_URL", help="--robustness: an OpenAI-compatible endpoint."
)
@click.option("--paraphrase-model", envvar="SEARCHENGINE_LLM_MODEL", default="", help="The model that answers there.")
@click.option("--keep-first", is_flag=True, help="Go on where ids repeat, with the first of them.")
@click.option(
    "--backend", default="auto", show_default=True, help="What runs the encoder: auto, onnx, openvino, torch."
)
def bench(
    folders: tuple[Path, ...],
    split: str,
    modes: str,
    model: str | None,
    models: str | None,
    baseline: str | None,
    worst: int | None,
    rerank: str | None,
    rerank_depth: int,
    rerank_weight: float | None,
    index: Path | None,
    json_file: Path | None,
    runs: Path | None,
    plots: Path | None,
    html: Path | None,
    robustness: bool,
    sample: int,
    seed: int,
    paraphrase: str | None,
    paraphrase_model: str,
    keep_first: bool,
    backend: str,
) -> None:
    """Evaluate retrieval on BEIR_DIRS.

    Each holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped. Several folders give a table
    each and the means; --index then keeps one index for each, below the folder given, and one for each of --models.
    --worst holds hybrid against the better of its parts, of several models the second against the baseline.
    --robustness asks whether answers are found wherever they stand in a long document, however the question is worded,
    and however long documents are. With --paraphrase queries are sent to that address (env SEARCHENGINE_LLM_URL,
    SEARCHENGINE_LLM_MODEL, SEARCHENGINE_LLM_KEY).
    --rerank adds the last of --modes once more, its best read again.
    """
    from benchmarks import bench as benchmark
    from benchmarks import contest
    from benchmarks.beir import open_dataset
    from benchmarks.endpoint import Endpoint
    from benchmarks.outputs import check_file, write_text
    from benchmarks.page import write_page
    from benchmarks.plots import check_matplotlib, check_plots, write_plots
    from benchmarks.report import as_text, to_json
    from benchmarks.robustness import Robust
    from benchmarks.worst import sides, worst_queries, worst_text

    to_stdout = json_file is not None and str(json_file) == "-"
    names = [folder.resolve().name for folder in folders]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two data sets are called {repeated[0]}: their results would be mixed up (rename one folder)")
    wanted = benchmark.check_modes(listed(modes))
    compared = labelled(model, models)
    several = len(compared) > 1
    shown = wanted if rerank is None else (*wanted, f"{wanted[-1]}{benchmark.RERANKED}")
    systems = contest.systems_of(compared, shown) if several else [contest.System("", mode) for mode in shown]
    if baseline is not None and not several:
        raise UsageError("--baseline compares models: give at least two with --models")
    chosen = contest.choose_baseline(baseline, systems) if several else None
    loser, winners = sides(systems, chosen) if worst is not None else (systems[0], ())
    places = index_places(index, names, list(compared))
    if json_file is not None and not to_stdout:  # asked before hours of encoding, not after
        check_file(json_file)
    if plots is not None:
        check_plots(plots)
    if html is not None:
        check_matplotlib("--html")
        check_file(html)
    if several:
        contest.check_models(encoder for encoder in compared.values() if encoder is not None)

    robust = None
    if robustness:
        robust = Robust(sample, seed, Endpoint(paraphrase, paraphrase_model) if paraphrase else None)

    reports = []
    for folder, name in zip(folders, names, strict=True):
        for label, encoder in compared.items():
            report = benchmark.bench(
                folder,
                split=split,
                modes=wanted,
                model=encoder,
                index=places[name, label],
                runs=runs,
                progress=terminal.progress(),
                keep_first=keep_first,
                backend=backend,
                label=label,
                robust=robust,
                rerank=rerank,
                rerank_depth=rerank_depth,
                rerank_weight=rerank_weight,
            )
            command = command_line(folder, split, wanted, encoder, keep_first, backend)
            command += f" --robustness --sample {sample} --seed {seed}" if robustness else ""
            command += command_of_rerank(rerank, rerank_depth, rerank_weight)
            reports.append(replace(report, details={**report.details, "command": command}))

    if chosen is None:
        text, as_json = as_text(reports), to_json(reports)
    else:
        text = contest.contest_text(reports, systems, chosen)
        as_json = contest.contest_json(reports, systems, chosen)
    click.echo(as_json if to_stdout else text, nl=False)
    if json_file is not None and not to_stdout:
        write_text(json_file, as_json)
    lost = None
    if worst is not None:
        by_name = dict(zip(names, folders, strict=True))
        lost = worst_queries(
            reports, loser, winners, worst, lambda name: open_dataset(by_name[name], split, keep_first=keep_first)
        )
        click.echo("\n" + worst_text(lost, loser, winners), nl=False, err=to_stdout)
    if plots is not None:
        write_plots(contest.side_by_side(reports, systems), plots, None if chosen is None else str(chosen))
    if html is not None:
        write_page(reports, systems, chosen, html, lost)
    written = [str(path) for path in (json_file, runs, plots, html) if path is not None and str(path) != "-"]
    if written:
        render.note(f"written: {', '.join(written)}")


def listed(text: str) -> list[str]:
    """Split what commas separate, leaving out what is empty."""
    return [part.strip() for part in text.split(",") if part.strip()]


def labelled(model: str | None, models: str | None) -> dict[str, str | None]:
    """Take --model or --models: label → model; a single one has the label "". Raises UsageError for both."""
    from benchmarks.contest import label_models

    if models is None:
        return {"": model}
    if model is not None:
        raise UsageError("--model names one encoder, --models several: give one of the two")
    labels = label_models(listed(models))
    return dict(labels) if len(labels) > 1 else {"": next(iter(labels.values()))}


def index_places(index: Path | None, names: list[str], labels: list[str]) -> dict[tuple[str, str], Path | None]:
    """Give each data set and model its index folder: ``index`` itself for one of each, else SET, SET.MODEL below it.

    Raises UsageError when other indexes would come to lie inside an index.
    """
    if index is None or len(names) * len(labels) == 1:
        return {(name, label): index for name in names for label in labels}
    if is_index(index):
        raise UsageError(f"{index}: an index; for several sets or models --index takes a folder to keep indexes in")
    return {(name, label): index / (f"{name}.{label}" if label else name) for name in names for label in labels}


def command_line(
    folder: Path, split: str, modes: tuple[str, ...], model: str | None, keep_first: bool, backend: str
) -> str:
    """Spell the command that gives these figures again; where it writes to does not belong to it."""
    words = ["searchengine", "bench", str(folder), "--split", split, "--modes", ",".join(modes)]
    words += ["--model", model] if model is not None else []
    words += ["--keep-first"] if keep_first else []
    words += ["--backend", backend] if backend != "auto" else []
    return shlex.join(words)


def command_of_rerank(rerank: str | None, depth: int, weight: float | None) -> str:
    """Spell the options of reranking, a blank before them."""
    if rerank is None:
        return ""
    words = ["--rerank", rerank, "--rerank-depth", str(depth)]
    return " " + shlex.join(words + ([] if weight is None else ["--rerank-weight", str(weight)]))
