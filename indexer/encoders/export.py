"""A sentence-transformers model → three ONNX graphs with pooling and normalisation inside, kept in the user's cache.

`passages.onnx` is exact (float32), `query.onnx` small (8-bit weights), `mixed.onnx` for OpenVINO (8-bit feed-forward
layers). All take input_ids and attention_mask, int64 [texts, tokens], and give `embedding`, float32 [texts, dimension],
rows of unit length; `query.onnx` also `tokens`, float32 [texts, tokens, width], the last hidden states, each of unit
length, which cost a query next to nothing. `torch.py` and the trainer borrow ``load_modules``.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.encoders import cache, spec
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.model_folder import ModelFolder
from indexer.encoders.onnx import EMBEDDING, TOKENS, OnnxRunner
from indexer.encoders.spec import Spec
from indexer.encoders.trace import trace, without_output
from indexer.errors import ModelError
from indexer.progress import SILENT, Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PASSAGES = "passages.onnx"
QUERY = "query.onnx"
MIXED = "mixed.onnx"
TOKENIZER = "tokenizer.json"
REVISION = 5  # raise it when the graphs change, so that caches are made anew
EXACT = 0.9999  # least cosine of the float32 graph with torch
INTERCHANGEABLE = 0.999  # least cosine of the query graph: what the Encoder seam promises
SAMPLES = (
    "How do retries back off?",
    "Retries wait twice as long after each failure, up to a minute, with a random part so that clients do not meet.",
    "Zürich, Ελλάδα, Москва, 東京: naïve café déjà-vu — 100 % of 3.14159 €",
    "def encode(texts): return [model(text) for text in texts]  # O(n)",
    "The mitochondrion is the powerhouse of the cell. " * 12,
    "Apple pie is baked from apples, butter, sugar and flour; serve it warm. The recipe is older than the country. "
    * 40,
)


def prepare(folder: ModelFolder, root: Path, progress: Progress = SILENT) -> tuple[Spec, Path]:
    """Give the encoder's spec and the cache folder with its graphs, exporting them when they are not there yet.

    Raises ModelError when the model cannot be loaded, expressed as a graph, or when the graph disagrees with torch.
    """
    found = prepared_spec(folder, root)
    if found is not None:
        return found, _folder_of(found.fingerprint, root)
    half = cache.recall(root, "folders", f"{REVISION}|{folder.key}")
    if half is not None:
        shutil.rmtree(_folder_of(str(half.get("fingerprint")), root), ignore_errors=True)
    progress.note(f"preparing {folder.name} once for this machine")
    # eager attention exports as plain MatMul and Softmax, which ONNX Runtime and OpenVINO fuse again
    model = load_modules(folder, attention="eager")
    described, tokenizer = describe(folder, model)
    prepared = _folder_of(described.fingerprint, root)
    if not prepared.exists():
        try:
            cache.create_folder(prepared, lambda target: _fill(target, described, tokenizer, model, progress))
        except OSError as error:
            raise ModelError(
                f"{prepared}: cannot keep the prepared encoder ({error.strerror or error}); "
                "free some space or set XDG_CACHE_HOME"
            ) from None
    cache.remember(root, "folders", f"{REVISION}|{folder.key}", {"fingerprint": described.fingerprint})
    return described, prepared


def prepared_spec(folder: ModelFolder, root: Path) -> Spec | None:
    """Give the spec of a model that was prepared on this machine and whose files are all there; None else."""
    known = cache.recall(root, "folders", f"{REVISION}|{folder.key}")
    if known is None:
        return None
    prepared = _folder_of(str(known.get("fingerprint")), root)
    try:
        found, files = spec.read(prepared)
        if all((prepared / name).stat().st_size == entry.get("size_bytes") for name, entry in files.items()):
            return replace(found, name=folder.name)
    except (ModelError, OSError):
        pass  # half gone: some cleaner's work, and as good as absent
    return None


def _folder_of(fingerprint: str, root: Path) -> Path:
    return root / f"{fingerprint}-{REVISION}"


def load_modules(folder: ModelFolder, *, device: str = "cpu", attention: str | None = None) -> SentenceTransformer:
    """Load a vetted folder by sentence-transformers, in float32, offline, running no code of the folder's.

    ``attention`` names an implementation of transformers', None the one it thinks best. Raises ModelError.
    """
    from sentence_transformers import SentenceTransformer

    with loading(folder.path):
        return SentenceTransformer(str(folder.path), **vetted(device, attention)).eval()


def vetted(device: str, attention: str | None) -> dict[str, Any]:
    """Give the options by which sentence-transformers loads a folder: float32, offline, none of its code run."""
    import torch

    return {
        "device": device,
        "trust_remote_code": False,
        "local_files_only": True,
        "model_kwargs": {"use_safetensors": True, "dtype": torch.float32, "attn_implementation": attention},
    }


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Let sentence-transformers load a folder in silence. Raises ModelError, in one line, for whatever it raises."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # it counts tensors on stderr, past every caller
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:  # whatever a foreign folder makes the libraries raise is its own fault
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path}: sentence-transformers cannot load it ({reason[:200]})") from error


def describe(folder: ModelFolder, model: SentenceTransformer) -> tuple[Spec, str]:
    """Say what the loaded model is, and give its tokenizer as JSON, without truncation and padding."""
    tokenizer, digest = _tokenizer(folder, model)
    pooling = [module for module in model if type(module).__name__ == "Pooling"]
    if len(pooling) != 1:
        raise ModelError(f"{folder.path}: has no single Pooling module")
    mode = pooling[0].pooling_mode
    prompts = {name: prompt for name, prompt in model.prompts.items() if prompt}
    query_prompt = prompts.get("query", "")
    # sentence-transformers adds an empty "document" prompt, and encode_document then never finds a model's "passage"
    passage_prompt = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), "")
    if not pooling[0].include_prompt and (query_prompt or passage_prompt):
        raise ModelError(f"{folder.path}: pools without its prompt's tokens, which is not supported")
    unknown = Spec(
        name=folder.name,
        fingerprint="",
        dimension=int(model.get_embedding_dimension() or 0),
        max_length=int(min(model.max_seq_length or 512, 32_768)),  # some tokenizers say 10^30
        pad_id=int(getattr(model.tokenizer, "pad_token_id", None) or 0),
        pooling=mode if isinstance(mode, str) else "+".join(mode),
        normalised=any(type(module).__name__ == "Normalize" for module in model),
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
    )
    return replace(unknown, fingerprint=identify(unknown, folder.weights(), folder.architecture(), digest)), tokenizer


def identify(described: Spec, weights: dict[str, str], architecture: dict[str, object], tokenizer: str) -> str:
    """Give the fingerprint of a model: everything its vectors depend on, and not its name."""
    return spec.fingerprint(
        {
            "weights": weights,
            "architecture": architecture,
            "tokenizer": tokenizer,
            "pooling": described.pooling,
            "normalised": described.normalised,
            "query_prompt": described.query_prompt,
            "passage_prompt": described.passage_prompt,
            "max_length": described.max_length,
            "dimension": described.dimension,
        }
    )


def _tokenizer(folder: ModelFolder, model: SentenceTransformer) -> tuple[str, str]:
    from tokenizers import Tokenizer

    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"{folder.path}: its tokenizer has no fast version (tokenizer.json)")
    expected = Tokenizer.from_str(backend.to_str())
    expected.no_truncation()
    expected.no_padding()
    place = folder.modules[0][1]
    path = folder.path / place / TOKENIZER
    if path.exists():
        own = Tokenizer.from_file(str(path))
        own.no_truncation()
        own.no_padding()
        # the folder's own file keeps the fingerprint free of the library's version, unless sentence-transformers
        # reads it otherwise (do_lower_case adds a normaliser)
        if [own.encode(text).ids for text in SAMPLES] == [expected.encode(text).ids for text in SAMPLES]:
            return own.to_str(), folder.hashes[str(Path(place) / TOKENIZER)]
    text = expected.to_str()
    return text, spec.fingerprint({"tokenizer": text})


def _fill(target: Path, described: Spec, tokenizer: str, model: SentenceTransformer, progress: Progress) -> None:
    from indexer.encoders.quantise import quantise, quantise_feed_forward

    (target / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    _export(model, target / QUERY)
    without_output(target / QUERY, TOKENS, target / PASSAGES)
    expected = model.encode(list(SAMPLES), prompt="", normalize_embeddings=True, show_progress_bar=False)
    least = _agreement(target / PASSAGES, described, tokenizer, expected)
    if least < EXACT:
        raise ModelError(
            f"{described.name}: its ONNX graph disagrees with torch (cosine {least:.4f}); this model is not supported"
        )
    exact = target / f"exact-{QUERY}"
    (target / QUERY).rename(exact)
    quantise(exact, target / QUERY)
    least = _agreement(target / QUERY, described, tokenizer, expected)
    if least < INTERCHANGEABLE:
        progress.note(
            f"{described.name}: 8-bit weights change its vectors (cosine {least:.4f}); the exact graph is kept instead"
        )
        exact.replace(target / QUERY)
    exact.unlink(missing_ok=True)
    quantise_feed_forward(target / PASSAGES, target / MIXED)  # judged where it runs, by choose.py
    files = {
        name: {"size_bytes": (target / name).stat().st_size, "sha256": cache.sha256_of(target / name)}
        for name in (PASSAGES, QUERY, MIXED, TOKENIZER)
    }
    (target / spec.FILE_NAME).write_text(described.to_json(files), encoding="utf-8")


def _agreement(graph: Path, described: Spec, tokenizer: str, expected: np.ndarray) -> float:
    candidate = replace(described, query_prompt="", passage_prompt="")
    vectors = BatchedEncoder(candidate, tokenizer, OnnxRunner(graph.read_bytes()), graph.parent).encode_passages(
        SAMPLES
    )
    return float((vectors * expected).sum(axis=1).min())


def _export(model: SentenceTransformer, path: Path) -> None:
    import torch

    class Graph(torch.nn.Module):  # type: ignore[misc]  # mypy follows no import into torch
        """input_ids, attention_mask → unit vectors of texts and of their tokens, as one module that can be traced."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = torch.nn.ModuleList(list(model))

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            features = self.steps[0](features)
            tokens = features["token_embeddings"]
            for step in self.steps[1:]:
                features = step(features)
            unit = torch.nn.functional.normalize
            return unit(features["sentence_embedding"], p=2, dim=1), unit(tokens, p=2, dim=2)

    axes = {EMBEDDING: {0: "texts"}, TOKENS: {0: "texts", 1: "tokens"}}
    trace(Graph(), ["input_ids", "attention_mask"], axes, path)
