"""A view makes the pair its paper describes, the same one from the same generator, and damages only as told."""

from __future__ import annotations

import dataclasses
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import UsageError
from trainer.batch import Pair, Piece
from trainer.randomness import generator
from trainer.views import VIEWS
from trainer.views.cloze import InverseCloze, sentences
from trainer.views.corrupt import corrupt, ordinary
from trainer.views.crops import Crops, crop
from trainer.views.neighbours import Neighbours
from trainer.views.same import SameText, repeated
from trainer.views.span import SpanInDocument
from trainer.views.titles import Titles

SEEDS = st.integers(0, 2**32 - 1)
ENDER = 7


def counted(tokens: int, start: int = 100) -> np.ndarray:
    """Make tokens that are all different and ascending: where a piece of them was cut can be read off."""
    return np.arange(start, start + tokens, dtype=np.int32)


def piece(tokens: int, title: int = 3) -> Piece:
    return Piece(document=5, title=np.arange(10, 10 + title, dtype=np.int32), body=counted(tokens))


def is_contiguous(ids: np.ndarray) -> bool:
    return bool((np.diff(ids) == 1).all())


def is_subsequence(part: np.ndarray, whole: np.ndarray) -> bool:
    rest = iter(whole.tolist())
    return all(token in rest for token in part.tolist())


def draws(view, tokens: int, count: int = 300) -> list[Pair]:
    return [view.pair(piece(tokens), generator(0, example)) for example in range(count)]


@pytest.mark.parametrize("name", VIEWS)
@given(tokens=st.integers(1, 600), title=st.integers(0, 5), seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_usable_piece_gives_a_pair_of_its_own_tokens_and_stays_as_it_was(name, tokens, title, seed):
    view = VIEWS[name]()
    given_piece = piece(tokens, title)
    before = given_piece.body.copy()
    if not view.usable(title, tokens):
        return
    pair = view.pair(given_piece, generator(seed))
    again = view.pair(given_piece, generator(seed))
    for side, other in ((pair.anchor, again.anchor), (pair.positive, again.positive)):
        assert side.dtype == np.int32
        assert len(side) >= 1
        assert np.isin(side, [*given_piece.title, *before]).all()
        assert np.array_equal(side, other)
    assert (pair.document, pair.own) == (5, frozenset({5}))
    assert np.array_equal(given_piece.body, before)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_says_what_it_is_made_of_and_takes_ordinary_documents(name):
    view = VIEWS[name]()
    assert view.unit == ("document" if name == "titles" else "window")
    assert view.usable(5, view.window)
    assert not view.usable(0, 0)
    assert dataclasses.replace(view, window=view.window + 1).window == view.window + 1


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "titles"])
def test_another_generator_gives_another_pair(name):
    view = VIEWS[name](repeat=0.5) if name == "same" else VIEWS[name]()
    assert len({(pair.anchor.tobytes(), pair.positive.tobytes()) for pair in draws(view, 256, 50)}) > 30


@given(tokens=st.integers(1, 400), low=st.floats(0, 1), high=st.floats(0, 1), seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_a_crop_is_a_contiguous_piece_within_its_ratio_bounds(tokens, low, high, seed):
    low, high = min(low, high), max(low, high)
    cut = crop(counted(tokens), generator(seed), low, high)
    assert is_contiguous(cut)
    assert set(cut.tolist()) <= set(counted(tokens).tolist())
    assert max(1, round(low * tokens)) <= len(cut) <= max(1, round(high * tokens))


def test_crops_reach_every_token_and_every_length():
    cuts = [pair.anchor for pair in draws(Crops(delete=0), 40, 2000)]
    assert set(np.concatenate(cuts).tolist()) == set(counted(40).tolist())
    assert {len(cut) for cut in cuts} == set(range(2, 21))


def test_the_two_crops_are_drawn_independently():
    pairs = draws(Crops(delete=0, ratio_min=0.25, ratio_max=0.25), 400, 2000)
    starts = np.array([(pair.anchor[0], pair.positive[0]) for pair in pairs])
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.1
    overlapping = np.abs(np.diff(starts, axis=1)) < 100
    # two uniform starts in 0..300 are less than 100 apart with probability 1 - (2/3)² = 5/9
    assert overlapping.mean() == pytest.approx(5 / 9, abs=0.04)


@given(tokens=st.integers(16, 300), rate=st.floats(0, 1), seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_deletion_removes_tokens_and_does_nothing_else(tokens, rate, seed):
    left = corrupt(counted(tokens), generator(seed), delete=rate)
    assert len(left) >= 1
    assert is_subsequence(left, counted(tokens))


def test_corruption_happens_at_the_rates_asked_for():
    ids = counted(20_000)
    assert len(corrupt(ids, generator(1), delete=0.1)) == pytest.approx(18_000, abs=200)
    masked = corrupt(ids, generator(1), mask=0.2, mask_id=4)
    assert (masked == 4).sum() == pytest.approx(4000, abs=250)
    assert (masked[masked != 4] == ids[masked != 4]).all()
    replaced = corrupt(ids, generator(1), replace=0.3, vocabulary=100)  # none of the text's own tokens
    assert (replaced != ids).sum() == pytest.approx(6000, abs=300)
    shuffled = corrupt(ids, generator(1), shuffle=0.5)
    assert sorted(shuffled.tolist()) == ids.tolist()
    assert (shuffled != ids).sum() == pytest.approx(10_000, abs=300)
    assert np.array_equal(corrupt(ids, generator(1)), ids)


def test_a_text_whose_tokens_are_all_deleted_keeps_one_any_of_them():
    lone = [corrupt(counted(5), generator(seed), delete=1.0) for seed in range(100)]
    assert {len(ids) for ids in lone} == {1}
    assert {int(ids[0]) for ids in lone} == set(counted(5).tolist())


@given(special=st.frozensets(st.integers(-3, 15)), seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_replacements_are_all_the_ordinary_tokens_and_no_special_one(special, seed):
    wanted = set(range(12)) - special
    if not wanted:
        return
    assert set(ordinary(600, generator(seed), 12, special).tolist()) == wanted


@pytest.mark.parametrize(("vocabulary", "special"), [(0, frozenset()), (2, frozenset({0, 1, 9}))])
def test_replacing_without_an_ordinary_token_is_refused(vocabulary, special):
    with pytest.raises(UsageError, match="replace needs a vocabulary"):
        corrupt(counted(9), generator(0), replace=0.5, vocabulary=vocabulary, special=special)


def test_a_view_corrupts_as_its_settings_say():
    for view in (Crops, SpanInDocument):
        masked = view(delete=0, mask=1.0, mask_id=4).pair(piece(100), generator(0))
        assert set(masked.anchor.tolist()) == {4}
        replaced = view(delete=0, replace=1.0, vocabulary=9, special=frozenset(range(8))).pair(piece(100), generator(0))
        assert set(replaced.anchor.tolist()) == {8}
        deleted = view(delete=1.0).pair(piece(100), generator(0))
        assert len(deleted.anchor) == 1
        shuffled = view(delete=0, shuffle=1.0).pair(piece(256), generator(0)).anchor
        assert not is_contiguous(shuffled)
        assert is_contiguous(np.sort(shuffled))


def split(ids: list[int]) -> list[list[int]]:
    """Split into sentences token by token: one ends at an ender that no ender follows."""
    found: list[list[int]] = [[]]
    for token, following in zip(ids, [*ids[1:], None], strict=True):
        found[-1].append(token)
        if token == ENDER and following not in (ENDER, None):
            found.append([])
    return found


@given(ids=st.lists(st.sampled_from([1, 2, 3, 4, ENDER]), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_sentences_cover_the_text_and_end_where_a_run_of_enders_does(ids):
    array = np.array(ids, dtype=np.int32)
    assert [array[start:end].tolist() for start, end in sentences(array, frozenset({ENDER, 99}))] == split(ids)


@given(ids=st.lists(st.sampled_from([1, 2, 3, 4, ENDER]), min_size=16, max_size=60), seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_cloze_takes_a_sentence_out_of_its_window(ids, seed):
    body = np.array(ids, dtype=np.int32)
    view = InverseCloze(remove=1.0, enders=frozenset({ENDER}))
    pair = view.pair(Piece(1, body[:0], body), generator(seed))
    found = split(ids)
    if len(found) > 1:
        left = [list(chain(*found[:place], *found[place + 1 :])) for place in range(len(found))]
        assert (pair.anchor.tolist(), pair.positive.tolist()) in list(zip(found, left, strict=True))
    assert len(pair.anchor) + len(pair.positive) == len(ids)


def test_cloze_takes_every_sentence_and_leaves_it_in_place_as_often_as_told():
    body = np.array([1, 2, ENDER, 3, 4, ENDER, 5, 6, ENDER, 8, 8, ENDER] * 2, dtype=np.int32)
    view = InverseCloze(remove=0.9, enders=frozenset({ENDER}))
    pairs = [view.pair(Piece(1, body[:0], body), generator(3, example)) for example in range(2000)]
    assert {tuple(pair.anchor) for pair in pairs} == {(1, 2, 7), (3, 4, 7), (5, 6, 7), (8, 8, 7)}
    kept = [pair for pair in pairs if len(pair.positive) == len(body)]
    assert len(kept) == pytest.approx(200, abs=45)
    assert all(np.array_equal(pair.positive, body) for pair in kept)


@given(tokens=st.integers(2, 300), seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_cloze_takes_a_contiguous_fifth_of_a_window_that_is_one_sentence(tokens, seed):
    pair = InverseCloze(remove=1.0, enders=frozenset({100 + tokens - 1})).pair(piece(tokens), generator(seed))
    assert is_contiguous(pair.anchor)
    assert len(pair.anchor) == max(1, round(tokens / 5))
    assert sorted([*pair.anchor, *pair.positive]) == counted(tokens).tolist()


@given(tokens=st.integers(16, 300), seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_span_stands_in_the_whole_window(tokens, seed):
    pair = SpanInDocument(span_min=0.1, span_max=0.2).pair(piece(tokens), generator(seed))
    assert is_contiguous(pair.anchor)
    assert round(0.1 * tokens) <= len(pair.anchor) <= round(0.2 * tokens)
    assert np.array_equal(pair.positive, counted(tokens))


@given(tokens=st.integers(20, 600), seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_neighbours_overlap_touch_or_contain_each_other(tokens, seed):
    pair = Neighbours(length_min=10, length_max=100).pair(piece(tokens), generator(seed))
    for side in (pair.anchor, pair.positive):
        assert is_contiguous(side)
        assert 10 <= len(side) <= min(100, tokens // 2)
    assert pair.positive[0] <= pair.anchor[-1] + 1
    assert pair.anchor[0] <= pair.positive[-1] + 1


def test_a_positive_may_touch_its_anchor_on_either_side_and_stands_no_farther():
    pairs = draws(Neighbours(length_min=8, length_max=8), 64, 2000)
    assert {int(pair.positive[0]) - int(pair.anchor[0]) for pair in pairs} == set(range(-8, 9))


def test_anchors_lean_to_long_and_positives_to_short_in_every_relation():
    pairs = draws(Neighbours(length_min=20, length_max=120), 512, 3000)
    # Beta(4, 2) has mean 2/3, Beta(2, 4) has 1/3; rounding down takes half a token
    assert np.mean([len(pair.anchor) for pair in pairs]) == pytest.approx(20 + 100 * 2 / 3 - 0.5, abs=1.5)
    assert np.mean([len(pair.positive) for pair in pairs]) == pytest.approx(20 + 100 / 3 - 0.5, abs=1.5)
    relations = set()
    for pair in pairs:
        shared = len(np.intersect1d(pair.anchor, pair.positive))
        relations.add("within" if shared == len(pair.positive) else "overlapping" if shared else "touching")
    assert relations == {"within", "overlapping", "touching"}


def test_a_title_is_paired_with_the_body_cut_and_not_with_itself():
    body = counted(50)
    title = np.array([1, 2, 3], dtype=np.int32)
    view = Titles(window=30)
    pair = view.pair(Piece(5, title, body), generator(0))
    assert np.array_equal(pair.anchor, title)
    assert np.array_equal(pair.positive, body[:30])
    assert np.array_equal(view.pair(Piece(5, title, np.concatenate([title, body])), generator(0)).positive, body[:30])
    assert np.array_equal(view.pair(Piece(5, title, title), generator(0)).positive, title)  # nothing else is left
    assert not view.usable(0, 50)


def test_the_same_text_is_the_same_text():
    pair = SameText().pair(piece(64), generator(0))
    assert np.array_equal(pair.anchor, counted(64))
    assert np.array_equal(pair.positive, counted(64))


@given(tokens=st.integers(1, 100), rate=st.floats(0.01, 1), seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_repeated_tokens_stand_right_behind_themselves_and_are_not_too_many(tokens, rate, seed):
    ids = repeated(counted(tokens), generator(seed), rate)
    unique, times = np.unique(ids, return_counts=True)
    assert np.array_equal(unique, counted(tokens))
    assert (np.diff(ids) >= 0).all()
    assert times.max() <= 2
    assert len(ids) - tokens <= max(2, int(rate * tokens))


def test_repetition_is_of_one_side_and_of_every_number_up_to_the_most():
    pairs = draws(SameText(repeat=0.32), 16, 500)
    assert all(np.array_equal(pair.anchor, counted(16)) for pair in pairs)
    assert {len(pair.positive) - 16 for pair in pairs} == set(range(6))


@pytest.mark.parametrize(
    ("view", "wrong", "message"),
    [
        (Crops, {"ratio_min": 0.6}, "ratio_min must be a number from 0 to 0.5, not 0.6"),
        (Crops, {"ratio_max": 1.5}, "ratio_max must be a number from 0 to 1, not 1.5"),
        (Crops, {"delete": -0.1}, "delete must be a number from 0 to 1, not -0.1"),
        (Crops, {"mask": float("nan")}, "mask must be a number from 0 to 1, not nan"),
        (Crops, {"shuffle": "often"}, "shuffle must be a number from 0 to 1, not 'often'"),
        (Crops, {"replace": True}, "replace must be a number from 0 to 1, not True"),
        (Crops, {"window": 0}, "window must be a whole number of at least 1, not 0"),
        (Crops, {"window": 25.5}, "window must be a whole number of at least 1, not 25.5"),
        (Crops, {"shortest": 300}, "shortest must be a whole number from 1 to 256, not 300"),
        (InverseCloze, {"remove": 2}, "remove must be a number from 0 to 1, not 2"),
        (InverseCloze, {"window": 1}, "window must be a whole number of at least 2, not 1"),
        (InverseCloze, {"shortest": 1}, "shortest must be a whole number from 2 to 256, not 1"),
        (SpanInDocument, {"span_min": 0.4}, "span_min must be a number from 0 to 0.3, not 0.4"),
        (SpanInDocument, {"delete": 3}, "delete must be a number from 0 to 1, not 3"),
        (Neighbours, {"length_min": 257}, "length_min must be a whole number from 1 to 256, not 257"),
        (Neighbours, {"length_max": 31}, "length_max must be a whole number of at least 32, not 31"),
        (Titles, {"window": -1}, "window must be a whole number of at least 1, not -1"),
        (SameText, {"repeat": float("inf")}, "repeat must be a number from 0 to 1, not inf"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name_value_and_range(view, wrong, message):
    with pytest.raises(UsageError) as caught:
        view(**wrong)
    assert str(caught.value) == message
