"""Encoding in a thread: in order, while the caller goes on, and over soon after an interruption."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

from indexer.index import Splitting
from indexer.options import Options
from indexer.work import SLICES, LocalWork

SLICE = 64


class Gate:
    """An encoder whose rows are the texts' lengths, and which waits where it is told to."""

    dimension, backend, passages_at_once = 1, "gate", SLICES * SLICE

    def __init__(self) -> None:
        self.open, self.entered, self.texts = threading.Event(), threading.Event(), 0

    def encode_passages(self, texts: list[str]) -> np.ndarray:
        """Wait, then count."""
        self.entered.set()
        self.open.wait(10)
        self.texts += len(texts)
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    loaded = True

    def get(self) -> Gate:
        """Be one's own source."""
        return self


def work_of(encoder: Gate) -> LocalWork:
    return LocalWork(encoder, Splitting(), Options())  # type: ignore[arg-type]


def test_rows_come_in_the_order_of_the_texts_and_the_caller_goes_on_meanwhile() -> None:
    gate = Gate()
    texts = ["x" * (number * 7919 % 1000) for number in range(3 * SLICE + 5)]
    with work_of(gate) as work:
        first, second = work.encode(texts), work.encode(texts[:2])
        assert gate.texts == 0  # both have been begun, and nothing was waited for
        gate.open.set()
        assert first()[:, 0].tolist() == [len(text) for text in texts]
        assert second().shape == (2, 1)


def test_an_interruption_waits_for_one_slice_only() -> None:
    gate = Gate()
    with pytest.raises(KeyboardInterrupt), work_of(gate) as work:
        waits = work.encode(["text"] * (4 * SLICE))
        assert gate.entered.wait(10)
        gate.open.set()
        gate.open.clear()
        threading.Timer(0.2, gate.open.set).start()
        raise KeyboardInterrupt
    assert gate.texts <= 2 * SLICE
    with pytest.raises(CancelledError):
        waits()


def test_an_error_of_the_encoder_reaches_who_asks_for_the_vectors() -> None:
    class Broken(Gate):
        def encode_passages(self, texts: list[str]) -> np.ndarray:
            raise ZeroDivisionError

    with work_of(Broken()) as work:
        waits = work.encode(["text"])
        with pytest.raises(ZeroDivisionError):
            waits()
