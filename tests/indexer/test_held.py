"""A small index's segments held as one give what they give one by one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.held import HELD_ROWS, HeldSegment, hold
from indexer.vectors import Segment, nearest, open_segment, write_segment

WIDTH = 16


@st.composite
def indexes(draw: st.DrawFn) -> tuple[list[tuple[np.ndarray, list[int]]], int]:
    """Segments as (ascending passage ids, dead rows), and a seed for their vectors; ids interleave between segments."""
    count = draw(st.integers(1, 40))
    homes = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    dead = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    segments = []
    for home in range(4):
        passages = np.flatnonzero(np.array(homes) == home).astype(np.int64)
        if len(passages):
            segments.append((passages, [row for row, passage in enumerate(passages) if dead[passage]]))
    return segments, draw(st.integers(0, 1000))


def opened(folder: Path, made: list[tuple[np.ndarray, list[int]]], seed: int) -> list[Segment]:
    vectors = np.random.default_rng(seed).standard_normal((sum(len(passages) for passages, _ in made), WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    segments = []
    for number, (passages, dead) in enumerate(made):
        write_segment(folder / f"{number}", vectors[passages].astype(np.float16), passages, passages // 2)
        segments.append(open_segment(folder / f"{number}", len(passages), WIDTH, dead))
    return segments


@settings(max_examples=30, deadline=None)
@given(index=indexes(), count=st.integers(1, 50), every=st.integers(1, 3))
def test_held_segments_answer_as_those_on_disk(
    index: tuple[list[tuple[np.ndarray, list[int]]], int], count: int, every: int
) -> None:
    made, seed = index
    query = np.random.default_rng(seed + 1).standard_normal(WIDTH).astype(np.float32)
    query /= np.linalg.norm(query)
    with tempfile.TemporaryDirectory() as folder:
        segments = opened(Path(folder), made, seed)
        (held,) = hold(segments)
        live = np.concatenate([segment.passages[segment.alive()] for segment in segments])
        assert held.passages.tolist() == sorted(live.tolist())
        assert held.documents.tolist() == [passage // 2 for passage in held.passages.tolist()]
        known = {
            int(p): v for s in segments for p, v in zip(s.passages, s.vectors(np.arange(len(s.passages))), strict=True)
        }
        assert all((held.vectors(np.array([row]))[0] == known[p]).all() for row, p in enumerate(held.passages.tolist()))
        for filtered in (False, True):
            masks = [segment.passages % every == 0 for segment in segments] if filtered else None
            passages, scores = nearest(segments, query, count, masks)
            found = nearest([held], query, count, [held.passages % every == 0] if filtered else None)
            expected = {int(p): float(known[int(p)].astype(np.float64) @ query) for p in found[0]}
            assert len(found[0]) == len(passages)
            assert found[1] == pytest.approx(list(expected.values()), abs=1e-6)
            assert found[1] == pytest.approx(scores.tolist(), abs=2e-6)


def test_a_large_index_stays_where_it_is(tmp_path: Path) -> None:
    vectors = np.ones((HELD_ROWS + 1, 1), np.float16)
    write_segment(tmp_path / "large", vectors, np.arange(len(vectors)), np.arange(len(vectors)))
    segment = open_segment(tmp_path / "large", len(vectors), 1)
    assert hold([segment]) == (segment,)
    assert hold([]) == ()
    assert isinstance(hold([Segment(tmp_path, vectors[:2], np.arange(2), np.arange(2), np.array([0]))])[0], HeldSegment)


def test_a_query_of_another_width_is_refused(tmp_path: Path) -> None:
    (held,) = hold([Segment(tmp_path, np.eye(2, dtype=np.float16), np.arange(2), np.arange(2), np.empty(0, np.int64))])
    with pytest.raises(ValueError, match="width 2"):
        held.scan(np.ones(3, np.float32), 1, None)
