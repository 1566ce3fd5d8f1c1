"""Ctrl-C and SIGTERM end the installed command soon, at a commit, with one line and no process left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.conftest import Command

SEED = 20261121
FILES = 300
PATIENCE_S = 10  # two on a quiet machine (tests run beside this one)
WORDS = "river stone lamp orchard engine letter harbour winter copper song field mirror".split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files enough for some seconds of reading and encoding, no two alike."""
    place = tmp_path / "docs"
    place.mkdir()
    chance = random.Random(SEED)
    for number in range(FILES):
        (place / f"file{number}.txt").write_text(" ".join(chance.choices(WORDS, k=80)) + f" {number}\n")
    return place


def marked(mark: str) -> list[int]:
    """List the processes that carry a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                mark.encode() in (process / "environ").read_bytes()
                and "State:\tZ" not in (process / "status").read_text()
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def heed_interrupts() -> None:
    """Take SIGINT as a terminal's program does: a shell that runs pytest in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(words: list[str | Path], number: signal.Signals, *, group: bool, after_s: float) -> str | None:
    """Start a run, signal it (or its group, as a terminal does) and return what it said; None: it was done before."""
    mark = str(uuid.uuid4())
    child = subprocess.Popen(
        [Path(sys.executable).with_name("searchengine"), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SEARCHENGINE_TEST_MARK": mark},
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    time.sleep(after_s)
    if child.poll() is not None:
        child.communicate()
        return None
    sent = time.monotonic()
    os.killpg(child.pid, number) if group else child.send_signal(number)
    _, said = child.communicate(timeout=30)
    assert time.monotonic() - sent < PATIENCE_S
    assert marked(mark) == []
    if child.returncode == 0:  # the signal came when the work was over
        assert "ask it with" in said
        return None
    assert child.returncode == 128 + number, said
    return said


def test_a_signal_after_the_work_is_over_does_not_change_the_exit_code() -> None:
    code = (
        "import atexit, os, signal, sys; from searchengine import cli; sys.argv = ['searchengine', '--version']; "
        "atexit.register(lambda: [os.kill(os.getpid(), each) for each in (signal.SIGTERM, signal.SIGINT)]); cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("raised", "code"), [("KeyboardInterrupt", 130), ("cli.Terminated", 143)])
def test_a_signal_amid_a_library_s_start_ends_the_run_as_any_other(raised: str, code: int) -> None:
    program = (
        "import sys; from searchengine import cli\n"
        "def broken(**_):\n"
        "    try:\n"
        f"        raise {raised}\n"
        "    except KeyboardInterrupt as error:\n"
        "        raise ImportError('initialization failed') from error\n"
        "cli.commands.main = broken; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1


def test_a_signal_ends_a_run_at_a_commit_and_the_next_one_goes_on(
    tmp_path: Path, folder: Path, command: Command
) -> None:
    index = tmp_path / "index"
    words: list[str | Path] = ["index", folder, "--index", index, "--jobs", "2"]
    ended = 0
    for number, group, after_s in (
        (signal.SIGINT, True, 0.7),
        (signal.SIGTERM, False, 1.4),
        (signal.SIGINT, True, 2.2),
        (signal.SIGTERM, True, 3.0),
    ):
        said = interrupted(words, number, group=group, after_s=after_s)
        if said is None:
            continue
        ended += 1
        assert "kept" in said.splitlines()[-1]
        assert "Traceback" not in said
        if (index / "catalog.sqlite").exists():
            assert command("verify", "--index", index).returncode == 0
            assert command("query", "river", "--index", index).returncode == 0
    assert ended >= 2
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert f"{FILES} documents" in done.stdout
    assert command("verify", "--index", index).returncode == 0
