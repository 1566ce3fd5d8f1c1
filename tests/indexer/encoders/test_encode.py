"""What every encoder promises, kept by each backend with the real default model."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.encoders import Encoder, cache, choose, load_encoder
from indexer.encoders.batching import BatchedEncoder
from indexer.encoders.cache import cache_root
from indexer.encoders.export import SAMPLES, load_modules
from indexer.encoders.model_folder import find
from indexer.encoders.spec import Spec
from indexer.errors import ModelError, UsageError

TEXTS = [*SAMPLES, "", " ", "\0", "\udc80 half a character", "a" * 5000, "war and peace " * 400]


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, task: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int = 1, detail: str = "") -> None: ...

    def finish(self) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)


class StubRunner:
    """Gives rows made from the number of tokens, or what it is told to."""

    backend = "stub"
    token_budget = 64
    multiple = 8
    in_flight = 1

    def __init__(self, rows: object = None) -> None:
        self.rows = rows
        self.shapes: list[tuple[int, ...]] = []

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        self.shapes.append(ids.shape)
        if self.rows is not None:
            return np.asarray(self.rows, dtype=np.float32)[: len(ids)]
        return np.stack([np.cos(mask.sum(axis=1)), np.sin(mask.sum(axis=1))], axis=1).astype(np.float32)


@pytest.fixture(scope="session")
def exact() -> Encoder:
    return load_encoder(backend="onnx", device="cpu")


@pytest.fixture(scope="session", params=choose.BACKENDS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param.startswith("openvino") and find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    return load_encoder(backend=request.param, device="cpu")


@pytest.fixture(scope="session")
def reference() -> np.ndarray:
    """The samples' vectors by sentence-transformers itself."""
    vectors: np.ndarray = load_modules(find(None, cache_root())).encode(list(SAMPLES), normalize_embeddings=True)
    return vectors


def stub(exact: Encoder, rows: object = None, **changes: object) -> tuple[BatchedEncoder, StubRunner]:
    plain = Spec("stub", "f", 2, 256, pad_id=0, pooling="mean", normalised=True, query_prompt="", passage_prompt="")
    spec = replace(plain, **changes)  # type: ignore[arg-type]
    runner = StubRunner(rows)
    return BatchedEncoder(spec, exact.tokenizer.to_str(), runner, Path()), runner


def test_rows_are_float32_of_unit_length_in_the_order_of_the_texts(encoder: Encoder, exact: Encoder) -> None:
    vectors = encoder.encode_passages(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert vectors.shape == (len(TEXTS), encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    # each text's nearest neighbour, by the exact model, is itself; blank texts are alike
    nearest = (vectors @ exact.encode_passages(TEXTS).T).argmax(axis=1)
    assert nearest[: len(SAMPLES)].tolist() == list(range(len(SAMPLES)))


def test_every_backend_gives_the_vectors_of_sentence_transformers(
    encoder: Encoder, exact: Encoder, reference: np.ndarray
) -> None:
    cosine = (encoder.encode_passages(SAMPLES) * reference).sum(axis=1)
    assert cosine.mean() > 0.999
    assert encoder.fingerprint == exact.fingerprint


def test_a_text_alone_is_encoded_as_within_a_batch(encoder: Encoder) -> None:
    together = encoder.encode_passages(TEXTS)
    alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
    # 8-bit activations are rounded by row, bfloat16 by layer: neither is exact, both are harmless
    assert (together * alone).sum(axis=1).min() > 0.999


def test_the_exact_backend_does_not_depend_on_the_batch(exact: Encoder) -> None:
    together = exact.encode_passages(TEXTS)
    alone = np.concatenate([exact.encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_text_is_cut_at_max_length(exact: Encoder) -> None:
    words = ["apple"] * (exact.max_length - 2)  # two special tokens
    assert exact.count_tokens([" ".join(words)]) == [exact.max_length - 2]
    whole, longer, shorter = exact.encode_passages(
        [" ".join(words), " ".join(words) + " war" * 50, " ".join(words[:-50] + ["war"] * 50)]
    )
    assert whole @ longer > 0.9999
    assert whole @ shorter < 0.99


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode_passages([]).shape == (0, encoder.dimension)
    assert encoder.encode_queries([]).shape == (0, encoder.dimension)
    assert encoder.count_tokens([]) == []


def test_one_string_is_not_a_list_of_texts(exact: Encoder) -> None:
    with pytest.raises(TypeError, match="not one string"):
        exact.encode_queries("abc")


def test_tokens_are_counted_without_special_ones_and_untruncated(exact: Encoder) -> None:
    assert exact.count_tokens(["", "apple", "apple pie", "apple " * 1000]) == [0, 1, 2, 1000]
    assert exact.tokenizer.truncation is None
    assert exact.tokenizer.padding is None


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(), max_size=60), max_size=12), repeated=st.integers(0, 3))
def test_any_texts_give_unit_rows_and_equal_texts_equal_rows(exact: Encoder, texts: list[str], repeated: int) -> None:
    texts = texts + texts[:repeated]
    vectors = exact.encode_passages(texts)
    assert vectors.shape == (len(texts), exact.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    first = {text: number for number, text in reversed(list(enumerate(texts)))}
    assert all((vectors[number] == vectors[first[text]]).all() for number, text in enumerate(texts))


def test_prompts_are_put_before_the_texts(exact: Encoder) -> None:
    encoder, _ = stub(exact, query_prompt="search query: ", passage_prompt="search document text: ")
    bare, _ = stub(exact)
    assert (encoder.encode_queries(["x"]) == bare.encode_queries(["search query: x"])).all()
    assert (encoder.encode_passages(["x"]) == bare.encode_passages(["search document text: x"])).all()


def test_batches_keep_to_the_budget_and_equal_texts_are_encoded_once(exact: Encoder) -> None:
    encoder, runner = stub(exact)
    texts = [f"{'word ' * (number % 37)}" for number in range(3000)]
    vectors = encoder.encode_passages(texts)
    assert sum(rows for rows, _ in runner.shapes) == 37
    assert all(rows * width <= 64 and width % 8 == 0 for rows, width in runner.shapes)
    expected = np.array([2 + number % 37 for number in range(3000)])
    np.testing.assert_allclose(vectors[:, 0], np.cos(expected), atol=1e-6)


def test_more_texts_than_one_block_keep_their_order(exact: Encoder) -> None:
    encoder, _ = stub(exact)
    texts = [f"{'word ' * (number % 50)}{number}" for number in range(2500)]
    expected = np.array(exact.count_tokens(texts)) + 2
    np.testing.assert_allclose(encoder.encode_passages(texts)[:, 0], np.cos(expected), atol=1e-6)


@pytest.mark.parametrize("bad", [[np.nan, 1], [np.inf, 1], [0, 0]])
def test_a_row_without_direction_is_refused_and_its_text_named(exact: Encoder, bad: list[float]) -> None:
    encoder, _ = stub(exact, rows=[bad])
    with pytest.raises(ModelError, match=r"text 0 of 1 \('apple'\)"):
        encoder.encode_passages(["apple"])


def test_the_named_text_is_the_callers_not_the_batchs(exact: Encoder) -> None:
    encoder, _ = stub(exact, rows=[[1, 0], [np.nan, 0]])  # the longest text comes first in a batch
    with pytest.raises(ModelError, match="text 2 of 4"):
        encoder.encode_passages(["two long words", "two long words", "apple", "apple"])


def test_a_row_of_another_width_is_refused(exact: Encoder) -> None:
    encoder, _ = stub(exact, rows=[[1, 0, 0]])
    with pytest.raises(ModelError, match="shape"):
        encoder.encode_passages(["apple"])


def test_threads_may_encode_at_once(encoder: Encoder) -> None:
    expected = encoder.encode_queries(SAMPLES)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(encoder.encode_queries(SAMPLES))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all((result * expected).sum(axis=1).min() > 0.9999 for result in results)


def test_auto_takes_a_backend_and_remembers_it() -> None:
    first, second = load_encoder(device="cpu"), load_encoder(device="cpu")
    assert first.backend in choose.BACKENDS
    assert second.backend == first.backend


def test_without_openvino_another_backend_is_taken_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    monkeypatch.setattr(choose, "has_bfloat16", lambda: False)
    progress = Notes()
    assert load_encoder(device="cpu", progress=progress).backend in ("onnx", "onnx-int8")
    assert [note for note in progress.notes if "openvino" in note] == [progress.notes[0]]


def test_an_unknown_backend_or_device_is_a_usage_error_with_the_valid_names() -> None:
    with pytest.raises(UsageError, match="choose auto, openvino, openvino-int8, onnx, onnx-int8, torch"):
        load_encoder(backend="tensorflow")
    with pytest.raises(UsageError, match="choose auto, cpu, cuda"):
        load_encoder(device="tpu")
    with pytest.raises(UsageError, match="CPU only"):
        load_encoder(backend="onnx", device="cuda")


def test_a_backend_that_disagrees_is_refused(exact: Encoder, tmp_path: Path) -> None:
    wrong, _ = stub(exact, rows=np.eye(2, 384).repeat(10, axis=0), dimension=384, name="wrong")
    with pytest.raises(ModelError, match="cosine"):
        choose._check(wrong, lambda name: exact, tmp_path, "here")  # type: ignore[arg-type, return-value]


def test_an_unwritable_cache_becomes_a_temporary_one_and_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_temporary", None)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    progress = Notes()
    assert cache_root(progress) == cache_root(progress)
    assert len(progress.notes) == 1
    assert "XDG_CACHE_HOME" in progress.notes[0]


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    first = cache.sha256_of(file, tmp_path)
    assert json.loads(next((tmp_path / "hashes").glob("*.json")).read_text()) == {"sha256": first}
    file.write_text("two")
    assert cache.sha256_of(file, tmp_path) == cache.sha256_of(file) != first


def test_a_folder_half_made_is_not_there(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.create_folder(tmp_path / "made", fill)
    assert list(tmp_path.iterdir()) == []
