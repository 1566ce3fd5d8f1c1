"""A disk that is full, refuses, fails to flush or is read-only: one line, the last commit intact, work goes on."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.errors import SearchEngineError, StorageError
from indexer.writer import Writer
from tests.conftest import Command
from tests.crash.kill import ENVIRONMENT, acknowledged, needs_strace, refuse_everywhere, workload
from tests.crash.oracle import check_open, check_sound, finish, leftovers
from tests.crash.workload import REFUSED, Step, create, run, script, stage

SEED = 20261121


def mount(*words: object) -> None:
    """Mount something, or skip where that is not permitted."""
    tried = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"nothing can be mounted here: {tried.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", place)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_refusing_disk_costs_nothing_committed_and_says_one_line(place: Path) -> None:
    needs_strace()
    tally = refuse_everywhere(place, SEED, 40)
    assert not tally.failures, f"{tally}"
    assert tally.refused > 30


def test_a_full_disk_keeps_the_last_commit(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    index = small_disk / "index"
    create(index)
    state: dict[str, tuple[str, ...]] = {}
    with pytest.raises(StorageError, match=r"space|full") as refused:
        for number in range(10_000):
            step = Step("commit", 0, {f"note{number}.txt": tuple(f"common w{number}x{at} " * 250 for at in range(5))})
            with Writer(index) as writer:
                stage(writer, step)
                writer.commit()
            state = step.after(state)
    assert "\n" not in str(refused.value)
    assert len(state) > 5
    allowed = [state, step.after(state)]
    check_open(index, allowed)
    ballast.unlink()
    with Writer(index) as writer:
        stage(writer, Step("commit", 0, {"after.txt": ("common w9999 there is space again",)}))
        writer.commit()
    check_open(index, [each | {"after.txt": ("common w9999 there is space again",)} for each in allowed])
    check_sound(index)
    assert leftovers(index) == []


def test_a_limit_on_file_sizes_is_a_full_disk_too(tmp_path: Path) -> None:
    plan = script(SEED)
    index = tmp_path / "index"
    done: list[int] = []
    run(index, plan, 0, 2, lambda at, *_: done.append(at))
    for limit in (1 << 10, 1 << 14, 1 << 16, 1 << 17):
        child = subprocess.run(
            workload(index, SEED, done[-1] + 1, len(plan.steps)),
            capture_output=True,
            env=ENVIRONMENT,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        said = child.stderr.decode()
        assert child.returncode in (0, REFUSED), said
        assert child.returncode == 0 or (said.startswith("StorageError: ") and said.count("\n") == 1), said
        done += acknowledged(child.stdout)
        allowed = [plan.states[done[-1] + 1], plan.states[min(done[-1] + 2, len(plan.steps))]]
        if check_open(index, allowed) == 1 and allowed[0] != allowed[1]:
            done.append(done[-1] + 1)
    finish(index, plan, done[-1] + 1)


def test_an_index_on_read_only_media_answers_and_refuses_writes_in_one_line(tmp_path: Path, command: Command) -> None:
    plan = script(SEED)
    index = tmp_path / "index"
    run(index, plan, 0, len(plan.steps), lambda *_: None)
    for leftover in index.glob("catalog.sqlite-*"):
        leftover.unlink()
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    mount("--bind", index, frozen)
    try:
        mount("-o", "remount,ro,bind", frozen)
        check_open(frozen, [plan.states[-1]])
        check_sound(frozen)
        with pytest.raises(SearchEngineError) as refused, Writer(frozen):
            pass
        assert "ead-only" in str(refused.value)
        assert "\n" not in str(refused.value)
        status = command("status", "--index", frozen)
        assert status.returncode == 0, status.stderr
        optimized = command("optimize", "--index", frozen)
        assert (optimized.returncode, optimized.stderr.count("\n")) == (1, 1), optimized.stderr
    finally:
        subprocess.run(["umount", "--lazy", os.fspath(frozen)], check=True)
