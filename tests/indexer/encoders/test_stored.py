"""An encoder inside an index: agrees with the one that indexed, needs no torch, refuses what was altered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from indexer.encoders import Encoder, load_encoder, load_stored_encoder, store_encoder
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.export import SAMPLES
from indexer.encoders.onnx import OnnxRunner
from indexer.encoders.quantise import _linear, _rewrite, quantise
from indexer.errors import DamagedIndex, ModelError, SearchEngineError

FILES = ("encoder.json", "query.onnx", "tokenizer.json")


@pytest.fixture(scope="session")
def indexing() -> Encoder:
    return load_encoder(device="cpu")


@pytest.fixture
def stored(indexing: Encoder, tmp_path: Path) -> Path:
    store_encoder(indexing, tmp_path)
    return tmp_path


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # a hard link into the user's cache: writing through it would damage that
    path.write_bytes(content)


def test_the_stored_encoder_gives_the_vectors_of_the_one_that_indexed(indexing: Encoder, stored: Path) -> None:
    encoder = load_stored_encoder(stored)
    assert sorted(os.listdir(stored)) == sorted(FILES)
    for field in ("name", "fingerprint", "dimension", "max_length"):
        assert getattr(encoder, field) == getattr(indexing, field)
    cosine = (encoder.encode_queries(SAMPLES) * indexing.encode_queries(SAMPLES)).sum(axis=1)
    assert cosine.mean() > 0.999
    assert cosine.min() > 0.998  # two roundings: bfloat16 and 8-bit feed-forward there, 8-bit weights here


def test_a_stored_encoder_can_be_stored_again(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    store_encoder(load_stored_encoder(stored), other)
    for name in FILES:
        assert (other / name).read_bytes() == (stored / name).read_bytes()


def test_loading_a_stored_encoder_imports_no_heavy_library(stored: Path) -> None:
    program = (
        "import sys, pathlib; from indexer.encoders import load_stored_encoder;"
        "encoder = load_stored_encoder(pathlib.Path(sys.argv[1])); encoder.encode_queries(['apples']);"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'openvino', 'sqlalchemy', 'onnx'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(stored)], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(stored: Path, name: str) -> None:
    (stored / name).unlink()
    with pytest.raises((ModelError, DamagedIndex), match=name):
        load_stored_encoder(stored)


@pytest.mark.parametrize("name", ["query.onnx", "tokenizer.json"])
def test_an_altered_short_or_linked_file_is_refused_before_it_is_parsed(stored: Path, name: str) -> None:
    content = (stored / name).read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (bytes(flipped), content[:-1], b""):
        replace(stored / name, damaged)
        with pytest.raises(DamagedIndex, match=name):
            load_stored_encoder(stored)
    (stored / "elsewhere").write_bytes(content)
    (stored / name).unlink()
    (stored / name).symlink_to("elsewhere")
    with pytest.raises(DamagedIndex, match="a link"):
        load_stored_encoder(stored)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"dimension": "384"}, {"dimension": -1}, {"max_length": True}, {"max_length": 10**9},
        {"pad_id": None}, {"query_prompt": 3}, {"files": []}, {"files": {}}, {"files": {"query.onnx": 3}},
    ],
)  # fmt: skip
def test_a_malformed_description_is_refused(stored: Path, change: dict[str, object]) -> None:
    description = json.loads((stored / "encoder.json").read_text())
    replace(stored / "encoder.json", json.dumps({**description, **change}).encode())
    with pytest.raises(ModelError, match=r"encoder\.json"):
        load_stored_encoder(stored)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(stored: Path, content: bytes) -> None:
    replace(stored / "encoder.json", content)
    with pytest.raises(ModelError, match=r"encoder\.json"):
        load_stored_encoder(stored)


def test_a_graph_that_keeps_weights_elsewhere_is_refused() -> None:
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], np.ones(1, dtype=np.float32))
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [value], [tensor])
    with pytest.raises(ModelError, match="outside its file"):
        OnnxRunner(helper.make_model(graph).SerializeToString())


def test_a_graph_that_is_damaged_or_takes_other_inputs_is_refused() -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match="not input_ids"):
        OnnxRunner(model.SerializeToString())
    with pytest.raises(ModelError, match="damaged"):
        OnnxRunner(b"no graph")


def test_a_damaged_cache_is_not_stored(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    encoder = load_stored_encoder(stored)
    replace(stored / "query.onnx", b"damaged")
    with pytest.raises(ModelError, match="damaged; delete"):
        store_encoder(encoder, tmp_path_factory.mktemp("other"))


def test_an_encoder_of_another_make_cannot_be_stored(tmp_path: Path) -> None:
    class Other:
        name = "other"

    with pytest.raises(SearchEngineError, match="other"):
        store_encoder(Other(), tmp_path)  # type: ignore[arg-type]


def test_a_graph_simplified_beforehand_gives_the_very_same_vectors(indexing: BatchedEncoder, tmp_path: Path) -> None:
    plain, simplified = tmp_path / "plain.onnx", tmp_path / "simplified.onnx"
    _rewrite(indexing.folder / "passages.onnx", plain, _linear)
    quantise(indexing.folder / "passages.onnx", simplified)
    ids = np.random.default_rng(0).integers(1000, 20_000, (2, 19))
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    first, second = (OnnxRunner(path.read_bytes(), threads=1).run(ids, mask) for path in (plain, simplified))
    assert first.tolist() == second.tolist()
