"""What a figure was measured on: a figure without its machine says nothing of speed."""

from __future__ import annotations

import platform
from typing import Any

from indexer import machine as this_machine

LIBRARIES = (
    "faiss-cpu",
    "tantivy",
    "onnxruntime",
    "openvino",
    "torch",
    "tokenizers",
    "ir-measures",
    "pytrec-eval-terrier",
)


def describe_machine() -> dict[str, Any]:
    """Describe processor, memory, system and the versions of the libraries that decide scores and speed."""
    return {
        "processor": this_machine.processor()[0],
        "cores": this_machine.cores(),
        "memory_bytes": this_machine.memory_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": installed(),
    }


def installed() -> dict[str, str]:
    """Return the version of each library that is installed, without importing any."""
    return {name: version for name in LIBRARIES if (version := this_machine.installed(name))}


def machine_line(machine: dict[str, Any] | None = None) -> str:
    """Name a machine, as ``describe_machine`` did or this one, in one line, for the head of a table."""
    machine = describe_machine() if machine is None else machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; {libraries}"
