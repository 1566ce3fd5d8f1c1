"""One writer at a time; the second learns who the first is; a dead one is no obstacle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexer.errors import IndexBusy
from indexer.lock import WriterLock

HOLD = """
import sys, time
from pathlib import Path
from indexer.lock import WriterLock
with WriterLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that holds the lock."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "write.lock")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_the_second_writer_is_told_who_the_first_is(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    started = time.monotonic()
    with pytest.raises(IndexBusy, match=f"pid {holder.pid} on .* since .*--wait"), WriterLock(tmp_path / "write.lock"):
        pass
    assert time.monotonic() - started < 2


def test_a_stopped_holder_still_holds(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(IndexBusy), WriterLock(tmp_path / "write.lock", wait_s=0.2):
        pass


def test_a_killed_holder_is_no_obstacle(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    with WriterLock(tmp_path / "write.lock", wait_s=5):
        pass


def test_waiting_ends_when_the_holder_is_done(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGTERM)
    with WriterLock(tmp_path / "write.lock", wait_s=10):
        assert str(os.getpid()) in (tmp_path / "write.lock").read_text()


def test_a_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        with WriterLock(tmp_path / "write.lock"):
            pass
