"""A sentence-transformers CrossEncoder → an ONNX graph of its score, with 8-bit weights, kept in the user's cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.encoders import cache
from indexer.encoders.cross import GRAPH, TOKENIZER, CrossEncoder, CrossSpec, load, write_description
from indexer.encoders.export import SAMPLES, loading, vetted
from indexer.encoders.model_folder import ModelFolder
from indexer.encoders.onnx import PAIR, SCORE, TEXT, PairRunner
from indexer.encoders.trace import trace
from indexer.errors import ModelError
from indexer.progress import SILENT, Progress

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder as Model

REVISION = 1  # raise it when the graphs change, so that caches are made anew
EXACT = 1e-3  # of the scores' spread: how far the float32 graph may be from torch
CLOSE = 0.1  # of the scores' spread: how far 8-bit weights may move one


def prepare_cross(folder: ModelFolder, root: Path, progress: Progress = SILENT) -> CrossEncoder:
    """Load a cross-encoder for queries, exporting it to the cache when it is not there yet (5 to 15 s, once).

    Raises ModelError when it cannot be loaded, gives more than one score a pair, or its graph disagrees with torch.
    """
    prepared = root / f"cross-{folder.key}-{REVISION}"
    if prepared.is_dir():
        try:
            found = load(prepared)
            found.name = folder.name
            return found
        except ModelError:
            shutil.rmtree(prepared, ignore_errors=True)  # half gone: some cleaner's work, and as good as absent
    progress.note(f"preparing the cross-encoder {folder.name} once for this machine")
    model = load_cross(folder, attention="eager")
    try:
        cache.create_folder(prepared, lambda target: _fill(target, folder, model, progress))
    except OSError as error:
        raise ModelError(
            f"{prepared}: cannot keep the prepared cross-encoder ({error.strerror or error}); "
            "free some space or set XDG_CACHE_HOME"
        ) from None
    return load(prepared)


def load_cross(folder: ModelFolder, *, device: str = "cpu", attention: str | None = None) -> Model:
    """Load a vetted folder as a CrossEncoder, in float32, offline, running no code of the folder's.

    Raises ModelError, also for a bi-encoder, whose scores would be those of weights drawn at random.
    """
    import torch
    from sentence_transformers import CrossEncoder

    if not folder.is_cross_encoder:
        raise ModelError(f"{folder.path}: no cross-encoder (it has no layer that scores); name a CrossEncoder's folder")
    with loading(folder.path):
        # an activation is given, so that none is looked up by a name in the folder
        options = vetted(device, attention) | {"activation_fn": torch.nn.Identity()}
        return CrossEncoder(str(folder.path), **options).eval()


def describe_cross(folder: ModelFolder, model: Model) -> tuple[CrossSpec, str]:
    """Say what the loaded model is, and give its tokenizer as JSON, without truncation and padding."""
    from tokenizers import Tokenizer

    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"{folder.path}: its tokenizer has no fast version (tokenizer.json)")
    if model.num_labels != 1:
        raise ModelError(f"{folder.path}: gives {model.num_labels} scores a pair, where a reranker gives one")
    if any(model.prompts.values()):
        raise ModelError(f"{folder.path}: asks with a prompt, which is not supported for cross-encoders")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    longest = int(min(model.max_seq_length or 512, 8192))  # some tokenizers say 10^30
    pad = int(getattr(model.tokenizer, "pad_token_id", None) or 0)
    return CrossSpec(folder.name, folder.key, longest, pad), tokenizer.to_str()


def _fill(target: Path, folder: ModelFolder, model: Model, progress: Progress) -> None:
    from indexer.encoders.quantise import quantise

    described, tokenizer = describe_cross(folder, model)
    (target / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    exact = target / "exact.onnx"
    _export(model, exact)
    pairs = [(query, passage) for query in SAMPLES[:3] for passage in SAMPLES]
    expected = model.predict(pairs, show_progress_bar=False)
    spread = float(np.std(expected)) or 1.0
    off = _deviation(exact, described, tokenizer, expected) / spread
    if not off <= EXACT:
        raise ModelError(f"{folder.path}: its ONNX graph disagrees with torch by {off:.4f} of the scores' spread")
    quantise(exact, target / GRAPH)
    off = _deviation(target / GRAPH, described, tokenizer, expected) / spread
    if not off <= CLOSE:
        progress.note(
            f"{folder.name}: 8-bit weights move its scores (by {off:.2f} of their spread); the exact graph is kept"
        )
        exact.replace(target / GRAPH)
    exact.unlink(missing_ok=True)
    write_description(described, target)


def _deviation(graph: Path, described: CrossSpec, tokenizer: str, expected: np.ndarray) -> float:
    encoder = CrossEncoder(described, tokenizer, PairRunner(graph.read_bytes()))
    found = np.concatenate([encoder.scores(query, SAMPLES) for query in SAMPLES[:3]])
    return float(np.abs(found - expected).max())


def _export(model: Model, path: Path) -> None:
    import torch

    inputs = list(PAIR if "token_type_ids" in model.tokenizer.model_input_names else TEXT)

    class Graph(torch.nn.Module):  # type: ignore[misc]  # mypy follows no import into torch
        """Token ids, mask and segments → one score a pair, as one module that can be traced."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = torch.nn.ModuleList(list(model))

        def forward(self, *given: Any) -> Any:
            features = dict(zip(inputs, given, strict=True))
            for step in self.steps:
                features = step(features)
            return features["scores"][:, 0]

    trace(Graph(), inputs, {SCORE: {0: "texts"}}, path)
