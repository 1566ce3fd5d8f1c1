"""Which negatives a rule lets through, and what the batch leaves out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from trainer.batch import Pair, collate
from trainer.mine import mine_with_vectors, select
from trainer.negatives.guide import likely_positives
from trainer.negatives.hard import HardSettings, Mined, allowed, choose
from trainer.randomness import generator
from trainer.sources import Labelled

COSINES = st.floats(-1, 1, allow_nan=False)


@given(scores=st.lists(COSINES, max_size=20), positive=COSINES, share=st.floats(0.5, 1), margin=st.floats(0, 0.5))
def test_the_filter_removes_exactly_what_its_rule_says(scores, positive, share, margin):
    kept = allowed(scores, positive, share=share, margin=margin)
    for score, fits in zip(scores, kept, strict=True):
        above_share = score > positive * share if positive > 0 else score > positive
        assert fits == (not above_share and not score > positive - margin)


def test_a_share_above_one_leaves_nothing_out_but_by_a_margin():
    assert allowed([0.9, 0.2], 0.5, share=1.1, margin=0.0).tolist() == [True, True]
    assert allowed([0.9, 0.2], -0.1, share=1.1, margin=0.0).tolist() == [True, True]
    assert allowed([0.9, 0.45, 0.2], 0.5, share=1.1, margin=0.1).tolist() == [False, False, True]


@given(data=st.data())
def test_mining_never_returns_what_is_judged_relevant(data):
    keys = [f"d{number}" for number in range(data.draw(st.integers(3, 30)))]
    relevant = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    cosines = {key: data.draw(COSINES) for key in keys}
    settings = HardSettings(range_min=1, range_max=10, pool=10, per_query=1)
    mined, _ = select(sorted(keys, key=lambda key: -cosines[key]), cosines, relevant, settings)
    assert not set(mined.documents) & set(relevant)
    best = max(cosines[key] for key in relevant)
    assert all(score <= best * 0.95 if best > 0 else score <= best for score in mined.scores)


def test_ranks_are_counted_without_the_answers():
    cosines = {"a": 0.9, "answer": 0.8, "b": 0.5, "c": 0.4, "d": 0.3}
    settings = HardSettings(range_min=2, range_max=3, pool=5)
    mined, left_out = select(list(cosines), cosines, ["answer"], settings)
    assert mined.documents == ("b", "c")
    assert left_out == 0


def test_what_looks_like_an_answer_is_counted():
    cosines = {"twin": 0.99, "answer": 0.9, "b": 0.5}
    mined, left_out = select(list(cosines), cosines, ["answer"], HardSettings())
    assert mined.documents == ("b",)
    assert left_out == 1


def test_mining_with_vectors_is_an_exact_scan():
    rng = np.random.default_rng(4)
    passages = rng.normal(size=(200, 8)).astype(np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    keys = [str(number) for number in range(200)]
    query = passages[7] + 0.1 * passages[8]
    found = mine_with_vectors(
        query[None], passages, [Labelled("q", "text", {"7": 1})], keys, HardSettings(range_max=5, pool=5)
    )
    scores = passages.astype(np.float64) @ query.astype(np.float64)
    order = [str(number) for number in np.argsort(-scores) if number != 7]
    limit = scores[7] * 0.95
    assert found["q"].documents == tuple(key for key in order[:5] if scores[int(key)] <= limit)


def test_drawn_negatives_come_from_the_pool_or_at_random():
    mined = Mined(tuple(f"k{number}" for number in range(40)), (0.0,) * 40)
    settings = HardSettings(per_query=3, pool=10, random=0.0)
    for visit in range(50):
        chosen = choose(mined, 1000, settings, generator(0, visit))
        assert len(set(chosen)) == 3
        assert set(chosen) <= set(mined.documents[:10])
    mixed = [choose(mined, 1000, HardSettings(per_query=2, random=0.5), generator(1, n)) for n in range(400)]
    share = np.mean([isinstance(one, int) for chosen in mixed for one in chosen])
    assert 0.42 < share < 0.58


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "sparse"},
        {"range_min": 9, "range_max": 3},
        {"random": 1.5},
        {"per_query": 0},
        {"pool": 1, "per_query": 2},
        {"margin": -0.1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="negatives"):
        HardSettings(**wrong)


def test_the_guide_masks_what_it_puts_above_the_positive():
    query = torch.eye(2, 3)
    passages = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.2, 0], [1.0, 0.0, 0], [0.1, 1.0, 0], [0, 0, 1.0]]), dim=1
    )
    likely = likely_positives(query, passages, torch.tensor([0, 2]), 0.0)
    assert likely.tolist() == [[False, True, False, False], [False, False, False, False]]
    assert likely_positives(query, passages, torch.tensor([0, 2]), 2.0).sum() == 6  # all but the two targets


def ids(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, dtype=np.int32)


def test_a_batch_marks_own_documents_and_equal_texts():
    pairs = [
        Pair(ids(1), ids(10, 11), 0, frozenset({0, 2}), (ids(30), ids(20)), (3, 2), (1.0, 0.2, 0.1)),
        Pair(ids(2), ids(20), 2, frozenset({2}), (ids(30),), (3,), (0.9, 0.3)),
        Pair(ids(3), ids(10, 11), 5, frozenset({5})),  # another document with the first one's text
    ]
    batch = collate(pairs)
    assert len(batch.passages) == 4  # (0: 10 11) (3: 30) (2: 20) (5: 10 11), each once
    place = {document: at for at, document in enumerate(batch.documents)}
    assert batch.target_B.tolist() == [place[0], place[2], place[5]]
    excluded = batch.excluded_BP
    assert excluded[0, place[2]]  # judged relevant too
    assert excluded[0, place[5]]  # the same words under another name
    assert not excluded[0, place[0]]
    assert not excluded[1].any()
    assert batch.listed_BC is not None
    assert batch.listed_BC.tolist() == [
        [place[0], place[3], place[2]],
        [place[2], place[3], -1],
        [-1, -1, -1],
    ]
