"""Examples are a function of seed, epoch and number; batches of seed and step, whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import DataError, UsageError
from tests.conftest import LIBRARY
from trainer.batch import Batch, Pair, Piece
from trainer.corpus import Corpus, prepare
from trainer.data import Batches, LabelledExamples, Pieces
from trainer.negatives.hard import HardSettings, Mined
from trainer.randomness import generator, permutation
from trainer.sources import Labelled, Text, read_labels, read_texts
from trainer.tokens import TokenStore, blocks, tokenise
from trainer.views.crops import Crops


@pytest.fixture(scope="module")
def corpus(encoder, tmp_path_factory) -> Corpus:
    return prepare(read_texts([LIBRARY]), encoder.tokenizer, tmp_path_factory.mktemp("tokens"))


def same(one: Batch, other: Batch) -> bool:
    texts = zip([*one.anchors, *one.passages], [*other.anchors, *other.passages], strict=True)
    return all(np.array_equal(a, b) for a, b in texts) and torch.equal(one.excluded_BP, other.excluded_BP)


def test_tokens_on_disk_are_the_tokenizers_own(corpus, encoder):
    texts = [text for text in read_texts([LIBRARY]) if text.body.strip()]
    assert corpus.keys == [text.key for text in texts]
    for number, text in enumerate(texts):
        assert corpus.bodies[number].tolist() == encoder.tokens_of(text.body).tolist()
        assert corpus.titles[number].tolist() == encoder.tokens_of(text.title).tolist()


def test_title_and_body_together_are_what_the_indexer_encodes(corpus, encoder):
    for number, text in enumerate(read_texts([LIBRARY])):
        assert corpus.whole(number, 64).tolist() == encoder.tokens_of(f"{text.title} {text.body}")[:64].tolist()


@given(st.lists(st.text(max_size=40), max_size=30))
def test_blocks_keep_texts_and_order(texts):
    assert [text for block in blocks(texts) for text in block] == texts


def test_nothing_to_train_on_is_said(encoder, tmp_path):
    with pytest.raises(DataError, match="no text"):
        prepare([Text("a", " ", "\n")], encoder.tokenizer, tmp_path)


def test_workers_make_the_same_batches(corpus):
    batches = Batches(Pieces(corpus, Crops(window=64)), 4, seed=7)
    alone = [batches[step] for step in range(2, 8)]
    loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=range(2, 8), num_workers=2)
    for own, made in zip(alone, loader, strict=True):
        assert same(own, made)


def test_a_batch_does_not_depend_on_what_was_made_before(corpus):
    batches = Batches(Pieces(corpus, Crops(window=64)), 4, seed=7)
    late = batches[batches.per_epoch + 1]
    for step in range(batches.per_epoch + 1):
        batches[step]
    assert same(batches[batches.per_epoch + 1], late)
    assert not same(Batches(batches.examples, 4, seed=8)[batches.per_epoch + 1], late)


def test_an_epoch_visits_every_example_once(corpus):
    class Numbers:
        def __len__(self) -> int:
            return 23

        def pair(self, number: int, seed: int, epoch: int) -> Pair:
            ids = np.asarray([number], dtype=np.int32)
            return Pair(ids, ids, number, frozenset({number}))

    batches = Batches(Numbers(), 5, seed=1)
    assert batches.per_epoch == 4
    epochs = [[int(ids[0]) for step in range(4) for ids in batches[4 * epoch + step].anchors] for epoch in range(2)]
    for visited in epochs:
        assert len(set(visited)) == 20
    assert epochs[0] != epochs[1]
    assert Batches(Numbers(), 50, seed=1).size == 23


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(0, 900), min_size=1, max_size=8), epoch=st.integers(0, 5))
def test_windows_are_contiguous_pieces_of_their_document(lengths, epoch):
    class Seen:
        unit, window = "window", 100

        def usable(self, title_tokens: int, body_tokens: int) -> bool:
            return body_tokens >= 10

        def pair(self, piece: Piece, rng: np.random.Generator) -> Pair:
            return Pair(piece.body, piece.body, piece.document, frozenset())

    offsets = np.concatenate([[0], np.cumsum(lengths)])
    bodies = TokenStore(np.concatenate([np.arange(n) for n in lengths]).astype(np.uint32), offsets)
    empty = TokenStore(np.empty(0, np.uint32), np.zeros(len(lengths) + 1, np.int64))
    corpus = Corpus([str(number) for number in range(len(lengths))], empty, bodies)
    if not any(length >= 10 for length in lengths):
        with pytest.raises(UsageError, match="suits"):
            Pieces(corpus, Seen())
        return
    pieces = Pieces(corpus, Seen())
    assert len(pieces) == sum(max(1, round(length / 100)) for length in lengths if length >= 10)
    for number in range(len(pieces)):
        pair = pieces.pair(number, seed=2, epoch=epoch)
        length = lengths[pair.document]
        assert len(pair.anchor) == min(length, 100)
        assert np.array_equal(pair.anchor, np.arange(pair.anchor[0], pair.anchor[0] + len(pair.anchor)))


def test_generators_of_different_places_differ():
    draws = {generator(1, a, b).integers(2**60) for a in range(20) for b in range(20)}
    assert len(draws) == 400
    assert generator(1, 2, 3).integers(2**60) == generator(1, 2, 3).integers(2**60)
    assert sorted(permutation(3, 1, 50)) == list(range(50))


def test_a_labelled_pair_draws_an_answer_and_negatives_that_are_none(beir, encoder, tmp_path):
    corpus = prepare(read_texts([beir]), encoder.tokenizer, tmp_path)
    labels = read_labels([beir]).train
    first = labels[0]
    both = Labelled(first.key, first.text, {corpus.keys[0]: 2, corpus.keys[1]: 1, corpus.keys[2]: 0})
    examples = LabelledExamples(
        corpus, [both], encoder.tokenizer, longest=32, hard=HardSettings(per_query=2, random=0.0)
    )
    examples.mined = {both.key: Mined(tuple(corpus.keys[:6]), (0.5,) * 6)}
    answers, negatives = set(), set()
    for epoch in range(40):
        pair = examples.pair(0, seed=1, epoch=epoch)
        answers.add(pair.document)
        negatives |= set(pair.negative_documents)
        assert pair.own == {0, 1}
        assert len(pair.positive) <= 32
    assert answers == {0, 1}
    assert negatives == {2, 3, 4, 5}


def test_grades_are_a_teacher(beir, encoder, tmp_path):
    corpus = prepare(read_texts([beir]), encoder.tokenizer, tmp_path)
    label = Labelled("q", "a question", {corpus.keys[3]: 3}, negatives=(corpus.keys[5],))
    examples = LabelledExamples(
        corpus, [label], encoder.tokenizer, longest=32, hard=HardSettings(per_query=1, random=0.0), graded=True
    )
    pair = examples.pair(0, 0, 0)
    assert (pair.document, pair.negative_documents, pair.teacher) == (3, (5,), (3.0, 0.0))


def test_tokenise_in_memory_and_on_disk_agree(encoder, tmp_path):
    texts = ["one", "", "two words", "three short words"]
    memory, disk = tokenise(texts, encoder.tokenizer), tokenise(texts, encoder.tokenizer, tmp_path / "t.u32")
    assert [memory[n].tolist() for n in range(4)] == [disk[n].tolist() for n in range(4)]
    assert len(tokenise([], encoder.tokenizer, tmp_path / "e.u32")) == 0
