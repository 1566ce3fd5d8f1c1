"""A cross-encoder: a query and a passage read together → one score. What runs it at query time, without torch.

Its graph, tokenizer and description lie in the user's cache (``export_cross.py`` puts them there). Imports numpy,
tokenizers and onnxruntime alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from indexer.encoders.batching import CHARACTERS_PER_TOKEN, batches, encodable
from indexer.encoders.cache import sha256_of
from indexer.encoders.onnx import PairRunner
from indexer.errors import ModelError

GRAPH, TOKENIZER, DESCRIPTION = "pairs.onnx", "tokenizer.json", "cross.json"


@dataclass(frozen=True, slots=True)
class CrossSpec:
    """What pairs need to become the same scores again, weights aside. ``max_length`` counts a pair's tokens."""

    name: str
    key: str
    max_length: int
    pad_id: int


class CrossEncoder:
    """Scores passages for a query; higher is better, on the model's own scale, before any activation."""

    def __init__(self, spec: CrossSpec, tokenizer: str, runner: PairRunner) -> None:
        """Take a tokenizer as JSON text, without truncation and padding."""
        self.spec = spec
        self.name = spec.name
        self._runner = runner
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.enable_truncation(spec.max_length, strategy="longest_first")

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """Score each passage for the query: n texts → float32 [n].

        Raises ModelError when a score is no number.
        """
        limit = self.spec.max_length * CHARACTERS_PER_TOKEN
        asked = encodable(query[:limit])
        encodings = self._tokenizer.encode_batch_fast([(asked, encodable(text[:limit])) for text in passages])
        scores = np.empty(len(passages), np.float32)
        for batch in batches([len(encoding) for encoding in encodings], self._runner.token_budget, 1):
            width = max(len(encodings[row]) for row in batch)
            ids = np.full((len(batch), width), self.spec.pad_id, dtype=np.int64)
            mask, segments = np.zeros_like(ids), np.zeros_like(ids)
            for place, row in enumerate(batch):
                length = len(encodings[row])
                ids[place, :length], mask[place, :length] = encodings[row].ids, 1
                segments[place, :length] = encodings[row].type_ids
            scores[batch] = self._runner.run(ids, mask, segments)
        if not np.isfinite(scores).all():
            raise ModelError(f"{self.name}: gives a score that is no number; choose another cross-encoder")
        return scores


def write_description(spec: CrossSpec, folder: Path) -> None:
    """Write what ``load`` reads beside the graph and the tokenizer, with the sha256 of both."""
    hashes = {name: sha256_of(folder / name) for name in (GRAPH, TOKENIZER)}
    (folder / DESCRIPTION).write_text(json.dumps({**asdict(spec), "sha256": hashes}, indent=1) + "\n", encoding="utf-8")


def load(folder: Path, *, threads: int | None = None) -> CrossEncoder:
    """Load a prepared cross-encoder. Raises ModelError when a file is missing, malformed or not the one described."""
    try:
        described = json.loads((folder / DESCRIPTION).read_bytes())
        spec = CrossSpec(**{field.name: described[field.name] for field in fields(CrossSpec)})
        if any(sha256_of(folder / name) != described["sha256"][name] for name in (GRAPH, TOKENIZER)):
            raise ModelError(f"{folder}: damaged; delete this folder, and it is made anew")
        tokenizer = (folder / TOKENIZER).read_text(encoding="utf-8")
        graph = (folder / GRAPH).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: no prepared cross-encoder ({error}); delete it, and it is made anew") from None
    return CrossEncoder(spec, tokenizer, PairRunner(graph, threads=threads))
