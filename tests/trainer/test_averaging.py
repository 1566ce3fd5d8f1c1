"""The weights at the end of a run: a mean of the last ones, mixed with the first."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from trainer.averaging import Averaging
from trainer.recipe import load_recipe

WEIGHT = st.floats(-100, 100, width=32)


def layer(value: float) -> torch.nn.Linear:
    made = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(made.weight, value)
    return made


@given(st.lists(WEIGHT, min_size=1, max_size=30), WEIGHT, st.floats(0, 1), st.floats(0, 1))
def test_the_result_is_the_mean_of_the_last_part_mixed_with_the_start(
    steps: list[float], start: float, mean_share: float, start_share: float
) -> None:
    module = layer(start)
    averaging = Averaging(module, mean_share, start_share)
    for done, value in enumerate(steps, 1):
        torch.nn.init.constant_(module.weight, value)
        averaging.add(module, done / len(steps))
    averaging.apply(module)
    last = [value for done, value in enumerate(steps, 1) if mean_share and done / len(steps) >= 1 - mean_share]
    last = last or steps[-1:]
    wanted = (1 - start_share) * sum(last) / len(last) + start_share * start
    assert module.weight.item() == pytest.approx(wanted, abs=1e-3)


def test_the_best_weights_and_the_mean_of_the_last_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="one of the two"):
        load_recipe("adapt", ("run.evaluate_every=10",))
