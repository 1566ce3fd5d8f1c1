"""A real CrossEncoder, made of the default encoder's weights: exported, kept, and the same scores as its library's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.encoders import load_cross_encoder
from indexer.encoders.export import SAMPLES
from indexer.errors import ModelError
from indexer.progress import Silent


@pytest.fixture(scope="module")
def folder(small_cross_encoder: Path) -> Path:
    return small_cross_encoder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def test_scores_are_those_of_sentence_transformers(folder: Path) -> None:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    query = "why do retries back off?"
    expected = model.predict([(query, text) for text in SAMPLES], show_progress_bar=False)
    notes = Notes()
    encoder = load_cross_encoder(folder, progress=notes)
    np.testing.assert_allclose(encoder.scores(query, SAMPLES), expected, atol=0.1 * float(np.std(expected)))
    assert sum("preparing" in line for line in notes.said) == 1
    assert encoder.scores(query, []).shape == (0,)
    again = Notes()
    load_cross_encoder(folder, progress=again)
    assert again.said == []


def test_once_exported_no_torch_is_needed(folder: Path) -> None:
    load_cross_encoder(folder)
    program = (
        "import sys\nfrom indexer.encoders import load_cross_encoder\n"
        f"print(load_cross_encoder({str(folder)!r}).scores('a', ['b', '\\ud800']).shape)\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["(2,)", "[]"], done.stderr


def test_a_damaged_cache_is_made_anew(folder: Path, cache: Path) -> None:
    expected = load_cross_encoder(folder).scores("a", ["b"])
    (graph,) = cache.glob("searchengine/encoders/cross-*/pairs.onnx")
    graph.write_bytes(graph.read_bytes()[:-100])
    assert load_cross_encoder(folder).scores("a", ["b"]) == pytest.approx(expected)


def test_pickled_weights_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match="pickle") as caught:
        load_cross_encoder(tmp_path / "copy")
    assert "\n" not in str(caught.value)
