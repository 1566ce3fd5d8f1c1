"""Power lost at any moment: what was acknowledged is there, whatever part of the unflushed rest survived."""

from __future__ import annotations

from pathlib import Path

from tests.crash.kill import needs_strace
from tests.crash.replay import lose_power, missing_flushes

SEED = 20261121
# Nobody would miss it: a rollback journal serves the catalog's first
# transaction, before the catalog has its name.
SPARE = {"catalog.sqlite-journal"}


def test_lost_power_costs_nothing_acknowledged(place: Path) -> None:
    needs_strace()
    tally = lose_power(place, SEED, 100)
    assert not tally.failures, f"{tally}"
    assert tally.points == 100


def test_each_flush_that_is_left_out_is_found_missing(place: Path) -> None:
    needs_strace()
    caught = missing_flushes(place, SEED)
    assert {kind for kind, state in caught.items() if state is None} == SPARE
