"""`searchengine query`: ask the index."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import searchengine
from searchengine import render, terminal
from searchengine.commands.options import (
    index_option,
    json_option,
    located,
    rerank_depth_option,
    rerank_option,
    rerank_weight_option,
)


@click.command()
@click.argument("text")
@index_option
@click.option("-k", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="Hits to show.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "dense", "bm25", "rm3"]),
    default="hybrid",
    show_default=True,
    help="By meaning and words, by meaning, by words, by words and those of what they find.",
)
@click.option("--where", help="Keep only matching documents, such as 'path:docs/** ext:pdf modified:>2024-01-01'.")
@click.option("--all-passages", is_flag=True, help="Show every passage, not the best of each document.")
@click.option(
    "--fusion",
    type=click.Choice(["neighbours", "feedback", "standard", "convex", "rrf"]),
    default="neighbours",
    show_default=True,
    help="How hybrid joins its two lists: standardised scores, asked again with the best passages' direction added, "
    "passages lifted by those like them; the same without the last step; in one pass; weighted min-max scores; "
    "reciprocal ranks.",
)
@rerank_option
@rerank_depth_option
@rerank_weight_option
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where vectors are searched; cuda copies them to the GPUs first.",
)
@click.option("--explain", is_flag=True, help="Show what each retriever gave a hit.")
@json_option
def query(
    text: str,
    index: Path | None,
    count: int,
    mode: str,
    where: str | None,
    all_passages: bool,
    fusion: str,
    rerank: str | None,
    rerank_depth: int,
    rerank_weight: float | None,
    device: str,
    explain: bool,
    as_json: bool,
) -> None:
    """Search the index for TEXT."""
    with searchengine.open(located(index), device=device, progress=terminal.progress()) as searcher:
        answer = searcher.answer(
            text,
            count,
            mode=mode,
            where=where,
            all_passages=all_passages,
            fusion=fusion,
            rerank=None if rerank is None else searcher.reranker(rerank, terminal.progress()),
            rerank_depth=rerank_depth,
            rerank_weight=rerank_weight,
        )
        for note in answer.notes:
            render.note(note)
        if as_json:
            click.echo(render.json(answer.hits))
        elif answer.hits:
            click.echo(render.hits(answer, searcher.analyse, render.style_of(sys.stdout), explain=explain))
