"""Which backend encodes passages on this machine: measured once, remembered per machine, model and library versions."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from indexer.encoders import cache
from indexer.encoders.batching import BatchedEncoder, Runner
from indexer.encoders.export import INTERCHANGEABLE, MIXED, PASSAGES, QUERY, REVISION, SAMPLES, TOKENIZER
from indexer.encoders.model_folder import ModelFolder
from indexer.encoders.onnx import OnnxRunner
from indexer.encoders.spec import Spec
from indexer.errors import ModelError, UsageError
from indexer.progress import Progress

BACKENDS = ("openvino", "openvino-int8", "onnx", "onnx-int8", "torch")
DEVICES = ("auto", "cpu", "cuda")
ROUNDS = 3  # in turn, the best of each counts: a neighbour's load then hits all alike
PASSAGE = "Retries wait twice as long after each failure, and a random part keeps clients from meeting again. " * 12
PASSAGES_A_ROUND = 4  # one batch of about a thousand tokens


def choose(
    described: Spec,
    prepared: Path,
    folder: ModelFolder,
    root: Path,
    *,
    backend: str,
    device: str,
    threads: int | None,
    progress: Progress,
) -> BatchedEncoder:
    """Give the encoder for passages: by ``backend``'s name, or the fastest whose vectors agree with float32.

    Raises UsageError for a name that does not exist, ModelError for a backend that cannot run here or disagrees.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r:.80}: choose auto, {', '.join(BACKENDS)}")
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r:.80}: choose {', '.join(DEVICES)}")
    if device == "cuda" and backend not in ("auto", "torch"):
        raise UsageError(f"backend {backend} runs on the CPU only: use --backend torch with --device cuda")
    cuda = device != "cpu" and backend in ("auto", "torch") and has_cuda()
    if device == "cuda" and not cuda:
        raise ModelError(
            "no CUDA device can be used by the installed torch: use --device cpu, or install torch with CUDA"
        )
    tokenizer = (prepared / TOKENIZER).read_text(encoding="utf-8")

    def build(name: str) -> BatchedEncoder:
        return BatchedEncoder(described, tokenizer, _runner(name, prepared, folder, cuda, threads), prepared)

    if backend == "auto" and not cuda:
        backend = _fastest(described, build, root, threads, progress)
    elif backend == "auto":
        backend = "torch"
    chosen = build(backend)
    if backend != "onnx":
        _check(chosen, build, root, machine(threads, cuda=cuda))
    return chosen


def has_bfloat16() -> bool:
    """Say whether this processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _cpu()[1])


def has_cuda() -> bool:
    """Say whether torch can use a GPU, importing it only where a driver is present."""
    if not os.path.exists("/dev/nvidiactl") and not os.path.exists("/dev/dxg") and platform.system() == "Linux":
        return False
    import torch

    return bool(torch.cuda.is_available())


def machine(threads: int | None, *, cuda: bool = False) -> str:
    """Name what a measurement holds for: processor, its instructions, cores, library versions."""
    model, flags = _cpu()
    versions = []
    for package in ("openvino", "onnxruntime", "torch", "sentence-transformers"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return "|".join([model, " ".join(sorted(flags)), str(os.cpu_count()), str(threads), str(cuda), *versions])


def _runner(name: str, prepared: Path, folder: ModelFolder, cuda: bool, threads: int | None) -> Runner:
    try:
        if name.startswith("openvino"):
            from indexer.encoders.openvino import OpenvinoRunner

            graph = prepared / (PASSAGES if name == "openvino" else MIXED)
            return OpenvinoRunner(graph, threads=threads, bfloat16=has_bfloat16(), backend=name)
        if name == "torch":
            from indexer.encoders.torch import TorchRunner

            return TorchRunner(folder, device="cuda" if cuda else "cpu", bfloat16=cuda or has_bfloat16())
        graph = prepared / (PASSAGES if name == "onnx" else QUERY)
        return OnnxRunner(graph.read_bytes(), threads=threads, backend=name)
    except ImportError as error:
        raise ModelError(
            f"backend {name} is not installed ({error}): pip install {error.name or name}, or use --backend onnx"
        ) from None


def _fastest(
    described: Spec, build: Callable[[str], BatchedEncoder], root: Path, threads: int | None, progress: Progress
) -> str:
    names = ["onnx", "onnx-int8"]
    if find_spec("openvino") is not None:
        names += ["openvino", "openvino-int8"]
    else:
        progress.note("openvino is not installed: passages are encoded more slowly; pip install openvino")
        if has_bfloat16():  # beside openvino never the fastest, and 4 s to import
            names.append("torch")
    key = f"{REVISION}|{described.fingerprint}|{names}|{machine(threads)}"
    known = cache.recall(root, "backends", key)
    if known is not None and known.get("backend") in names:
        return str(known["backend"])
    reference = build("onnx")
    exact = reference.encode_passages(SAMPLES)
    candidates = {"onnx": reference}
    for name in names:
        if name == "onnx":
            continue
        try:
            candidate = build(name)
            if _cosine(candidate.encode_passages(SAMPLES), exact) >= INTERCHANGEABLE:
                candidates[name] = candidate
            else:
                progress.note(f"backend {name} changes {described.name}'s vectors too much; left out")
        except Exception as error:  # noqa: BLE001  a backend that fails on this machine, however, is one not chosen
            progress.note(f"backend {name} fails here ({(str(error).strip().splitlines() or [''])[0][:120]}); left out")
    seconds = dict.fromkeys(candidates, np.inf)
    for turn in range(ROUNDS):
        # no two texts alike: equal ones are encoded once
        texts = [f"{turn} {number} {PASSAGE}" for number in range(PASSAGES_A_ROUND)]
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate.encode_passages(texts)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    best = min(seconds, key=lambda name: seconds[name])
    rates = {name: PASSAGES_A_ROUND / taken for name, taken in seconds.items()}
    cache.remember(root, "backends", key, {"backend": best, "passages_per_second": rates})
    return best


def _check(chosen: BatchedEncoder, build: Callable[[str], BatchedEncoder], root: Path, place: str) -> None:
    key = f"{REVISION}|{chosen.fingerprint}|{chosen.backend}|{place}"
    known = cache.recall(root, "agreements", key)
    cosine = known.get("cosine") if known is not None else None
    if not isinstance(cosine, float):
        cosine = _cosine(chosen.encode_passages(SAMPLES), build("onnx").encode_passages(SAMPLES))
        cache.remember(root, "agreements", key, {"cosine": cosine})
    if cosine < INTERCHANGEABLE:
        raise ModelError(
            f"backend {chosen.backend} changes {chosen.name}'s vectors too much here (cosine {cosine:.4f}): "
            "use --backend onnx"
        )


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum(axis=1).mean())


def _cpu() -> tuple[str, frozenset[str]]:
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
