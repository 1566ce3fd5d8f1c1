"""Search on a GPU gives the processor's list; without one it says so once, and the processor answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest

import searchengine
from indexer.progress import SILENT
from indexer.snapshot import Generation
from indexer.vectors import nearest, open_segment, write_segment
from searchengine.gpu import GpuNearest
from tests.conftest import Command
from tests.indexer.test_vectors import unit_rows

ROWS = 700


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    folder = tmp_path_factory.mktemp("segments")
    segments = []
    for number in range(2):
        rows = unit_rows(ROWS, 24, number)
        rows[9::10] = rows[8::10]
        write_segment(folder / str(number), rows, np.arange(ROWS) + number * ROWS, np.arange(ROWS))
        segments.append(open_segment(folder / str(number), ROWS, 24, range(0, ROWS, 9)))
    return Generation(1, {}, tuple(segments), None)


class Notes(type(SILENT)):  # type: ignore[misc]
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def check_lists(search: Callable[..., tuple[np.ndarray, np.ndarray]], generation: Generation) -> None:
    """Compare lists with the processor's: sums in another order may swap what differs in the seventh digit alone."""
    mask = [np.arange(ROWS) % 5 == 0] * 2
    asked = [(query, count, None) for query in unit_rows(6, 24, 9) for count in (1, 10, 500)]
    asked += [(query, 20, mask) for query in unit_rows(2, 24, 10)]
    for query, count, masks in asked:
        ids, scores = search(generation, query, count, masks)
        expected, right = nearest(generation.segments, query, count, masks)
        assert np.allclose(scores, right, atol=2e-6)
        assert set(ids[scores > right[-1] + 2e-6]) <= set(expected)
        assert len(set(ids)) == count


def test_without_a_gpu_it_says_so_once_and_answers(generation: Generation) -> None:
    if faiss.get_num_gpus():
        pytest.skip("there is a GPU here")
    notes = Notes()
    searcher = GpuNearest(notes)
    check_lists(searcher.nearest, generation)
    assert len(notes.said) == 1
    assert "searching on the processor" in notes.said[0]


@pytest.mark.parametrize("full", [0, 1, 2])
def test_what_a_gpu_proposes_is_the_processors_list(
    generation: Generation, monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    """The processor stands in for a GPU that refuses ``full`` times for want of memory: replicated, then in parts."""
    asked: list[bool] = []

    def clone(index: Any, co: Any) -> Any:
        asked.append(co.shard)
        if len(asked) <= full:
            raise RuntimeError("Error in StandardGpuResources: cudaMalloc error out of memory")
        assert co.useFloat16
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", clone)
    notes = Notes()
    check_lists(GpuNearest(notes).nearest, generation)
    assert asked == {0: [False, False], 1: [False, True, False], 2: [False, True]}[full]
    assert len(notes.said) == (full == 2)


@pytest.mark.gpu
def test_a_gpu_gives_the_processors_list(generation: Generation) -> None:
    if not faiss.get_num_gpus():
        pytest.skip("no GPU, or a FAISS without GPUs")
    notes = Notes()
    check_lists(GpuNearest(notes).nearest, generation)
    assert notes.said == []


def test_the_command_falls_back_in_one_line(library_index: searchengine.Searcher, command: Command) -> None:
    if faiss.get_num_gpus():
        pytest.skip("there is a GPU here")
    here = command("query", "mould in the attic", "--index", library_index.folder, "--json")
    there = command("query", "mould in the attic", "--index", library_index.folder, "--json", "--device", "cuda")
    assert there.stdout == here.stdout
    assert there.stderr.count("searching on the processor") == 1
    assert "GPU" in there.stderr


def test_a_device_is_refused_by_name(library_index: searchengine.Searcher) -> None:
    with pytest.raises(searchengine.SearchEngineError, match="tpu"):
        searchengine.open(Path(library_index.folder), device="tpu")
