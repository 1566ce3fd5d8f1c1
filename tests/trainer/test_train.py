"""A whole run, by each recipe, on real text with the real default encoder; resumed, stopped, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from indexer.encoders import load_encoder
from indexer.errors import StorageError, UsageError
from tests.conftest import LIBRARY
from trainer import checkpoint
from trainer.gate import judge
from trainer.output import TrainingReport
from trainer.recipe import load_recipe, names
from trainer.train import train
from trainer.training import Training

SMALL = ("run.batch=8", "run.longest=48", "run.learning_rate=5e-5")
CHANGES = ("run.steps=6", "run.warmup=0.0", "run.dropout=0.0", "objective.temperature=0.3")
PSEUDO = ("view.longest=48", "view.queries=60", "view.opening=1.0", "view.fewest=1")
WINDOW = {
    "declutr": ("view.window=64", "view.length_min=8", "view.length_max=32"),
    "adapt": PSEUDO,
    "adapt-taught": PSEUDO,
}


def small(name: str, *changes: str):
    windows = () if load_recipe(name).labelled else WINDOW.get(name, ("view.window=64",))
    return load_recipe(name, (*SMALL, *windows, *changes))


def run(name: str, data: Path, output: Path, *changes: str, **options) -> TrainingReport:
    return train(small(name, *changes), [data], output, device="cpu", **options)


@pytest.mark.parametrize("name", names())
def test_every_recipe_lowers_its_loss_and_keeps_its_evaluation(name, beir, tmp_path, monkeypatch):
    """Six steps over one and the same batch: what cannot be learnt by heart is not learnt at all."""
    monkeypatch.setattr("trainer.data.Batches.numbers", first_numbers)
    monkeypatch.setattr("trainer.journal.EVERY", 1)
    queued = load_recipe(name).negatives.kind == "queue"
    report = run(name, beir, tmp_path / "model", *CHANGES, *(["negatives.size=8"] if queued else []), gate=False)
    log = [json.loads(line) for line in (tmp_path / "model/training/log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line]
    assert len(losses) == 6
    assert losses[-1] < losses[1 if queued else 0]  # the first step has no queue to tell apart
    assert report.after["nDCG@10"] > 0
    assert all(0 <= value <= 1 for value in report.after.values())


def first_numbers(batches, step):
    """Draw the same pairs at every step."""
    return 0, batches.order(0)[: batches.size]


def test_the_model_is_one_that_the_index_takes(beir, tmp_path):
    run("supervised", beir, tmp_path / "model", "run.steps=2")
    assert (tmp_path / "model" / "model.safetensors").is_file()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "nDCG@10" in card
    assert "seed 0" in card
    assert (tmp_path / "model/training/curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "model/training").iterdir() if path.is_dir()) in (
        [],
        ["tensorboard"],
    )
    encoder = load_encoder(tmp_path / "model", backend="torch")
    vectors = encoder.encode_passages(["apples are picked in autumn"])
    assert vectors.shape == (1, 384)
    assert encoder.fingerprint != load_encoder(None).fingerprint


@pytest.mark.parametrize("name", ["contriever", "supervised-hard"])
def test_a_resumed_run_ends_with_the_same_weights(name, beir, tmp_path, monkeypatch):
    changes = ("run.steps=6", "run.dropout=0.1", "run.save_every=3", "run.mean_share=0.8", "run.start_share=0.2")
    run(name, beir, tmp_path / "straight", *changes, gate=False)

    class Stop(Exception):
        pass

    genuine = Training.save

    def save_and_stop(self):
        genuine(self)
        raise Stop

    monkeypatch.setattr(Training, "save", save_and_stop)
    with pytest.raises(Stop):
        run(name, beir, tmp_path / "resumed", *changes, gate=False)
    monkeypatch.setattr(Training, "save", genuine)
    report = run(name, beir, tmp_path / "resumed", *changes, gate=False, resume=True)
    assert report.steps == 6
    straight, resumed = (load_file(tmp_path / which / "model.safetensors") for which in ("straight", "resumed"))
    assert straight.keys() == resumed.keys()
    for tensor in straight:
        assert torch.equal(straight[tensor], resumed[tensor]), tensor


def test_another_seed_ends_elsewhere(beir, tmp_path):
    for seed in (0, 1):
        run("supervised", beir, tmp_path / str(seed), "run.steps=2", f"run.seed={seed}", gate=False)
    one, other = (load_file(tmp_path / str(seed) / "model.safetensors") for seed in (0, 1))
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_of_another_run_is_refused(beir, tmp_path, monkeypatch):
    genuine = Training.finish
    monkeypatch.setattr(Training, "finish", lambda self, journal: (_ for _ in ()).throw(RuntimeError("power cut")))
    changes = ("run.steps=3", "run.save_every=3")
    with pytest.raises(RuntimeError):
        run("supervised", beir, tmp_path / "model", *changes)
    monkeypatch.setattr(Training, "finish", genuine)
    with pytest.raises(UsageError, match="not empty"):
        run("supervised", beir, tmp_path / "model", "run.steps=3")
    with pytest.raises(UsageError, match="another recipe, model or data"):
        run("supervised", beir, tmp_path / "model", "run.steps=4", resume=True)
    damaged = tmp_path / "model/training/latest/state.json"
    damaged.write_text("{")
    with pytest.raises(StorageError, match="damaged checkpoint"):
        run("supervised", beir, tmp_path / "model", *changes, resume=True)


def test_sigterm_saves_and_says_how_to_go_on(beir, tmp_path):
    program = Path(sys.executable).with_name("searchengine")
    words = ["train", "supervised", "--data", beir, "--output", tmp_path / "model", "--no-gate"]
    changes = [part for change in (*SMALL, "run.steps=400") for part in ("--set", change)]
    process = subprocess.Popen([program, *words, *changes], stderr=subprocess.PIPE, text=True, env=os.environ)
    log = tmp_path / "model/training/log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.is_file() and '"loss"' in log.read_text()):
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "--resume goes on from there" in errors
    state = checkpoint.load(tmp_path / "model/training", checkpoint.LATEST)
    assert state is not None
    assert 10 <= state["done"] < 400


def test_a_worse_model_is_refused(beir, tmp_path):
    """A learning rate that destroys the model: nothing but the log and the refused weights may be left."""
    report = run("supervised", beir, tmp_path / "model", "run.steps=6", "run.learning_rate=0.05")
    assert not report.kept
    assert "worse than the starting model" in report.reason
    assert not (tmp_path / "model" / "model.safetensors").exists()
    assert checkpoint.load(tmp_path / "model/training", "refused") is not None


@pytest.mark.parametrize(
    ("after", "kept"), [(0.5, True), (0.4951, True), (0.4949, False), (float("nan"), False), (0.9, True)]
)
def test_the_gate_lets_pass_what_is_no_worse(after, kept):
    assert judge({"nDCG@10": 0.5}, {"nDCG@10": after}).kept is kept


def test_a_folder_without_labels_is_judged_by_known_items(tmp_path):
    report = run("span", LIBRARY, tmp_path / "model", "run.steps=2", gate=False)
    assert report.evaluated == "known items"
    assert report.before["nDCG@10"] > 0


def test_evaluations_keep_the_best_and_stop_early(beir, tmp_path):
    """A destructive rate again: the best weights are those of the start, and patience ends the run."""
    report = run(
        "supervised", beir, tmp_path / "model", "run.steps=40", "run.evaluate_every=2", "run.patience=2",
        "run.learning_rate=0.05", gate=False,
    )  # fmt: skip
    assert report.steps < 40


def test_an_objective_without_its_teacher_is_refused(beir, tmp_path):
    with pytest.raises(UsageError, match="nothing has a teacher's score"):
        run("distill", beir, tmp_path / "model", "run.steps=2", "negatives.source=dense")


def test_negatives_are_mined_anew(beir, tmp_path, monkeypatch):
    calls = []
    genuine = Training.mine_again
    monkeypatch.setattr(Training, "mine_again", lambda self, *rows: calls.append(self.done) or genuine(self, *rows))
    run("supervised-hard", beir, tmp_path / "model", "run.epochs=3", "negatives.refresh=1", "run.batch=30", gate=False)
    assert calls == [0, 2, 4]  # before the first step, then after each epoch of two


def test_weights_averaged_whole_with_the_start_are_the_start(beir, tmp_path):
    report = run("supervised", beir, tmp_path / "model", "run.steps=2", "run.start_share=1.0")
    assert report.after == pytest.approx(report.before)


@pytest.mark.parametrize("value", [{"a": torch.arange(3)}, {1: {"b": [torch.ones(2), 3.5, None, "x"]}}, {}])
def test_a_checkpoint_gives_back_what_it_took(value, tmp_path):
    checkpoint.save(tmp_path, "one", value)
    checkpoint.save(tmp_path, "one", value)
    found = checkpoint.load(tmp_path, "one")
    assert str(found) == str(value)
    assert checkpoint.load(tmp_path, "other") is None
