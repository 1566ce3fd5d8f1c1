"""A run's state on disk, whole or not at all: weights, optimiser, negatives, step, best figures.

A checkpoint is written beside the last one, flushed, and takes its name by one rename. Chance needs no place in it: it
follows from seed and step. No pickle: tensors in safetensors, the rest in JSON.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from indexer.durable import storage_errors, sync_file, sync_folder
from indexer.errors import StorageError

FORMAT = 2
TENSORS, FACTS = "state.safetensors", "state.json"
LATEST, BEST = "latest", "best"


def save(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Write a nested mapping of tensors and plain values as ``folder/name``, in place of an older one."""
    tensors: dict[str, Tensor] = {}
    facts = {"format": FORMAT, "state": taken_apart(state, "", tensors)}
    with storage_errors("saving a checkpoint"):
        folder.mkdir(parents=True, exist_ok=True)
        part, old = folder / f"{name}.part", folder / f"{name}.old"
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)
        part.mkdir()
        save_file(tensors, part / TENSORS)
        (part / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        for file in (part / TENSORS, part / FACTS):
            sync_file(file)
        sync_folder(part)
        if (folder / name).exists():
            (folder / name).rename(old)  # a kill between the two renames leaves .old, which `load` knows
        part.rename(folder / name)
        sync_folder(folder)
        shutil.rmtree(old, ignore_errors=True)


def load(folder: Path, name: str) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none. Raises StorageError for one that is damaged or of another format."""
    place = next((path for path in (folder / name, folder / f"{name}.old") if (path / FACTS).is_file()), None)
    if place is None:
        return None
    try:
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise StorageError(f"{place}: written by another version (train anew without --resume)")
        tensors = load_file(place / TENSORS)
        state: dict[str, Any] = put_together(facts["state"], tensors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{place}: damaged checkpoint ({error}); train anew without --resume") from error
    return state


def taken_apart(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Replace every tensor of a nested value by a note of its name; other values must be JSON's."""
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous().clone()
        return {"tensor": place}
    if isinstance(value, Mapping):
        entries = [[key, taken_apart(entry, f"{place}/{key}", tensors)] for key, entry in value.items()]
        return {"mapping": entries}
    if isinstance(value, (list, tuple)):
        return {"list": [taken_apart(entry, f"{place}/{at}", tensors) for at, entry in enumerate(value)]}
    return {"value": value}


def put_together(note: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Undo ``taken_apart``; keys keep their type (the optimiser's are numbers)."""
    if "tensor" in note:
        return tensors[note["tensor"]]
    if "mapping" in note:
        return {key: put_together(entry, tensors) for key, entry in note["mapping"]}
    if "list" in note:
        return [put_together(entry, tensors) for entry in note["list"]]
    return note["value"]


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """Copy a module's weights off it."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
