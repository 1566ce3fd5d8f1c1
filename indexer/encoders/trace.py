"""A torch module → one ONNX file that holds its weights. Knows nothing of what the module computes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from indexer.errors import ModelError

OPSET = 17
LARGEST_BYTES = 1_900_000_000  # protobuf ends at 2 GiB, and weights outside the graph are never loaded


def trace(module: Any, inputs: list[str], outputs: dict[str, dict[int, str]], path: Path) -> None:
    """Write a module as a graph: token ids, mask (and segments) int64 [texts, tokens] → its outputs.

    ``outputs`` maps each output's name to its axes of no fixed length. Raises ModelError for a model too large or one
    that no graph can express.
    """
    import torch

    size_bytes = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    if size_bytes > LARGEST_BYTES:
        raise ModelError(
            f"the model has {size_bytes / 1e9:.1f} GB of weights; one graph file holds {LARGEST_BYTES / 1e9:.1f} GB"
        )
    ids = torch.randint(4, 1000, (2, 11))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0  # a ragged batch, or the tracer may drop the mask
    segments = torch.zeros_like(ids)
    segments[:, 5:] = 1
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module.eval(),
                (ids, mask, segments)[: len(inputs)],
                str(path),
                input_names=inputs,
                output_names=list(outputs),
                dynamic_axes={**{name: {0: "texts", 1: "tokens"} for name in inputs}, **outputs},
                opset_version=OPSET,
                dynamo=False,  # the other exporter needs onnxscript, and its graph is no faster
            )
        except Exception as error:  # the tracer meets any model's code
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"the model cannot be expressed as an ONNX graph ({reason[:200]})") from error


def without_output(source: Path, name: str, target: Path) -> None:
    """Copy a graph without one of its outputs and without the nodes that only this output needed."""
    import onnx

    model = onnx.load(str(source))
    kept = [output for output in model.graph.output if output.name != name]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    needed = {output.name for output in kept}
    nodes = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    target.write_bytes(model.SerializeToString())
