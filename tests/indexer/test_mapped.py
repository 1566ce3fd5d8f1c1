"""FAISS files are opened by every FAISS that the extras name; one that a writer removed is no error."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from indexer.mapped import open_mapped
from indexer.vectors import VECTORS, nearest, open_segment, write_segment
from tests.indexer.test_vectors import unit_rows

ROWS = 300


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    write_segment(tmp_path / "segment", unit_rows(ROWS, 24, 1), np.arange(ROWS), np.arange(ROWS))
    return tmp_path / "segment"


@pytest.mark.parametrize("read_only", [False, True])
def test_an_older_faiss_has_no_limit_to_lift(segment: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool) -> None:
    """The builds for GPUs, as seen on one: FAISS 1.14 has no set_deserialization_vector_byte_limit."""
    query = unit_rows(1, 24, 2)[0]
    rows, _ = nearest((open_segment(segment, ROWS, 24),), query, 10)
    monkeypatch.delattr(faiss, "set_deserialization_vector_byte_limit", raising=False)
    _, found = open_mapped(segment / VECTORS, read_only=read_only).search(query[None, :], 10)
    assert sorted(found[0]) == sorted(rows)


def test_a_file_that_a_writer_removed_is_none(tmp_path: Path) -> None:
    assert open_mapped(tmp_path / "gone.faiss") is None


def test_what_is_no_index_is_faiss_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "wrong.faiss").write_bytes(b"not an index of vectors" * 10)
    with pytest.raises(RuntimeError):
        open_mapped(tmp_path / "wrong.faiss")
