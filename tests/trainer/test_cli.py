"""The installed commands: `mine` writes what `train` reads, mistakes are one line, several processes make one model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from trainer.sources import read_labels, read_texts

QUICK = [word for change in ("run.steps=2", "run.batch=8", "run.longest=48") for word in ("--set", change)]


@pytest.fixture(scope="module")
def mined(beir: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mined") / "negatives.jsonl"
    done = command("mine", beir, "--output", file, "-n", "3", "--range", "1", "20", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    lines = file.read_text().splitlines()
    assert report["queries"] == len(lines)
    assert report["negatives"] == sum(len(json.loads(line)["negatives"]) for line in lines)
    return file


def test_mined_negatives_are_no_answers_and_real_passages(beir, mined):
    texts = {f"{text.title} {text.body}".strip() for text in read_texts([beir])}
    judged = {label.text: set(label.grades) for label in read_labels([beir]).train}
    lines = [json.loads(line) for line in mined.read_text().splitlines()]
    assert {line["query"] for line in lines} == set(judged)
    for line in lines:
        assert 1 <= len(line["negatives"]) <= 3
        assert set(line["negatives"]) <= texts
        assert not set(line["negative_ids"]) & judged[line["query"]]
        assert line["positive_ids"] == list(judged[line["query"]])


def test_held_out_queries_are_never_mined_for(beir, mined):
    held = {label.text for label in read_labels([beir]).dev}
    assert held
    assert not held & {json.loads(line)["query"] for line in mined.read_text().splitlines()}


def test_train_reads_what_mine_wrote_and_helpers_change_nothing(mined, command, tmp_path):
    """Two workers make the batches, a second view stands beside the labels; the model is there in the end."""
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(
        '[view]\nkind = "labels"\n[auxiliary]\nkind = "span"\nshare = 0.5\nwindow = 48\n'
        '[negatives]\nkind = "hard"\n[objective]\nkind = "infonce"\n'
    )
    output = tmp_path / "model"
    words = ["train", recipe, "--data", mined, "--output", output, "--workers", "2", "--no-gate", "--json", *QUICK]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["steps"] == 2
    assert (output / "model.safetensors").is_file()
    assert f"searchengine index PATH --model {output}" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "contriver", "--data", "."], 2, "did you mean contriever"),
        (["train", "supervised", "--data", "."], 2, "no labelled query"),
        (["train", "span", "--data", "nowhere"], 1, "no such file or folder"),
        (["train", "span", "--data", ".", "--set", "run.batch=no"], 2, "a whole number"),
        (["train", "span", "--data", ".", "--set", "view.widow=3"], 2, "did you mean window"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, code, said, command, tmp_path):
    (tmp_path / "a.txt").write_text("some words to read " * 20)
    done = command(*words, "--output", tmp_path / "model", cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_two_processes_make_one_model(beir, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["-m", "searchengine.cli", "train", "contriever-inbatch", "--data", beir, "--output", tmp_path / "model"]
    settings = ["--set", "run.steps=2", "--set", "run.batch=6", "--set", "view.window=48", "--no-gate", "--json"]
    done = subprocess.run([*launcher, *words, *settings], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["steps"] == 2  # one report, not two
    assert (tmp_path / "model" / "model.safetensors").is_file()
