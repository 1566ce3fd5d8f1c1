"""A float32 ONNX graph with its weights in 8 bits: a quarter of the size for queries, a faster one for passages.

Linear layers become MatMulNBits (blocks of 32 weights share a scale; ONNX Runtime quantises activations in the same
blocks), embedding tables one scale a row. Against float32: cosine .9996 on the default model, where quantising each
activation tensor as a whole (`quantize_dynamic`) gives .994, which would make it another encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

BLOCK = 32
SMALLEST_TABLE = 1000  # rows; position and type tables are a few hundred, not worth their nodes
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level; level 0 takes 22 ms a query for 2 ms, and gives .9999 for .9996

# a node, its weight's name and values [width, outputs], the tensors to add → nodes in its place, or None to leave it
Rewrite = Callable[[onnx.NodeProto, str, np.ndarray, dict[str, onnx.TensorProto]], "list[onnx.NodeProto] | None"]


def quantise(source: Path, target: Path) -> None:
    """Write ``source``'s graph to ``target`` with 8-bit weights throughout, for ONNX Runtime on the CPU.

    What the runtime would simplify at every start it does once here: a cold query then opens the graph in half the time
    and gets the very same vectors.
    """
    _rewrite(source, target, _linear)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(target.read_bytes(), options, providers=["CPUExecutionProvider"])


def quantise_feed_forward(source: Path, target: Path) -> None:
    """Write ``source``'s graph with 8-bit weights in its feed-forward layers alone, for OpenVINO.

    Those are two thirds of the work. Left exact, the attention's projections keep the cosine at .9994; with them in 8
    bits too (activations in groups of 128) it is .9988, another encoder.
    """
    _rewrite(source, target, _feed_forward)


def _rewrite(source: Path, target: Path, linear: Rewrite) -> None:
    model = onnx.load(str(source))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    added: dict[str, onnx.TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        name = node.input[1] if node.op_type == "MatMul" else node.input[0] if node.op_type == "Gather" else ""
        replacement = None
        if name in weights and len(weights[name].dims) == 2:
            values = numpy_helper.to_array(weights[name])
            if node.op_type == "MatMul":
                replacement = linear(node, name, values, added)
            elif len(values) >= SMALLEST_TABLE and not any(attribute.i for attribute in node.attribute):
                replacement = _embedding(node, name, values, added)
        nodes.extend(replacement or [node])
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *added.values()])
    if linear is _linear and not any(opset.domain == "com.microsoft" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    target.write_bytes(model.SerializeToString())


def _feed_forward(
    node: onnx.NodeProto, name: str, values: np.ndarray, added: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto] | None:
    width, outputs = values.shape
    if width == outputs:  # the attention's projections keep the width
        return None
    scales = _scales(values.T)
    added[f"{name}_codes"] = numpy_helper.from_array(np.rint(values / scales.T).astype(np.int8), f"{name}_codes")
    added[f"{name}_scales"] = numpy_helper.from_array(scales[:, 0], f"{name}_scales")
    added[f"{name}_zero"] = numpy_helper.from_array(np.zeros(outputs, dtype=np.int8), f"{name}_zero")
    exact = f"{node.output[0]}_weight"
    return [
        helper.make_node("DequantizeLinear", [f"{name}_codes", f"{name}_scales", f"{name}_zero"], [exact], axis=1),
        helper.make_node("MatMul", [node.input[0], exact], list(node.output)),
    ]


def _linear(
    node: onnx.NodeProto, name: str, values: np.ndarray, added: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto] | None:
    width, outputs = values.shape
    if width % BLOCK:
        return None
    blocks = values.T.reshape(outputs, width // BLOCK, BLOCK)
    scales = _scales(blocks)
    codes = (np.rint(blocks / scales) + 128).astype(np.uint8)  # 128 is MatMulNBits' zero point unless given
    added[f"{name}_codes"] = numpy_helper.from_array(codes, f"{name}_codes")
    added[f"{name}_scales"] = numpy_helper.from_array(scales.reshape(-1), f"{name}_scales")
    return [
        helper.make_node(
            "MatMulNBits",
            [node.input[0], f"{name}_codes", f"{name}_scales"],
            list(node.output),
            domain="com.microsoft",
            K=width,
            N=outputs,
            bits=8,
            block_size=BLOCK,
            accuracy_level=INT8_ACTIVATIONS,
        )
    ]


def _embedding(
    node: onnx.NodeProto, name: str, values: np.ndarray, added: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    scales = _scales(values)
    added[f"{name}_codes"] = numpy_helper.from_array(np.rint(values / scales).astype(np.int8), f"{name}_codes")
    added[f"{name}_scales"] = numpy_helper.from_array(scales, f"{name}_scales")
    output = node.output[0]
    return [
        helper.make_node("Gather", [f"{name}_codes", node.input[1]], [f"{output}_codes"], axis=0),
        helper.make_node("Gather", [f"{name}_scales", node.input[1]], [f"{output}_scales"], axis=0),
        helper.make_node("Cast", [f"{output}_codes"], [f"{output}_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}_float", f"{output}_scales"], [output]),
    ]


def _scales(values: np.ndarray) -> np.ndarray:
    scales = np.abs(values).max(axis=-1, keepdims=True) / 127
    return np.where(scales == 0, 1, scales).astype(np.float32)
