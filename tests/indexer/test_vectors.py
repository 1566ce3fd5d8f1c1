"""An exact scan is exact, whichever way it runs; what is no unit vector is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.errors import DamagedIndex, ModelError
from indexer.vectors import ROWS, VECTORS, best, nearest, open_segment, write_segment


def unit_rows(count: int, dimension: int, seed: int) -> np.ndarray:
    """Make random rows of unit length."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


STEP = 1e-6  # what scores are rounded to; float32 may put a score at a step's edge on its other side


def assert_best(found: np.ndarray, scores: np.ndarray, ids: np.ndarray, exact: np.ndarray, count: int) -> None:
    """Check a ranking against float64 scores ``exact`` [n] of all ``ids`` [n]: the best, in order, ties by id."""
    assert len(found) == min(count, len(ids))
    assert len(set(found.tolist())) == len(found)
    own = exact[np.searchsorted(ids, found)]
    np.testing.assert_allclose(scores, own, rtol=0, atol=STEP)
    np.testing.assert_allclose(own, np.sort(exact)[::-1][: len(found)], rtol=0, atol=2 * STEP)
    assert found.tolist() == found[np.lexsort((found, -scores))].tolist()


@settings(max_examples=25, deadline=None)
@example(counts=[7], seed=16189, k=2, buried=set(), allowed=None)  # two equal rows, at the edge of a step
@given(
    counts=st.lists(st.integers(1, 120), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
    k=st.integers(1, 150),
    buried=st.sets(st.integers(0, 119), max_size=40),
    allowed=st.none() | st.floats(0, 1),
)
def test_a_scan_finds_what_float64_finds(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[int],
    seed: int,
    k: int,
    buried: set[int],
    allowed: float | None,
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    generator = np.random.default_rng(seed)
    segments, live_vectors, live_ids, masks, first = [], [], [], [], 0
    for position, count in enumerate(counts):
        vectors = unit_rows(count, 24, seed + position)
        vectors[count // 2 :: 3] = vectors[0]  # ties
        ids = np.arange(first, first + count)
        write_segment(folder / str(position), vectors, ids, ids // 2)
        dead = sorted(row for row in buried if row < count)
        segments.append(open_segment(folder / str(position), count, 24, dead))
        mask = np.ones(count, bool) if allowed is None else generator.random(count) < allowed
        masks.append(mask)
        kept = np.setdiff1d(np.flatnonzero(mask), dead)
        live_vectors.append(vectors[kept])
        live_ids.append(ids[kept])
        first += count + 7
    query = unit_rows(1, 24, seed + 99)[0]
    stored = np.concatenate(live_vectors).astype(np.float16).astype(np.float64)
    for _ in range(2):  # the second scan of a segment is FAISS's
        found, scores = nearest(segments, query, k, None if allowed is None else masks)
        assert_best(found, scores, np.concatenate(live_ids), stored @ query.astype(np.float64), k)


@pytest.mark.parametrize("wrong", [0.0, 2.0, float("nan"), float("inf")])
def test_a_vector_that_is_not_of_unit_length_is_refused_and_named(tmp_path: Path, wrong: float) -> None:
    vectors = unit_rows(5, 8, 0)
    vectors[3] *= wrong
    with np.errstate(invalid="ignore"), pytest.raises(ModelError, match="passage 13"):
        write_segment(tmp_path / "s", vectors, np.arange(10, 15), np.zeros(5, np.int64))
    assert not (tmp_path / "s").exists()


def test_a_query_of_another_width_is_refused(tmp_path: Path) -> None:
    write_segment(tmp_path / "s", unit_rows(3, 8, 0), np.arange(3), np.arange(3))
    with pytest.raises(ValueError, match="width 8"):
        nearest([open_segment(tmp_path / "s", 3, 8)], np.zeros(4, np.float32), 1)


@pytest.mark.parametrize("name", [VECTORS, ROWS])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_a_file_of_another_size_is_not_mapped(tmp_path: Path, name: str, damage: str) -> None:
    write_segment(tmp_path / "s", unit_rows(300, 8, 0), np.arange(300), np.arange(300))
    path = tmp_path / "s" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -1])
        if damage == "short" and name == VECTORS:
            path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DamagedIndex):
        open_segment(tmp_path / "s", 300, 8)


@given(
    scored=st.dictionaries(st.integers(0, 1000), st.integers(0, 5), max_size=60),
    count=st.integers(1, 70),
)
def test_the_best_are_those_of_a_full_sort(scored: dict[int, int], count: int) -> None:
    ids = np.array(list(scored), dtype=np.int64)
    scores = np.array(list(scored.values()), dtype=np.float32)
    kept, values = best(ids, scores, count)
    expected = sorted(scored.items(), key=lambda item: (-item[1], item[0]))[:count]
    assert list(zip(kept.tolist(), values.tolist(), strict=True)) == expected
