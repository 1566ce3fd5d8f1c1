"""Readers are never in a writer's way, nor it in theirs, and no answer mixes two generations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexer.catalog import Catalog
from indexer.merge import optimize
from indexer.snapshot import Snapshot
from indexer.vectors import nearest
from indexer.writer import Writer
from tests.crash.kill import ENVIRONMENT, PROGRAM
from tests.crash.oracle import live
from tests.crash.readers import query_under_writes
from tests.crash.workload import COMMON, run, script, vector

SEED = 20261121


def test_an_open_generation_answers_after_its_files_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalog, "checkpoint", lambda _: False)  # spares its 5 s of waiting for the reader below
    index = tmp_path / "index"
    plan = script(SEED)
    run(index, plan, 0, 4, lambda *_: None)
    snapshot = Snapshot(index)
    with snapshot.reading() as generation:
        before = [nearest(generation.segments, vector(COMMON), 5)]
        optimize(index)
        with Writer(index):
            pass  # lets go of the generation before
        before += [nearest(generation.segments, vector(COMMON), 5) for _ in range(2)]  # FAISS opens a file late
        assert generation.postings is not None
        assert len(generation.postings.search(generation.postings.terms(COMMON), 100)[0]) == sum(
            map(len, plan.states[4].values())
        )
        assert live(snapshot) == plan.states[4]
    snapshot.close()
    assert [passages.tolist() for passages, _ in before] == [before[0][0].tolist()] * 3


def test_a_reader_sees_every_commit_however_long_it_stays(tmp_path: Path) -> None:
    index = tmp_path / "index"
    plan = script(SEED)
    writer = [sys.executable, str(PROGRAM), str(index), str(SEED)]
    subprocess.run([*writer, "0", "2", "1"], check=True, env=ENVIRONMENT)
    snapshot = Snapshot(index)
    for at in range(2, len(plan.steps)):
        with snapshot.reading():
            assert live(snapshot) == plan.states[at]
        subprocess.run([*writer, str(at), str(at + 1), "1"], check=True, env=ENVIRONMENT)  # a process that ends
    snapshot.close()


def test_every_answer_under_writes_is_one_generation_s(tmp_path: Path) -> None:
    reading = query_under_writes(tmp_path / "index", SEED, readers=4, seconds=8)
    assert not reading.errors, f"seed {SEED}: {len(reading.errors)} errors, the first: {reading.errors[:3]}"
    assert reading.queries >= 2000, f"only {reading.queries} queries in 8 s"
    assert reading.generations > 10
