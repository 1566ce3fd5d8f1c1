"""`searchengine doctor`: what this machine has, what is chosen for it, and what it lacks."""

from __future__ import annotations

from typing import Any

import click

from searchengine import render
from searchengine.commands.options import json_option


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine has, and what is chosen for it."""
    import searchengine

    found = searchengine.doctor()
    if as_json:
        click.echo(render.json(found))
        return
    click.echo(render.table(_rows(found)))
    for problem in found["problems"]:
        render.note(problem)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    processor, encoder, model, cache = found["processor"], found["encoder"], found["model"], found["cache"]
    memory = found["memory_bytes"]
    faiss = ", ".join(f"{name} {version}" for name, version in found["faiss"]["packages"].items()) or "not installed"
    backends = [name if there else f"{name} (not installed)" for name, there in encoder["backends"].items()]
    rates = sorted(encoder["passages_per_second"].items(), key=lambda rate: -rate[1])
    return [
        ("system", f"{found['system']}, Python {found['python']}"),
        ("processor", f"{processor['name']}, {render.counted(processor['cores'], 'core')}"),
        ("instructions", ", ".join(processor["features"]) or "unknown"),
        ("memory", "unknown" if memory is None else render.size(memory)),
        ("GPUs", "; ".join(found["gpus"]) or "none"),
        ("libraries", ", ".join(f"{name} {version or '(none)'}" for name, version in found["libraries"].items())),
        ("FAISS", f"{faiss}, {'with' if found['faiss']['gpu'] else 'without'} GPU support"),
        ("model", f"{model['name']}: {'the published files' if model['verified'] else 'not usable'}"),
        ("backends", ", ".join(backends)),
        ("chosen", f"{encoder['backend'] or 'none yet'}: {encoder['why']}"),
        ("measured", ", ".join(f"{name} {rate:.0f} passages/s" for name, rate in rates) or "nothing yet"),
        ("cache", f"{cache['folder']}, {render.size(cache['size_bytes'])}" + (" (temporary)" * cache["temporary"])),
        ("problems", render.counted(len(found["problems"]), "problem")),
    ]
