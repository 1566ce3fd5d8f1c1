"""The queue against a plain list, the momentum update against its closed form."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.negatives.queue import QueueSettings, Ring, follow, momentum_at


@given(size=st.integers(1, 12), blocks=st.lists(st.integers(0, 9), max_size=12))
def test_the_queue_is_first_in_first_out_across_its_wrap(size, blocks):
    ring, history = Ring(size, 2, torch.device("cpu")), []
    number = 0
    for count in blocks:
        documents = torch.arange(number, number + count)
        ring.put(torch.stack([documents.float(), -documents.float()], dim=1), documents)
        history += documents.tolist()
        number += count
    keys, documents = ring.present()
    assert sorted(documents.tolist()) == history[-size:]
    assert keys[:, 0].tolist() == [float(document) for document in documents]  # each key stands beside its document
    assert keys[:, 1].tolist() == [-float(document) for document in documents]


@given(size=st.integers(1, 8), blocks=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_one_large_block_leaves_what_single_keys_leave(size, blocks):
    whole, single = Ring(size, 1, torch.device("cpu")), Ring(size, 1, torch.device("cpu"))
    number = 0
    for count in blocks:
        documents = torch.arange(number, number + count)
        whole.put(documents[:, None].float(), documents)
        for one in documents:
            single.put(one[None, None].float(), one[None])
        number += count
    assert whole.documents_N.tolist() == single.documents_N.tolist()
    assert (whole.place, whole.filled) == (single.place, single.filled)


def test_a_queue_comes_back_from_its_state():
    ring = Ring(5, 2, torch.device("cpu"))
    ring.put(torch.randn(7, 2), torch.arange(7))
    other = Ring(5, 2, torch.device("cpu"))
    other.load(ring.state())
    for one in (ring, other):
        one.put(torch.full((2, 2), 0.5), torch.tensor([70, 71]))
    assert torch.equal(other.keys_ND, ring.keys_ND)
    assert torch.equal(other.documents_N, ring.documents_N)


def test_the_momentum_update_matches_its_closed_form():
    torch.manual_seed(1)
    slow, fast = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    start, goal = slow.weight.detach().double().clone(), fast.weight.detach().double()
    for _ in range(20):
        follow(slow, fast, 0.9)
    expected = goal + (start - goal) * 0.9**20  # the encoder stands still, so the distance shrinks by m each step
    assert torch.allclose(slow.weight.double(), expected, atol=1e-6)


def test_the_momentum_ramps_from_start_to_end():
    settings = QueueSettings(momentum=0.999, momentum_start=0.9)
    values = [momentum_at(step, 100, settings) for step in range(101)]
    assert values[0] == 0.9
    assert values[-1] == 0.999
    assert values == sorted(values)
