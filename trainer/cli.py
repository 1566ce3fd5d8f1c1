"""`searchengine train`, `mine` and `tune`: options, one call, one rendering."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
from click.core import ParameterSource

from indexer.errors import UsageError
from indexer.progress import SILENT
from searchengine import render, terminal
from searchengine.commands.options import index_option, json_option, located

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--data", multiple=True, required=True, type=PATH, help="Folder, BEIR folder, index or JSONL; repeatable."
)
@click.option("--output", required=True, type=PATH, help="Folder for the model.")
@click.option("--base", help="Starting model: a name or a folder.  [default: the built-in one]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, such as run.epochs=3.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--workers", type=click.IntRange(0, 64), default=0, show_default=True, help="Processes that make batches."
)
@click.option("--no-gate", is_flag=True, help="Keep the model even where its held-out figures fall.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def train(
    recipe: str,
    data: tuple[Path, ...],
    output: Path,
    base: str | None,
    changes: tuple[str, ...],
    resume: bool,
    device: str,
    workers: int,
    no_gate: bool,
    as_json: bool,
) -> None:
    """Train an encoder by RECIPE: a shipped one, or a .toml file.

    Shipped: contriever, contriever-inbatch, simcse, esimcse, declutr, cloze, span and titles learn from text alone;
    supervised, supervised-hard, distill, matryoshka and matryoshka2d from judged queries; of these cross-encoder makes
    a reranker for --rerank. The model is kept only if held-out queries say that it is no worse than what was there.
    """
    from trainer import distributed
    from trainer.recipe import CROSS, load_recipe
    from trainer.train import WORK
    from trainer.train import train as run

    loaded = load_recipe(recipe, changes)
    try:
        report = run(
            loaded,
            data,
            output,
            base=base,
            resume=resume,
            device=device,
            workers=workers,
            gate=not no_gate,
            progress=terminal.progress() if distributed.is_first() else SILENT,
        )
        if distributed.rank() == 0:
            if as_json:
                click.echo(json.dumps({**dataclasses.asdict(report), "output": str(report.output)}, indent=1))
            else:
                click.echo(report.reason)
                click.echo(f"{report.steps:,} steps, {report.examples:,} examples, {report.seconds / 60:.1f} minutes")
            if report.kept:
                use = (
                    f"searchengine query TEXT --rerank {output}"
                    if loaded.model.kind == CROSS
                    else f"searchengine index PATH --model {output} (--rebuild to switch)"
                )
                render.note(f"model in {output}; use it: {use}")
            else:
                render.note(f"refused: the model was not kept (log and curves in {output / WORK}; --no-gate keeps it)")
    finally:
        distributed.stop()


@click.command()
@click.option("--data", multiple=True, type=PATH, help="Folder, BEIR folder or JSONL; repeatable.")
@index_option
@click.option("--output", required=True, type=PATH, help="Folder for the model.")
@click.option("--base", help="Starting model, with --data: a name or a folder.  [default: the built-in one]")
@click.option(
    "--recipe",
    help="A recipe of pseudo queries: a name or a .toml file.  [default: adapt; adapt-taught with --teacher]",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, such as run.batch=64.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Bound the training steps.  [default: 15]")
@click.option("--dev", type=PATH, help="BEIR folder or JSONL of judged queries that must gain too.")
@click.option("--generator", metavar="URL", help="OpenAI-compatible endpoint that is sent passages and asks for them.")
@click.option("--generator-model", envvar="SEARCHENGINE_LLM_MODEL", default="", help="The model that answers there.")
@click.option("--teacher", metavar="MODEL", help="Cross-encoder whose scores the encoder learns: a name or a folder.")
@click.option("--no-switch", is_flag=True, help="Leave the index with its encoder.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@json_option
def adapt(
    data: tuple[Path, ...],
    index: Path | None,
    output: Path,
    base: str | None,
    recipe: str | None,
    changes: tuple[str, ...],
    minutes: float | None,
    dev: Path | None,
    generator: str | None,
    generator_model: str,
    teacher: str | None,
    no_switch: bool,
    resume: bool,
    device: str,
    as_json: bool,
) -> None:
    """Train a better encoder for text that nobody has judged.

    Titles, headings and sentences of the text are its queries; the engine's own hybrid ranking says what else they
    should find. The model is kept only if such queries of documents set aside gain beyond chance (and judged ones,
    where --dev gives some). With --index, the index is then encoded anew and switched over in one commit.

    With --generator half of the queries are questions of a language model: the passages that it asks for are sent to
    that address, and to no other (a key, where one is needed: env SEARCHENGINE_LLM_KEY). With --teacher a
    cross-encoder reads what the engine finds, and the encoder learns its order.
    """
    from benchmarks.endpoint import Endpoint
    from trainer import distributed
    from trainer.adapt import adapt as run
    from trainer.train import WORK

    if data and click.get_current_context().get_parameter_source("index") is not ParameterSource.COMMANDLINE:
        index = None
    try:
        report = run(
            output,
            data=data,
            index=located(index) if index is not None or not data else None,
            base=base,
            recipe=recipe,
            changes=changes,
            minutes=minutes,
            dev=dev,
            generator=Endpoint(generator, generator_model) if generator else None,
            teacher=teacher,
            switch=not no_switch,
            resume=resume,
            device=device,
            progress=terminal.progress() if distributed.is_first() else SILENT,
        )
        if distributed.rank() != 0:
            return
        training, switched = report.training, report.switched
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(report), indent=1, default=str))
        else:
            click.echo(training.reason)
            click.echo(f"{training.steps:,} steps, {training.examples:,} examples, {training.seconds / 60:.1f} minutes")
        if switched is not None:
            render.note(
                f"{switched.index}: {switched.passages:,} passages encoded anew, generation {switched.generation}"
            )
        elif training.kept:
            render.note(f"model in {output}; use it: searchengine index PATH --model {output} (--rebuild to switch)")
        else:
            render.note(f"refused: everything stays as it was (log and curves in {output / WORK})")
    finally:
        distributed.stop()


@click.command()
@click.argument("data", metavar="BEIR_DIR", type=PATH)
@click.option("--output", required=True, type=PATH, help="JSONL file to write; `train --data` reads it.")
@click.option("--model", help="Encoder that ranks: a name or a folder.  [default: the built-in one]")
@click.option("--index", type=PATH, help="Keep the index here, for the next run to reuse.")
@click.option(
    "--source",
    type=click.Choice(["hybrid", "dense", "bm25", "both"]),
    default="hybrid",
    show_default=True,
    help="Which retrieval ranks the candidates.",
)
@click.option("--range", "ranks", nargs=2, type=click.IntRange(1, 1000), default=(1, 100), show_default=True)
@click.option("--share", default=0.95, show_default=True, help="Drop above this share of the positive.")
@click.option("--margin", default=0.0, show_default=True, help="Drop what scores above the positive less this.")
@click.option("--teacher", metavar="MODEL", help="Cross-encoder whose scores are written too, for `train distill`.")
@click.option("-n", "per_query", type=click.IntRange(1, 100), default=8, show_default=True, help="Negatives a query.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def mine(
    data: Path,
    output: Path,
    model: str | None,
    index: Path | None,
    source: str,
    ranks: tuple[int, int],
    share: float,
    margin: float,
    teacher: str | None,
    per_query: int,
    as_json: bool,
) -> None:
    """Mine hard negatives for BEIR_DIR's training queries.

    A line of the file: the query, its answers, and passages that the engine's own retrieval ranks high although they
    are no answers. Judged answers and what looks too much like one are left out.
    """
    from trainer.mine import mine as run
    from trainer.negatives.hard import HardSettings

    settings = HardSettings(
        source=source, range_min=ranks[0], range_max=ranks[1], pool=max(30, per_query), share=share, margin=margin
    )
    report = run(
        [data],
        output,
        settings,
        model=model,
        index=index,
        per_query=per_query,
        teacher=teacher,
        progress=terminal.progress(),
    )
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(report), "output": str(output)}, indent=1))
    else:
        click.echo(
            f"{report.negatives:,} negatives for {report.queries:,} queries; "
            f"{report.filtered:,} candidates looked like answers and were left out"
        )
    render.note(f"written: {output}")


@click.command()
@click.argument("folder", metavar="[BEIR_DIR]", required=False, type=PATH)
@index_option
@click.option("--queries", type=PATH, help='JSONL of "_id" and "text", with --qrels instead of BEIR_DIR.')
@click.option("--qrels", type=PATH, help="TSV of query id, document as hits name it, and grade.")
@click.option("--split", help="dev, train or held-out (what `train` held out).  [default: dev, else train]")
@click.option("--dry-run", is_flag=True, help="Measure, store nothing.")
@click.option("--reset", is_flag=True, help="Go back to the default weights.")
@json_option
def tune(
    folder: Path | None,
    index: Path | None,
    queries: Path | None,
    qrels: Path | None,
    split: str | None,
    dry_run: bool,
    reset: bool,
    as_json: bool,
) -> None:
    """Learn the index's fusion weights from judged queries.

    Three numbers: how much words count beside meaning, how far a query moves towards what it found first, and whether
    passages are lifted towards those like them. They are chosen by nDCG@10, and kept only if queries that had no part
    in the choice gain beyond chance; `query`, `bench` and the Python API then use them. Test judgements are never
    learnt from: with BEIR_DIR its dev split is taken, else its train split. Where the index's encoder was trained on
    that split, take --split held-out.
    """
    from trainer import tune as tuning

    place = located(index)
    if reset:
        if folder or queries or qrels:
            raise UsageError("--reset takes no judgements")
        removed = tuning.reset(place)
        if as_json:
            click.echo(render.json({"reset": removed}))
        else:
            click.echo("the default weights again" if removed else "nothing to reset: the weights are the default ones")
        return
    if folder is not None and (queries or qrels):
        raise UsageError("give a BEIR folder, or --queries and --qrels, not both")
    if folder is not None:
        judged = tuning.judged_in_folder(folder, split)
    elif queries is not None and qrels is not None:
        if split is not None:
            raise UsageError("--split chooses among a BEIR folder's judgements; --qrels names a file")
        judged = tuning.judged_in_files(queries, qrels)
    else:
        raise UsageError("no judgements given: name a BEIR folder, or --queries FILE and --qrels FILE")
    report = tuning.tune(place, judged, dry_run=dry_run, progress=terminal.progress())
    click.echo(render.json(report.as_json()) if as_json else tuning.as_text(report))
    if report.kept:
        render.note("stored in the index, and used from now on (searchengine tune --reset goes back)")
    elif dry_run:
        render.note("a dry run: nothing was stored")
    else:
        render.note("nothing was stored: the index is as it was")
