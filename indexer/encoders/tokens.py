"""The vectors of a text's tokens by an index's own encoder: what late interaction compares.

Reads the same graph that encodes queries, by its second output. Imports numpy, tokenizers and onnxruntime alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer

from indexer.encoders.batching import CHARACTERS_PER_TOKEN, batches, encodable
from indexer.encoders.onnx import OnnxRunner
from indexer.encoders.spec import Spec


class TokenEncoder:
    """Texts → the unit vectors of their tokens, without the special ones; cut where the encoder cuts them."""

    def __init__(self, spec: Spec, tokenizer: Tokenizer, runner: OnnxRunner) -> None:
        self.spec = spec
        self._runner = runner
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(spec.max_length)

    def passages(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encode passages, with the model's passage prompt: n texts → n arrays float32 [tokens, width]."""
        return self._encode(texts, self.spec.passage_prompt)

    def query(self, text: str) -> np.ndarray:
        """Encode a query, with the model's query prompt: float32 [tokens, width]."""
        return self._encode([text], self.spec.query_prompt)[0]

    @cached_property
    def _special(self) -> np.ndarray:
        added = self._tokenizer.get_added_tokens_decoder()
        return np.array([number for number, token in added.items() if token.special], dtype=np.int64)

    def _encode(self, texts: Sequence[str], prompt: str) -> list[np.ndarray]:
        limit = self.spec.max_length * CHARACTERS_PER_TOKEN
        encodings = self._tokenizer.encode_batch_fast([encodable(prompt + text[:limit]) for text in texts])
        vectors: dict[int, np.ndarray] = {}
        for batch in batches([len(encoding) for encoding in encodings], self._runner.token_budget, 1):
            width = max(1, *(len(encodings[row]) for row in batch))
            ids = np.full((len(batch), width), self.spec.pad_id, dtype=np.int64)
            mask = np.zeros_like(ids)
            for place, row in enumerate(batch):
                ids[place, : len(encodings[row])] = encodings[row].ids
                mask[place, : max(1, len(encodings[row]))] = 1  # attention to nothing is NaN
            rows = self._runner.run_tokens(ids, mask)
            for place, row in enumerate(batch):
                own = np.asarray(encodings[row].ids, dtype=np.int64)
                vectors[int(row)] = rows[place, : len(own)][~np.isin(own, self._special)]
        return [vectors[row] for row in range(len(texts))]
