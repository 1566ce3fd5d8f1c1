"""An encoder inside an index: written once, enough for every query, loaded without torch.

The folder holds `query.onnx`, `tokenizer.json` and `encoder.json`. Imports numpy, tokenizers and onnxruntime alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokenizers import Tokenizer

from indexer.encoders import spec
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.cache import sha256_of
from indexer.encoders.onnx import OnnxRunner
from indexer.encoders.tokens import TokenEncoder
from indexer.errors import DamagedIndex, ModelError

GRAPH = "query.onnx"
TOKENIZER = "tokenizer.json"
# a query of ten tokens takes 2 ms on one thread; starting a pool for more costs up to 60 ms, and helps only long texts
QUERY_THREADS = 1


def store(encoder: BatchedEncoder, folder: Path) -> None:
    """Write what a query needs into an existing, empty folder: hard links to the user's cache where they are possible.

    The caller fsyncs and names the folder. Raises OSError when the disk refuses, ModelError when the source is gone.
    """
    described, known = spec.read(encoder.folder)
    if described.fingerprint != encoder.fingerprint:
        raise ModelError(f"{encoder.folder}: holds another encoder by now; run the command again")
    for name in (GRAPH, TOKENIZER):
        try:
            os.link(encoder.folder / name, folder / name)
        except OSError:  # another file system, or one without links
            shutil.copyfile(encoder.folder / name, folder / name)
        if sha256_of(folder / name) != known.get(name, {}).get("sha256"):
            raise ModelError(f"{encoder.folder / name}: damaged; delete {encoder.folder} and run the command again")
    (folder / spec.FILE_NAME).write_text(
        encoder.spec.to_json({name: known[name] for name in (GRAPH, TOKENIZER)}), encoding="utf-8"
    )


def load(folder: Path, *, threads: int | None = None) -> BatchedEncoder:
    """Load the encoder for queries from an index's folder.

    Raises ModelError when the description is missing or malformed, DamagedIndex when another file is missing or is not
    the one described. Every byte is hashed before a library parses it (25 MB: 15 ms).
    """
    described, text, truncating, runner = _load(folder, threads or QUERY_THREADS)
    return BatchedEncoder(described, text, runner, folder, truncating)


def load_tokens(folder: Path, *, threads: int | None = None) -> TokenEncoder:
    """Load what gives the vectors of tokens from an index's folder; it reads passages, so it takes every core.

    Raises as ``load`` does, and ModelError for a graph that an earlier version wrote, without them.
    """
    described, _, truncating, runner = _load(folder, threads)
    if not runner.gives_tokens:
        raise ModelError(
            f"{folder / GRAPH}: gives no vectors of tokens, for which late interaction asks (an earlier version wrote "
            "it; index with --rebuild to write it anew)"
        )
    return TokenEncoder(described, truncating, runner)


def _load(folder: Path, threads: int | None) -> tuple[spec.Spec, str, Tokenizer, OnnxRunner]:
    described, files = spec.read(folder)
    graph = _read(folder / GRAPH, files.get(GRAPH))
    tokenizer = _read(folder / TOKENIZER, files.get(TOKENIZER))
    # The graph is parsed outside the interpreter's lock (75 ms): the tokenizer (20 ms) is made meanwhile.
    with ThreadPoolExecutor(1, thread_name_prefix="graph") as beside:
        running = beside.submit(OnnxRunner, graph, threads=threads)
        try:
            text = tokenizer.decode("utf-8")
            truncating = Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001  tokenizers raises bare Exception
            raise DamagedIndex(
                f"{folder / TOKENIZER}: no tokenizer ({str(error)[:120]}); index again to write it anew"
            ) from None
        return described, text, truncating, running.result()


def _read(path: Path, described: dict[str, object] | None) -> bytes:
    if described is None:
        raise ModelError(f"{path.parent / spec.FILE_NAME}: does not list {path.name}; index again to write it anew")
    try:
        if path.is_symlink():
            raise DamagedIndex(f"{path}: a link, where an index keeps the file itself; index again to write it anew")
        content = path.read_bytes()
    except OSError as error:
        raise DamagedIndex(f"{path}: {error.strerror or error}; index again to write it anew") from None
    if hashlib.sha256(content).hexdigest() != described.get("sha256"):
        raise DamagedIndex(f"{path}: altered or short ({len(content)} bytes); index again to write it anew")
    return content
