"""ONNX Runtime on the CPU. The query path's only backend: imports numpy and onnxruntime alone."""

from __future__ import annotations

import numpy as np
import onnxruntime

from indexer.errors import ModelError


class OnnxRunner:
    """Runs a graph that is given as bytes, so that what was checked is what is parsed."""

    token_budget = 1024
    multiple = 1

    def __init__(self, graph: bytes, *, threads: int | None = None, backend: str = "onnx") -> None:
        """Parse the graph; ``threads`` None means one a core.

        Raises ModelError when it is damaged, or keeps weights in other files (which ONNX may name by any path).
        """
        if b"location" in graph:  # the key under which a tensor names its file; no tensor of ours is called so
            raise ModelError(
                "the encoder's graph keeps weights outside its file, which is refused; index again to write it anew"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its warnings go to stderr past every logger
        # Beyond this come memory layouts for convolutions, which no encoder has: 30 ms of looking for them.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  the library's families have no common base but Exception
            raise ModelError(
                f"the encoder's graph is damaged ({str(error).strip()[:160]}); index again to write it anew"
            ) from None
        names = [value.name for value in self._session.get_inputs()]
        if sorted(names) != ["attention_mask", "input_ids"]:
            raise ModelError(
                f"the encoder's graph takes {names}, not input_ids and attention_mask; index again to write it anew"
            )
        self.backend = backend

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Turn ids and mask into rows; a session may run in several threads at once."""
        rows: np.ndarray = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return rows
