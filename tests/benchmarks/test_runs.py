"""A run file gives back the run that was written, and takes other tools' files."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.runs import UNWRITABLE, Run, read_run, write_run
from indexer.errors import DataError, StorageError

IDS = st.text(min_size=1, max_size=12).filter(lambda text: not UNWRITABLE.search(text))
SCORES = st.floats(allow_nan=False, allow_infinity=False)
RANKINGS = st.lists(st.tuples(IDS, SCORES), min_size=1, max_size=20, unique_by=lambda pair: pair[0]).map(
    lambda pairs: sorted(pairs, key=lambda pair: -pair[1])
)


@given(name=IDS, rankings=st.dictionaries(IDS, RANKINGS, max_size=5))
def test_reading_gives_back_what_was_written(tmp_path_factory, name, rankings):
    path = tmp_path_factory.mktemp("runs") / "run.trec"
    write_run(Run(name, rankings), path)
    found = read_run(path)
    assert found.rankings == rankings
    assert list(found.rankings) == list(rankings)
    assert not rankings or found.name == name


def test_float32_scores_survive(tmp_path):
    scores = np.sort(np.random.default_rng(0).random(1000, dtype=np.float32))[::-1]
    run = Run("dense", {"q": [(f"d{rank}", score) for rank, score in enumerate(scores)]})
    write_run(run, tmp_path / "run.trec")
    read = [score for _, score in read_run(tmp_path / "run.trec").rankings["q"]]
    assert np.array(read, dtype=np.float32).tolist() == scores.tolist()


def test_lines_have_the_columns_of_trec(tmp_path):
    write_run(Run("bm25", {"q1": [("d2", 1.5), ("d1", 1.5)], "q2": [], "q3": [("d1", -2)]}), tmp_path / "run.trec")
    assert (tmp_path / "run.trec").read_bytes() == (b"q1 Q0 d2 1 1.5 bm25\nq1 Q0 d1 2 1.5 bm25\nq3 Q0 d1 1 -2.0 bm25\n")


@pytest.mark.parametrize("bad", ["a b", "", "a\tb", "a\n", "\ufeffa", "\ud800", "a\x00"])
def test_an_id_that_would_break_the_columns_is_refused(tmp_path, bad):
    path = tmp_path / "run.trec"
    for run in (Run("r", {bad: [("d", 1)]}), Run("r", {"q": [(bad, 1)]}), Run(bad, {"q": [("d", 1)]})):
        with pytest.raises(DataError, match="cannot stand in a TREC run file"):
            write_run(run, path)
    assert list(tmp_path.iterdir()) == []  # nothing half written stays


@pytest.mark.parametrize(
    ("ranking", "what"),
    [
        ([("d", 1), ("d", 0)], "twice"),
        ([("a", 1), ("b", 2)], "score 2.0 follows 1.0"),
        ([("a", float("nan"))], "score nan"),
        ([("a", float("inf"))], "score inf"),
    ],
)
def test_a_ranking_that_is_none_is_refused(tmp_path, ranking, what):
    with pytest.raises(DataError, match=what):
        write_run(Run("r", {"q": ranking}), tmp_path / "run.trec")


def test_a_failed_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "run.trec"
    write_run(Run("old", {"q": [("d", 1)]}), path)
    with pytest.raises(DataError):
        write_run(Run("new", {"q": [("d", 1), ("d", 0)]}), path)
    assert read_run(path).name == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_one_sentence(tmp_path):
    with pytest.raises(StorageError, match=r"run\.trec: cannot be written: No such file or directory"):
        write_run(Run("r", {"q": [("d", 1)]}), tmp_path / "nowhere" / "run.trec")


def test_another_tools_file_is_ranked_by_score_then_rank_then_id(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q Q0 low 9 0.5 x\nq 0 b 2 1e0 x\n  q\tQ0\ta  2 1 x\r\nq Q0 z 1 1.0 x\n\nq Q0 top 7 2 x\n")
    assert read_run(path).rankings == {"q": [("top", 2.0), ("z", 1.0), ("a", 1.0), ("b", 1.0), ("low", 0.5)]}


def test_a_gzipped_file_is_read(tmp_path):
    path = tmp_path / "run.trec.gz"
    path.write_bytes(gzip.compress(b"q Q0 d 1 0.5 name\n"))
    assert read_run(path) == Run("name", {"q": [("d", 0.5)]})


def test_an_empty_file_is_a_run_without_rankings(tmp_path):
    (tmp_path / "empty.trec").touch()
    assert read_run(tmp_path / "empty.trec") == Run("empty.trec", {})


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("q Q0 d 1 0.5", "5 columns"),
        ("q Q0 a d 1 0.5 tag", "7 columns"),
        ("q Q0 d first 0.5 tag", 'rank "first"'),
        ("q Q0 d 1 high tag", 'score "high"'),
        ("q Q0 d 1 nan tag", "not finite"),
        ("q Q0 d 1 -inf tag", "not finite"),
        ("q Q0 d0 2 0.1 tag", 'ranks "d0" twice'),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, what):
    path = tmp_path / "run.trec"
    path.write_text(f"q Q0 d0 1 1.0 tag\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert f"{path}:2: " in str(caught.value)
    assert what in str(caught.value)
