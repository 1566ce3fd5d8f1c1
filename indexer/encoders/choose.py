"""Which backend encodes passages on this machine: measured once, remembered per machine, model and library versions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from indexer.encoders import Encoder, cache
from indexer.encoders.batching import BatchedEncoder, Runner
from indexer.encoders.export import INTERCHANGEABLE, MIXED, PASSAGES, QUERY, REVISION, SAMPLES, TOKENIZER
from indexer.encoders.model_folder import ModelFolder
from indexer.encoders.onnx import OnnxRunner
from indexer.encoders.spec import Spec
from indexer.errors import ModelError, UsageError
from indexer.machine import cores, has_bfloat16, has_gpu_driver, installed, processor
from indexer.progress import Progress

BACKENDS = ("openvino", "openvino-int8", "onnx", "onnx-int8", "torch")
DEVICES = ("auto", "cpu", "cuda")
ROUNDS = 3  # in turns, the best of each counts: a neighbour's load then hits all alike
MOST_ROUNDS = 8  # on a busy machine, before a result is taken that did not come out twice
STEADY = 1.1
UNSTEADY_SECONDS = 86_400.0  # after a day an unsteady result is measured again
LIBRARIES = ("openvino", "onnxruntime", "torch", "sentence-transformers")
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


def has_cuda() -> bool:
    """Say whether torch can use a GPU, importing it only where a driver is present."""
    if not has_gpu_driver():
        return False
    import torch

    return bool(torch.cuda.is_available())


def machine(threads: int | None, *, cuda: bool = False) -> str:
    """Name what a measurement holds for: processor, its instructions, cores, library versions."""
    model, flags = processor()
    versions = [f"{package} {installed(package)}" for package in LIBRARIES]
    return "|".join([model, " ".join(sorted(flags)), str(cores()), str(threads), str(cuda), *versions])


@dataclass(frozen=True)
class Choice:
    """What a measurement found: passages a second of each backend that agrees with float32.

    ``steady``: each backend's two best turns agreed, so a busy neighbour did not decide.
    """

    backend: str
    passages_per_second: dict[str, float]
    steady: bool
    measured_at: float  # seconds since 1970


def available() -> list[str]:
    """Name the backends that the fastest is looked for among."""
    names = ["onnx", "onnx-int8"]
    if find_spec("openvino") is not None:
        return [*names, "openvino", "openvino-int8"]
    if has_bfloat16():  # beside openvino never the fastest, and 4 s to import
        names.append("torch")
    return names


def remembered(fingerprint: str, root: Path, threads: int | None = None) -> Choice | None:
    """Recall what was measured here for an encoder; None when nothing was, or an unsteady result has aged."""
    found = cache.recall(root, "backends", _key(fingerprint, threads))
    try:
        choice = Choice(**found)  # type: ignore[arg-type]
    except TypeError:
        return None
    return choice if choice.backend in available() else None


def _key(fingerprint: str, threads: int | None) -> str:
    return f"{REVISION}|{fingerprint}|{available()}|{machine(threads)}"


def _runner(name: str, prepared: Path, folder: ModelFolder, cuda: bool, threads: int | None) -> Runner:
    try:
        if name.startswith("openvino"):
            from indexer.encoders.openvino import OpenvinoRunner

            graph = prepared / (PASSAGES if name == "openvino" else MIXED)
            return OpenvinoRunner(graph, threads=threads, bfloat16=has_bfloat16(), backend=name)
        if name == "torch":
            import torch

            from indexer.encoders.torch import TorchProcesses, TorchRunner

            if cuda and (count := torch.cuda.device_count()) > 1 and os.name == "posix":
                return TorchProcesses(folder, [f"cuda:{number}" for number in range(count)])
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
    names = available()
    if "openvino" not in names:
        progress.note("openvino is not installed: passages are encoded more slowly; pip install openvino")
    known = remembered(described.fingerprint, root, threads)
    if known is not None and (known.steady or time.time() - known.measured_at < UNSTEADY_SECONDS):
        return known.backend
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
    seconds, steady = _race(candidates)
    best = min(seconds, key=lambda name: seconds[name])
    choice = Choice(best, {name: PASSAGES_A_ROUND / taken for name, taken in seconds.items()}, steady, time.time())
    cache.remember(root, "backends", _key(described.fingerprint, threads), asdict(choice))
    return best


def _race(candidates: Mapping[str, Encoder]) -> tuple[dict[str, float], bool]:
    """Give each candidate's best seconds a round, in turns, until its two best agree; whether all of them came to."""
    turns: dict[str, list[float]] = {name: [] for name in candidates}
    steady = False
    for turn in range(MOST_ROUNDS):
        # no two texts alike: equal ones are encoded once
        texts = [f"{turn} {number} {PASSAGE}" for number in range(PASSAGES_A_ROUND)]
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate.encode_passages(texts)
            turns[name].append(time.perf_counter() - began)
        ordered = [sorted(taken) for taken in turns.values()]
        steady = turn + 1 >= ROUNDS and all(taken[1] <= taken[0] * STEADY for taken in ordered)
        if steady:
            break
    return {name: min(taken) for name, taken in turns.items()}, steady


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
