"""Killed at any system call or at any time: what was acknowledged is there, nothing else is, and work goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.kill import kill_at_random_times, kill_everywhere, needs_strace

SEED = 20261121


@pytest.mark.timeout(600)
def test_a_kill_at_any_system_call_costs_nothing_acknowledged(place: Path) -> None:
    needs_strace()
    tally = kill_everywhere(place, SEED, 200)
    assert not tally.failures, f"{tally}"
    assert tally.killed == tally.points == 200


def test_a_kill_at_any_time_costs_nothing_acknowledged(place: Path) -> None:
    needs_strace()
    tally = kill_at_random_times(place, SEED, 16)
    assert not tally.failures, f"{tally}"
    assert tally.killed > 0
