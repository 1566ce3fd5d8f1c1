"""The same gradients: in one piece or through the cache, in one process or in two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.errors import DataError
from trainer.batch import Batch, Pair, collate
from trainer.encoder import blocks, load_trainable
from trainer.negatives.inbatch import InBatch
from trainer.negatives.queue import Queue, QueueSettings
from trainer.objectives.infonce import InfoNCE
from trainer.regularisers.matryoshka2d import Matryoshka2d
from trainer.regularisers.plain import Plain
from trainer.regularisers.preserving import Preserving
from trainer.start import StartModel
from trainer.step import Stepper, optimiser, rate_at

CPU = torch.device("cpu")
WORDS = "retries back off after a failure so that clients do not meet and the server may breathe again".split()


def batch_of(encoder, count: int = 6) -> Batch:
    pairs = []
    for number in range(count):
        anchor = encoder.tokens_of(" ".join(WORDS[number : number + 3]))
        positive = encoder.tokens_of(" ".join(WORDS[: number * 3 + 4]))
        pairs.append(Pair(anchor, positive, number, frozenset({number})))
    return collate(pairs)


def gradients(encoder, *, cached: bool, regulariser, batch: Batch, start=None) -> tuple[float, torch.Tensor]:
    stepper = Stepper(encoder, InBatch(), InfoNCE(), regulariser, seed=3, start=start, cached=cached, bfloat16=False)
    encoder.zero_grad()
    loss = stepper.gradients(batch, step=5)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in encoder.parameters()])
    encoder.zero_grad()
    return loss, flat


@pytest.mark.parametrize("regulariser", [Plain(), Matryoshka2d(dimensions=(384, 64))], ids=["plain", "matryoshka2d"])
def test_the_cache_changes_no_gradient(encoder, regulariser):
    batch = batch_of(encoder)
    whole_loss, whole = gradients(encoder, cached=False, regulariser=regulariser, batch=batch)
    encoder.tokens, before = 32, encoder.tokens  # one text a block
    try:
        loss, parts = gradients(encoder, cached=True, regulariser=regulariser, batch=batch)
    finally:
        encoder.tokens = before
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert torch.allclose(parts, whole, atol=1e-5)
    assert whole.abs().max() > 1e-3


def test_the_start_is_held_on_to_and_its_weights_get_no_gradient(encoder):
    batch = batch_of(encoder)
    other = load_trainable(None, device=CPU, tokens=2048, dropout=0.0, from_scratch=1)
    start = StartModel(other)
    free_loss, free = gradients(encoder, cached=False, regulariser=Plain(), batch=batch)
    held_loss, held = gradients(encoder, cached=False, regulariser=Preserving(5.0), batch=batch, start=start)
    _, parts = gradients(encoder, cached=True, regulariser=Preserving(5.0), batch=batch, start=start)
    assert held_loss > free_loss
    assert torch.allclose(parts, held, atol=1e-5)
    assert not torch.allclose(held, free, atol=1e-3)
    assert all(parameter.grad is None for parameter in other.parameters())


def test_blocks_change_no_vector(encoder):
    texts = [encoder.tokens_of(" ".join(WORDS[: 1 + number % 15])) for number in range(23)]
    with torch.no_grad():
        alone = torch.stack([encoder.encode_block([ids], query=False)[0, 0] for ids in texts])
        together = encoder(texts, query=False)[0]
    assert torch.allclose(alone, together, atol=1e-5)


def test_the_last_layer_asked_for_is_the_model_itself(encoder):
    texts = [encoder.tokens_of("one text"), encoder.tokens_of("another, longer text")]
    with torch.no_grad():
        layers = encoder(texts, query=False, layers=(2, encoder.depth))
        plain = encoder(texts, query=False)[0]
    assert torch.allclose(layers[1], plain, atol=1e-5)
    assert not torch.allclose(layers[0], plain, atol=1e-2)


@pytest.mark.parametrize("lengths", [[], [5], [300, 1, 1, 1], list(range(1, 60))])
def test_blocks_hold_every_text_once_within_bounds(lengths):
    found = list(blocks(lengths, 128))
    assert sorted(number for block in found for number in block) == list(range(len(lengths)))
    for block in found:
        padded = -(-(max(lengths[number] for number in block) + 2) // 8) * 8
        assert len(block) == 1 or len(block) * padded <= 128


def test_encoding_agrees_with_sentence_transformers(encoder):
    from indexer.encoders import load_encoder

    texts = ["How do retries back off?", " ".join(WORDS * 30)]
    ours = encoder.encode([encoder.tokens_of(text) for text in texts], query=False)
    theirs = load_encoder(None).encode_passages(texts)
    assert (ours * theirs).sum(axis=1).min() > 0.998


def test_a_queue_never_makes_a_text_its_own_negative(encoder):
    queue = Queue(QueueSettings(size=64))
    queue.start(encoder, steps=10, documents=100)
    batch = batch_of(encoder, 3)
    stepper = Stepper(encoder, queue, InfoNCE(), Plain(), seed=0, bfloat16=False)
    stepper.gradients(batch, 0)
    queue.after(batch, stepper.last, encoder, 0)
    stepper.gradients(batch, 1)
    encoder.zero_grad()
    contrast = stepper.last
    assert contrast.queue_ND.shape == (3, 384)
    assert contrast.queue_excluded_BN.tolist() == np.eye(3, dtype=bool).tolist()
    assert not contrast.passage_PD.requires_grad


def test_a_loss_that_is_no_number_stops_the_run(encoder):
    class Broken(torch.nn.Module):
        def forward(self, contrast):
            return contrast.query_BD.sum() * float("nan")

    stepper = Stepper(encoder, InBatch(), Broken(), Plain(), seed=0, bfloat16=False)
    with pytest.raises(DataError, match="lower run"):
        stepper.gradients(batch_of(encoder), 7)
    encoder.zero_grad()


def test_biases_norms_and_temperatures_do_not_decay(encoder):
    objective = InfoNCE(learned=True)
    decayed, free = optimiser(encoder, objective, learning_rate=1e-3, weight_decay=0.1).param_groups
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0
    assert any(parameter is objective.log_temperature for parameter in free["params"])


def test_the_learning_rate_rises_and_falls():
    rates = [rate_at(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1.0 == rates[9]
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] > 0


TWO = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from tests.trainer.test_step import CPU, batch_of, gradients
from trainer import distributed
from trainer.encoder import load_trainable
from trainer.regularisers.plain import Plain
torch.set_num_threads(1)
distributed.start(CPU)
encoder = load_trainable(None, device=CPU, tokens=256, dropout=0.0)
loss, flat = gradients(encoder, cached=sys.argv[3] == "cached", regulariser=Plain(), batch=batch_of(encoder, 7))
if distributed.rank() == 1:
    torch.save({"loss": loss, "flat": flat}, sys.argv[2])
distributed.stop()
"""


@pytest.mark.parametrize("way", ["plain", "cached"])
def test_two_processes_give_one_processs_gradients(way, root: Path, tmp_path: Path):
    """Gloo, launched as torchrun does; seven texts, so that the shares are unequal."""
    program = tmp_path / "two.py"
    program.write_text(TWO)
    out = tmp_path / "gradients.pt"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    done = subprocess.run(
        [*launcher, "--standalone", program, root, out, way], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(out)
    encoder = load_trainable(None, device=CPU, tokens=256, dropout=0.0)
    loss, flat = gradients(encoder, cached=False, regulariser=Plain(), batch=batch_of(encoder, 7))
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(found["flat"], flat, atol=1e-5)
