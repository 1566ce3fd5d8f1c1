"""The code of several GPUs on two processes of this processor: same door, same vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from indexer.encoders import load_encoder
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.cache import cache_root
from indexer.encoders.export import SAMPLES
from indexer.encoders.model_folder import find
from indexer.encoders.torch import TorchProcesses
from indexer.errors import ModelError


@pytest.fixture(scope="module")
def processes() -> Iterator[TorchProcesses]:
    runner = TorchProcesses(find(None, cache_root()), ["cpu", "cpu"], bfloat16=False)
    yield runner
    runner.close()


def test_several_devices_give_each_text_its_own_vector(processes: TorchProcesses) -> None:
    exact = load_encoder(backend="onnx", device="cpu")
    assert isinstance(exact, BatchedEncoder)
    processes.token_budget = 512  # many batches, so that both devices get some
    several = BatchedEncoder(exact.spec, exact.tokenizer.to_str(), processes, exact.folder)
    texts = [f"{number} {sample}" for number in range(4) for sample in SAMPLES]
    cosine = (several.encode_passages(texts) * exact.encode_passages(texts)).sum(axis=1)
    assert cosine.min() > 0.9999


def test_what_torch_refuses_is_one_line_and_a_dead_process_another(processes: TorchProcesses) -> None:
    wrong = np.full((1, 8), 10**6, np.int64)  # no such token
    with pytest.raises(ModelError, match="cpu: "):
        processes.run(wrong, np.ones_like(wrong))
    ids = np.full((1, 8), 100, np.int64)
    assert processes.run(ids, np.ones_like(ids)).shape == (1, 384)  # it goes on
    for process in processes._processes:
        process._process.kill()
        process._process.wait()
    with pytest.raises(ModelError, match="the encoding process of cpu ended"):
        processes.run(ids, np.ones_like(ids))
