"""ONNX Runtime on the CPU. The query path's only backend: imports numpy and onnxruntime alone."""

from __future__ import annotations

import numpy as np
import onnxruntime

from indexer.errors import ModelError

EMBEDDING, TOKENS, SCORE = "embedding", "tokens", "score"  # what the graphs' outputs are called
TEXT, PAIR = ("input_ids", "attention_mask"), ("input_ids", "attention_mask", "token_type_ids")


def open_session(
    graph: bytes, inputs: tuple[tuple[str, ...], ...], threads: int | None, what: str, mend: str
) -> onnxruntime.InferenceSession:
    """Parse a graph that is given as bytes, so that what was checked is what is parsed; it takes one of ``inputs``.

    ``threads`` None means one a core. Raises ModelError when it is damaged, or keeps weights in other files (which ONNX
    may name by any path).
    """
    if b"location" in graph:  # the key under which a tensor names its file; no tensor of ours is called so
        raise ModelError(f"{what}'s graph keeps weights outside its file, which is refused; {mend}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings go to stderr past every logger
    # Beyond this come memory layouts for convolutions, which no encoder has: 30 ms of looking for them.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the library's families have no common base but Exception
        raise ModelError(f"{what}'s graph is damaged ({str(error).strip()[:160]}); {mend}") from None
    names = [value.name for value in session.get_inputs()]
    if sorted(names) not in [sorted(known) for known in inputs]:
        raise ModelError(f"{what}'s graph takes {names}, not {' and '.join(inputs[0])}; {mend}")
    return session


class OnnxRunner:
    """Runs an encoder's graph: texts to vectors, or to those of their tokens."""

    token_budget = 1024
    multiple = 1
    in_flight = 1

    def __init__(self, graph: bytes, *, threads: int | None = None, backend: str = "onnx") -> None:
        """Parse the graph; ``threads`` None means one a core. Raises ModelError."""
        self._session = open_session(graph, (TEXT,), threads, "the encoder", "index again to write it anew")
        self.backend = backend

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Turn ids and mask into rows; a session may run in several threads at once."""
        rows: np.ndarray = self._session.run([EMBEDDING], dict(zip(TEXT, (ids, mask), strict=True)))[0]
        return rows

    @property
    def gives_tokens(self) -> bool:
        """Tell whether the graph gives the vectors of tokens: those made by earlier versions do not."""
        return TOKENS in [value.name for value in self._session.get_outputs()]

    def run_tokens(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Turn ids and mask into vectors of tokens, float32 [texts, tokens, width], those of padding included."""
        rows: np.ndarray = self._session.run([TOKENS], dict(zip(TEXT, (ids, mask), strict=True)))[0]
        return rows


class PairRunner:
    """Runs a cross-encoder's graph: pairs of texts to scores."""

    token_budget = 2048

    def __init__(self, graph: bytes, *, threads: int | None = None) -> None:
        """Parse the graph; ``threads`` None means one a core. Raises ModelError."""
        self._session = open_session(
            graph, (PAIR, TEXT), threads, "the cross-encoder", "delete searchengine's cache and run again"
        )
        self._inputs = {value.name for value in self._session.get_inputs()}

    def run(self, ids: np.ndarray, mask: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """Turn ids, mask and segments (0 the query, 1 the passage), int64 [pairs, tokens], into scores [pairs]."""
        given = dict(zip(PAIR, (ids, mask, segments), strict=True))
        scores: np.ndarray = self._session.run([SCORE], {name: given[name] for name in self._inputs})[0]
        return scores
