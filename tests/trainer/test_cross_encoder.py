"""The cross-encoder in training: pairs as the tokenizer joins them, gradients block by block, and what it refuses."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.encoders import load_cross_encoder
from indexer.errors import UsageError
from trainer.assemble import check
from trainer.batch import Pair, collate
from trainer.cross_encoder import TrainableCrossEncoder
from trainer.encoder import TrainableEncoder
from trainer.mine import mine
from trainer.negatives.hard import Hard, HardSettings
from trainer.objectives.infonce import InfoNCE
from trainer.pair_step import PairStepper, contrast
from trainer.recipe import load_recipe
from trainer.regularisers.plain import Plain
from trainer.train import train


@pytest.fixture(scope="module")
def cross(encoder: TrainableEncoder) -> TrainableCrossEncoder:
    twin = copy.deepcopy(encoder)
    twin.transformer.encoder.layer = twin.transformer.encoder.layer[:1]
    twin.transformer.config.num_hidden_layers = 1
    return TrainableCrossEncoder(twin, seed=0)


def pairs_of(model: TrainableCrossEncoder) -> list[Pair]:
    texts = ["warm hive", "frozen pipes in winter", "bees", "the fruit trees are cut in late winter " * 3, "slugs eat"]
    ids = [model.tokens_of(text) for text in texts]
    return [
        Pair(ids[0], ids[2], 2, frozenset({2}), (ids[3], ids[4]), (3, 4)),
        Pair(ids[1], ids[3], 3, frozenset({3}), (ids[2],), (2,)),
    ]


def test_a_pair_is_joined_as_the_tokenizer_joins_it(cross: TrainableCrossEncoder) -> None:
    tokenizer = copy.deepcopy(cross.tokenizer)
    tokenizer.enable_truncation(cross.spec.max_length, strategy="longest_first")
    long = "hives are opened on warm days " * 60
    for query, passage in (("a hive", "bees are warm"), ("a hive", long), (long, "a hive"), ("", "bees")):
        expected = tokenizer.encode(query, passage)
        ids, segments = cross.frame.join(cross.tokens_of(query), cross.tokens_of(passage))
        assert ids.tolist() == expected.ids
        assert segments.tolist() == expected.type_ids


def test_an_anchor_is_told_from_its_own_candidates_alone(cross: TrainableCrossEncoder) -> None:
    batch = collate(pairs_of(cross))
    assert [len(own) for own in batch.candidates] == [3, 2]
    scores = torch.tensor([1.0, 0.5, -1.0, 2.0, 0.0])
    expected = np.mean([-1.0 + np.log(np.exp([1.0, 0.5, -1.0]).sum()), -2.0 + np.log(np.exp([2.0, 0.0]).sum())])
    assert float(InfoNCE(1.0)(contrast(batch, scores))) == pytest.approx(expected, rel=1e-6)


def test_block_by_block_gives_the_same_gradients(cross: TrainableCrossEncoder) -> None:
    found = []
    cross.tokens = 64  # several blocks
    for cached in (False, True):
        cross.zero_grad()
        stepper = PairStepper(cross, Hard(HardSettings()), InfoNCE(1.0), Plain(), seed=0, cached=cached, bfloat16=False)
        stepper.gradients(collate(pairs_of(cross)), 0)
        found.append([p.grad.clone() for p in cross.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 10
    for plain, blockwise in zip(*found, strict=True):
        torch.testing.assert_close(plain, blockwise, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("regulariser.kind=matryoshka", "takes regulariser 'none'"),
        ("run.from_scratch=true", "no from_scratch"),
        ("model.kind=cross", "no model 'cross'"),
        ("model.layers=3", "no setting 'layers'"),
    ],
)
def test_what_does_not_fit_a_cross_encoder_is_refused(change: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check(load_recipe("cross-encoder", (change,)))


def test_a_run_leaves_what_rerank_takes_and_what_teaches(beir: Path, tmp_path: Path) -> None:
    small = ("run.batch=4", "run.steps=1", "run.longest=48")
    report = train(load_recipe("cross-encoder", small), [beir], tmp_path / "model", device="cpu", gate=False)
    assert not (tmp_path / "model/training/index").exists()
    assert 0 < report.before["nDCG@10"] <= 1
    assert "--rerank" in (tmp_path / "model" / "README.md").read_text()
    mined = mine([beir], tmp_path / "mined.jsonl", HardSettings(), per_query=2, teacher=str(tmp_path / "model"))
    records = [json.loads(line) for line in (tmp_path / "mined.jsonl").read_text().splitlines()]
    assert len(records) == mined.queries
    teacher = load_cross_encoder(tmp_path / "model")
    first = records[0]
    expected = teacher.scores(first["query"], [*first["positive"], *first["negatives"]])
    assert first["scores"] == pytest.approx(expected.tolist(), abs=1e-4)
