"""Where the real data is, the real default encoder, and the installed command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import searchengine
from searchengine import Searcher
from tests.endpoint import Stub, serving

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "examples" / "library"

# a busy machine is no defect: an example may take as long as it takes, the test's own timeout stands
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test collections."""
    for place in (os.environ.get("SEARCHENGINE_DATA"), str(ROOT.parent / "shared" / "data")):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("no test collections: set SEARCHENGINE_DATA to a folder of BEIR sets")


@pytest.fixture(scope="session")
def library_index(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """The sample folder, indexed once by the real default encoder. Tests must not change it."""
    folder = tmp_path_factory.mktemp("library") / "library"
    shutil.copytree(LIBRARY, folder)
    return searchengine.index(folder)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of the sample folder that a test may change."""
    shutil.copytree(LIBRARY, tmp_path / "library")
    return tmp_path / "library"


@pytest.fixture(scope="session")
def command() -> Command:
    """Run the installed ``searchengine`` as a person would; the result has stdout, stderr and returncode."""
    program = Path(sys.executable).with_name("searchengine")
    if not program.exists():
        pytest.fail("the command is not installed: pip install -e .")

    def run(*words: str | Path, timeout_s: float = 120, **settings: object) -> subprocess.CompletedProcess[str]:
        options = {"capture_output": True, "text": True, "timeout": timeout_s, **settings}
        return subprocess.run([program, *map(str, words)], **options)  # type: ignore[call-overload, no-any-return]

    return run


@pytest.fixture(scope="session")
def small_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CrossEncoder of two of the default encoder's layers, with mean pooling and a scoring layer."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from indexer.encoders.pretrained import default_folder

    torch.manual_seed(0)
    transformer = Transformer(str(default_folder()))
    bert = transformer.auto_model
    bert.encoder.layer = bert.encoder.layer[:2]
    bert.config.num_hidden_layers = 2
    names = {"module_input_name": "sentence_embedding", "module_output_name": "scores"}
    scoring = Dense(384, 1, activation_function=torch.nn.Identity(), **names)
    place = tmp_path_factory.mktemp("cross") / "tiny"
    CrossEncoder(modules=[transformer, Pooling(384, "mean"), scoring], device="cpu").save_pretrained(str(place))
    return place


@pytest.fixture
def stub() -> Iterator[tuple[str, type[Stub]]]:
    """A language model's endpoint on this machine: its address, and the handler that keeps what it was asked."""
    with serving() as served:
        yield served
