"""What this machine is: processor, instructions, cores, memory, GPUs. Asks the system alone, imports no library."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version


def processor() -> tuple[str, frozenset[str]]:
    """Give the processor's name and its instruction sets (empty where the system does not list them)."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    name = value.strip()
                elif key.strip() in ("flags", "Features"):
                    return name, frozenset(value.split())
    except OSError:
        pass  # no /proc: macOS, Windows
    return name, flags


def has_bfloat16() -> bool:
    """Say whether this processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & processor()[1])


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return the machine's memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def has_gpu_driver() -> bool:
    """Say whether a CUDA driver may be there: asking costs nothing, where torch takes a second to say no."""
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg") or platform.system() != "Linux"


def gpus() -> list[str]:
    """Name the NVIDIA GPUs by nvidia-smi, which comes with their driver: name and memory each."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def installed(package: str) -> str | None:
    """Give an installed package's version without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
