"""What a figure was measured on: a figure without its machine says nothing of speed."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": installed(),
    }


def processor() -> str:
    """Name the processor; its architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Return the machine's memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def installed() -> dict[str, str]:
    """Return the version of each library that is installed, without importing any."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine_line(machine: dict[str, Any] | None = None) -> str:
    """Name a machine, as ``describe_machine`` did or this one, in one line, for the head of a table."""
    machine = describe_machine() if machine is None else machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; {libraries}"
