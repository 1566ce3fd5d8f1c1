"""What doctor says is what the system says, and what it lacks is named with what to do."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

import searchengine
from indexer import doctor, machine
from indexer.encoders import choose, load_encoder
from indexer.encoders.batching import BatchedEncoder
from indexer.progress import SILENT
from tests.conftest import Command


def test_the_command_prints_what_the_call_gives(command: Command) -> None:
    printed = json.loads(command("doctor", "--json").stdout)
    assert printed.keys() == searchengine.doctor().keys()
    assert printed["processor"]["cores"] == len(os.sched_getaffinity(0))
    assert printed["model"]["verified"] is True
    assert printed["libraries"]["numpy"] == machine.installed("numpy")
    for_people = command("doctor")
    assert for_people.returncode == 0
    assert printed["processor"]["name"] in for_people.stdout


def test_the_choice_is_the_one_that_was_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = load_encoder(device="cpu")
    monkeypatch.setattr(choose, "has_cuda", lambda: False)
    shown = doctor.examine()["encoder"]
    assert shown["backend"] == chosen.backend
    assert shown["backend"] == max(shown["passages_per_second"], key=shown["passages_per_second"].get)
    assert shown["backends"][chosen.backend]


def test_before_any_measurement_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(choose, "has_cuda", lambda: False)
    shown = doctor.examine()
    assert shown["encoder"]["backend"] is None
    assert shown["cache"]["folder"].startswith(str(tmp_path))


def test_what_is_missing_is_a_problem_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ["NVIDIA T4, 15360 MiB"])
    monkeypatch.setattr(choose, "has_cuda", lambda: False)
    known = machine.installed
    monkeypatch.setattr(machine, "installed", lambda name: None if name == "openvino" else known(name))
    problems = doctor.examine()["problems"]
    assert [word for word in ("torch", "faiss", "openvino") if not any(word in text for text in problems)] == []


def test_another_weight_file_than_the_published_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from indexer.encoders import pretrained

    monkeypatch.setitem(pretrained.SHA256, "tokenizer.json", "0" * 64)
    found = doctor.examine()
    assert found["model"]["verified"] is False
    assert any("not the published file" in problem for problem in found["problems"])


@pytest.mark.parametrize(("age_s", "steady", "again"), [(10, False, False), (100_000, False, True), (1e7, True, False)])
def test_an_unsteady_measurement_is_repeated_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, steady: bool, again: bool
) -> None:
    class Measured(Exception):
        """A measurement was begun."""

    def build(name: str) -> BatchedEncoder:
        raise Measured

    known = choose.Choice("onnx", {"onnx": 1.0}, steady, time.time() - age_s)
    monkeypatch.setattr(choose, "remembered", lambda *_: known)
    encoder = load_encoder(backend="onnx", device="cpu")
    assert isinstance(encoder, BatchedEncoder)
    if again:
        with pytest.raises(Measured):
            choose._fastest(encoder.spec, build, tmp_path, None, SILENT)
    else:
        assert choose._fastest(encoder.spec, build, tmp_path, None, SILENT) == "onnx"


class Slow:
    """An encoder that takes the seconds it is told to, turn by turn, and the last of them from then on."""

    def __init__(self, seconds: list[float], now: list[float]) -> None:
        self.seconds, self.now, self.turns = seconds, now, 0

    def encode_passages(self, texts: list[str]) -> None:
        """Let the clock go on."""
        self.now[0] += self.seconds[min(self.turns, len(self.seconds) - 1)]
        self.turns += 1


@pytest.mark.parametrize(
    ("other", "best", "turns", "steady"),
    [
        ([2.0], 2.0, choose.ROUNDS, True),
        ([9.0, 5.0, 2.0, 9.0, 2.1, 9.0], 2.0, 5, True),  # a neighbour's load passes
        ([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0], 2.0, choose.MOST_ROUNDS, False),
    ],
)
def test_the_race_goes_on_until_the_best_turns_agree(
    monkeypatch: pytest.MonkeyPatch, other: list[float], best: float, turns: int, steady: bool
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    runners = {"one": Slow([3.0], now), "other": Slow(other, now)}
    seconds, agreed = choose._race(runners)  # type: ignore[arg-type]
    assert seconds == pytest.approx({"one": 3.0, "other": best})
    assert (runners["other"].turns, agreed) == (turns, steady)
