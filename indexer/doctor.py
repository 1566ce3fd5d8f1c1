"""What this machine has of all that speed and results depend on, in one dictionary; what it lacks, and what to do.

Measures nothing and prepares nothing: the backend named is what an earlier run measured.
"""

from __future__ import annotations

import platform
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from indexer import machine
from indexer.encoders import cache, choose, pretrained
from indexer.encoders.export import prepared_spec
from indexer.encoders.model_folder import find
from indexer.errors import ModelError
from indexer.progress import SILENT
from indexer.status import size_of

LIBRARIES = (
    "numpy",
    "tokenizers",
    "onnxruntime",
    "openvino",
    "torch",
    "transformers",
    "sentence-transformers",
    "tantivy",
    "sqlalchemy",
)
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-cuda")
# What the libraries multiply by: names of Linux's /proc/cpuinfo, x86 and ARM
FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "i8mm",
    "bf16",
)
PACKAGES = {"openvino": "openvino", "openvino-int8": "openvino", "onnx": "onnxruntime", "onnx-int8": "onnxruntime"}


def examine() -> dict[str, Any]:
    """Describe the machine; ``problems`` holds a sentence for each thing that is missing or wrong."""
    problems: list[str] = []
    name, features = machine.processor()
    gpus = machine.gpus()
    cuda = choose.has_cuda()
    faiss = _faiss()
    if gpus and not cuda:
        problems.append("there is a GPU that torch cannot use: pip install torch with CUDA, or check the driver")
    if gpus and not faiss["gpu"]:
        problems.append("FAISS is built for the CPU only: pip install 'searchengine[gpu]' in place of faiss-cpu")
    if len(faiss["packages"]) != 1:
        problems.append(
            f"{len(faiss['packages'])} FAISS packages are installed: keep exactly one of {', '.join(FAISS)}"
        )
    root = cache.cache_root(SILENT)
    model = _model(problems)
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": {
            "name": name,
            "cores": machine.cores(),
            "features": [feature for feature in FEATURES if feature in features],
            "bfloat16": machine.has_bfloat16(),
        },
        "memory_bytes": machine.memory_bytes(),
        "gpus": gpus,
        "cuda": cuda,
        "libraries": {name: machine.installed(name) for name in LIBRARIES},
        "faiss": faiss,
        "model": model,
        "encoder": _encoder(root, problems, cuda=cuda, verified=model["verified"]),
        "cache": {"folder": str(root), "size_bytes": size_of(root), "temporary": cache.is_temporary()},
        "problems": problems,
    }


def _faiss() -> dict[str, Any]:
    packages = {name: found for name in FAISS if (found := machine.installed(name))}
    if find_spec("faiss") is None:
        return {"packages": packages, "gpu": False}
    import faiss

    return {"packages": packages, "gpu": hasattr(faiss, "StandardGpuResources")}


def _model(problems: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"name": pretrained.NAME, "folder": None, "verified": False}
    try:
        # every byte is hashed again: a doctor does not take the cache's word for it
        described |= {"folder": str(pretrained.default_folder()), "verified": True}
    except ModelError as error:
        problems.append(str(error))
    return described


def _encoder(root: Path, problems: list[str], *, cuda: bool, verified: bool) -> dict[str, Any]:
    backends = {name: machine.installed(PACKAGES.get(name, "torch")) is not None for name in choose.BACKENDS}
    described: dict[str, Any] = {"backends": backends, "backend": None, "why": "", "passages_per_second": {}}
    if not backends["openvino"]:
        problems.append("openvino is not installed: passages are encoded more slowly on the CPU; pip install openvino")
    if cuda:
        return described | {"backend": "torch", "why": "a GPU is there"}
    spec = prepared_spec(find(None, root), root) if verified else None
    choice = choose.remembered(spec.fingerprint, root) if spec is not None else None
    if choice is None:
        return described | {"why": "not measured yet: the first index measures and remembers it"}
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(choice.measured_at))
    busy = "" if choice.steady else " on a busy machine; it is measured again after a day"
    return described | {
        "backend": choice.backend,
        "why": f"the fastest of those whose vectors agree with float32, measured {when}{busy}",
        "passages_per_second": choice.passages_per_second,
    }
