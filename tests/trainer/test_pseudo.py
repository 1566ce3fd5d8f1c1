"""Pseudo queries: what they are cut from, what they must find, and what the teacher says of a whole batch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from indexer.errors import UsageError
from searchengine.fusion import standard
from searchengine.hits import Pool
from trainer.batch import Contrast, collate
from trainer.corpus import Corpus
from trainer.encoder import Frame
from trainer.evaluate import fused_rankings, pseudo_query_dev
from trainer.gate import judge_also, judge_gain
from trainer.negatives.inbatch import InBatch
from trainer.objectives.infonce import InfoNCE, info_nce
from trainer.objectives.similarity import scores
from trainer.pseudo import KINDS, LEFT, LONGEST, SHORTEST, PseudoQueries
from trainer.taught import Pseudo, PseudoExamples
from trainer.teacher import DEPTH, Taught
from trainer.tokens import TokenStore
from trainer.unlabelled import aside_share
from trainer.words import WordScores

VOCABULARY = 40
STOP = 1  # ends a sentence
CONTINUES = np.arange(VOCABULARY) >= 30  # goes on with the word before


def store(texts: list[list[int]]) -> TokenStore:
    bounds = np.cumsum([0, *map(len, texts)])
    return TokenStore(np.array([one for text in texts for one in text], dtype=np.uint32), bounds)


def corpus_of(titles: list[list[int]], bodies: list[list[int]]) -> Corpus:
    return Corpus([f"{number}#{number}" for number in range(len(bodies))], store(titles), store(bodies))


tokens = st.integers(1, VOCABULARY - 1)
texts = st.lists(
    st.tuples(st.lists(tokens, max_size=12), st.lists(tokens, min_size=1, max_size=120)), min_size=1, max_size=6
)


@given(texts=texts, seed=st.integers(0, 5), kind=st.sampled_from(KINDS))
def test_a_query_is_made_of_its_passage_and_what_it_must_find_is_the_rest(texts, seed, kind):
    corpus = corpus_of([title for title, _ in texts], [body for _, body in texts])
    maker = PseudoQueries(corpus, frozenset({STOP}), CONTINUES, np.arange(len(corpus)), seed=seed)
    for number, (title, body) in enumerate(texts):
        query = maker.of(number, kind)
        if query is None:
            continue
        answer = query.answer(corpus, 1000).tolist()
        if query.kind == "title":
            assert query.ids.tolist() == title
            assert answer == body
            assert sum(title == other for other, _ in texts) == 1
        elif query.kind in ("sentence", "opening"):
            assert query.kind == "sentence" or query.start == 0
            assert SHORTEST <= len(query.ids) <= LONGEST
            put_back = [*answer[: len(title) + query.start], *query.ids.tolist(), *answer[len(title) + query.start :]]
            assert put_back == [*title, *body]
            assert query.end == len(body) or body[query.end - 1] == STOP
        else:
            assert set(query.ids.tolist()) <= set(body)
            assert answer == [*title, *body]


class Window:
    """What is asked of an encoder here: how much of a passage it reads."""

    passage_frame = Frame((), (), 1000)


@given(texts=texts, seed=st.integers(0, 3))
def test_a_held_out_passage_stands_there_without_what_it_is_asked_for_by(texts, seed):
    corpus = corpus_of([title for title, _ in texts], [body for _, body in texts])
    maker = PseudoQueries(corpus, frozenset({STOP}), CONTINUES, np.arange(len(corpus)), seed=seed)
    aside = list(range(0, len(texts), 2))
    dev = pseudo_query_dev(corpus, aside, maker, Window(), ["title"])
    assert sorted(dev.documents.tolist()) == list(range(len(texts)))
    rows = dict(zip(dev.documents.tolist(), dev.passages, strict=True))
    asked: dict[int, int] = {}
    for ids, grades in zip(dev.queries, dev.grades, strict=True):
        ((number, grade),) = grades.items()
        assert number in aside
        assert grade == 1
        body = texts[number][1]
        taken = [maker.of(number, kind) for kind in ("title", "sentence")]
        assert any(query is not None and query.ids.tolist() == ids.tolist() for query in taken)
        cut = {at for query in taken if query is not None for at in range(query.start, query.end)}
        assert len(rows[number]) >= LEFT
        bare = [one for at, one in enumerate(body) if at not in cut]
        if len(bare) >= LEFT:
            assert rows[number].tolist() == bare
        asked[number] = asked.get(number, 0) + 1
    assert all(count <= 2 for count in asked.values())
    for number, (_, body) in enumerate(texts):
        if number not in asked:
            assert rows[number].tolist() == body


def test_passages_of_one_document_share_a_title_and_the_first_answers():
    corpus = corpus_of([[5] * 6, [5] * 6, [6] * 6, [6] * 6], [[2, 3, 4, 5, 6, STOP, *range(2, 22)]] * 4)
    maker = PseudoQueries(corpus, frozenset({STOP}), CONTINUES, np.array([0, 0, 1, 2]))
    assert [maker.title(number) is not None for number in range(4)] == [True, False, False, False]
    assert [maker.of(number, "title") is not None for number in range(4)] == [True, False, False, False]
    assert [maker.of(number, "opening").kind for number in range(4)] == ["opening"] * 4


def taught_of(rows: list[dict[int, float]]) -> Taught:
    passages = np.full((len(rows), DEPTH), -1, dtype=np.int32)
    scores = np.zeros((len(rows), DEPTH), dtype=np.float32)
    for at, row in enumerate(rows):
        scores[at] = min(row.values())
        for place, passage in enumerate(sorted(row), start=DEPTH - len(row)):
            passages[at, place], scores[at, place] = passage, row[passage]
    return Taught(passages, scores)


@given(st.dictionaries(st.integers(0, 50), st.floats(-8, 8, width=32), min_size=1, max_size=20), st.integers(0, 50))
def test_the_teacher_knows_its_list_and_gives_all_others_its_least(row, passage):
    taught = taught_of([row])
    assert taught.of(0, np.array([passage]))[0] == np.float32(row.get(passage, min(row.values())))
    expected = 1 + sum(score > row[passage] for score in row.values()) if passage in row else DEPTH + 1
    assert taught.rank(0, passage) == expected


def examples_of(
    rows: list[dict[int, float]], owners: list[int], found: int = 20, margin: float = 0.0, words: float = 0.0
) -> PseudoExamples:
    bodies = [[2 + number, 3, 4, 5, 6, 7, 8, 9, STOP, *range(10, 30)] for number in range(len(owners))]
    corpus = corpus_of([[20 + number] * 6 for number in range(len(owners))], bodies)
    maker = PseudoQueries(corpus, frozenset({STOP}), CONTINUES, np.arange(len(owners)))
    queries = [maker.title(number) for number in range(len(rows))]
    settings = Pseudo(found=found, margin=margin, words=words, fewest=1)
    examples = PseudoExamples(corpus, [one for one in queries if one], np.array(owners), settings)
    examples.keep_found(taught_of(rows))
    return examples


def test_the_teacher_scores_the_batch_and_takes_back_negatives_it_ranks_above_the_answer():
    rows = [{0: 5.0, 1: 7.0, 2: 1.0}, {1: 6.0, 2: 2.0}, {2: 4.0, 0: 3.0}]
    examples = examples_of(rows, owners=[0, 1, 1])
    batch = collate([examples.pair(number, 0, 0) for number in range(3)])
    batch = examples.with_teacher(batch, [0, 1, 2])
    assert batch.documents == [0, 1, 2]
    assert batch.listed_BC[:, 0].tolist() == [0, 1, 2]  # the answer stands first, as objectives expect
    assert batch.listed_BC.tolist() == [[0, 1, 2], [1, 0, -1], [2, 0, -1]]  # 1 and 2 are of one document
    assert batch.teacher_BC[0].tolist() == [5.0, 7.0, 1.0]
    assert batch.teacher_BC[1][:2].tolist() == [6.0, 2.0]  # 0 is not in the list: its least
    assert batch.excluded_BP.tolist() == [[False, True, False], [False, False, True], [False, True, False]]
    assert torch.equal(batch.target_B, torch.tensor([0, 1, 2]))


def test_what_the_teacher_scores_nearly_as_high_as_the_answer_is_no_negative():
    examples = examples_of([{0: 7.0, 1: 5.0, 2: 1.0}, {1: 6.0}, {2: 4.0}], owners=[0, 1, 2], margin=3.0)
    batch = examples.with_teacher(collate([examples.pair(number, 0, 0) for number in range(3)]), [0, 1, 2])
    assert batch.excluded_BP[0].tolist() == [False, True, False]


def test_what_words_tell_already_stands_beside_the_cosines():
    rows = [{0: 5.0, 1: 1.0}, {1: 6.0}]
    plain, beside = (examples_of(rows, owners=[0, 1], words=words, margin=0.0) for words in (0.0, 2.0))
    beside.spread = 0.1
    pairs = collate([plain.pair(number, 0, 0) for number in range(2)])
    assert plain.with_teacher(pairs, [0, 1]).beside_BP is None
    found = beside.with_teacher(pairs, [0, 1]).beside_BP
    bodies = [beside.corpus.bodies[number] for number in range(2)]
    wanted = np.stack([WordScores(bodies).shares(query.ids) for query in beside.queries]) * 2.0 * 0.1
    assert found.numpy() == pytest.approx(wanted, abs=1e-6)
    query = functional.normalize(torch.arange(6.0).reshape(2, 3), dim=1)
    contrast = InBatch().contrast(replace(pairs, beside_BP=found), query, query)
    assert torch.allclose(scores(contrast), query @ query.T + found)


@given(st.lists(st.lists(tokens, max_size=30), min_size=1, max_size=8), st.lists(tokens, max_size=9))
def test_words_score_by_bm25_as_a_share_of_what_could_be(bodies, query):
    asked, count = set(query), len(bodies)
    mean = max(1.0, sum(map(len, bodies)) / count)

    def idf(token):
        held = sum(token in body for body in bodies)
        return math.log(1 + (count - held + 0.5) / (held + 0.5))

    def bm25(body):
        return sum(
            idf(token) * body.count(token) * 2.2 / (body.count(token) + 1.2 * (0.25 + 0.75 * len(body) / mean))
            for token in asked
        )

    every, full = [bm25(body) for body in bodies], sum(map(idf, asked))
    root = math.sqrt(max(every) * full) or 1.0
    found = WordScores([np.array(body, dtype=np.int32) for body in bodies]).shares(np.array(query, dtype=np.int32))
    assert found == pytest.approx([score / root for score in every])


@given(st.floats(0, 1), st.integers(0, 20))
def test_a_share_of_the_loss_has_words_beside_the_cosines(share: float, seed: int):
    rows = torch.nn.functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(seed)), dim=1)
    beside = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed))
    excluded = torch.zeros(3, 4, dtype=torch.bool)
    contrast = Contrast(rows[:3], rows[3:], torch.arange(3), excluded, beside_BP=beside)
    alone = InfoNCE(0.1)(replace(contrast, beside_BP=None))
    both = info_nce(rows[:3] @ rows[3:].T + beside, torch.arange(3), excluded, 0.1)
    assert float(InfoNCE(0.1, beside=share)(contrast)) == pytest.approx(
        float(share * both + (1 - share) * alone), rel=1e-5
    )


@given(st.integers(0, 50), st.integers(2, 12))
def test_pseudo_queries_are_also_ranked_as_the_engine_fuses(seed: int, count: int):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count + 1, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    passages = [generator.integers(2, 9, size=generator.integers(1, 8)).astype(np.int32) for _ in range(count)]
    query = generator.integers(2, 12, size=3).astype(np.int32)
    words = WordScores(passages)
    documents = np.sort(generator.permutation(100)[:count])
    ((found, scores),) = fused_rankings(rows[-1:], rows[:-1], documents, [query], words)
    cosines = rows[:-1] @ rows[-1]
    shares = words.shares(query)
    full = 1 / float(shares.max()) if shares.any() else 0.0  # best × full is then 1: the shares as they are
    pool = Pool(documents, cosines, shares.astype(np.float32), full)
    expected = standard(pool, float(cosines.mean(dtype=np.float64)), float(cosines.std(dtype=np.float64)))
    assert scores == pytest.approx(expected.score_of(found), abs=1e-3)
    assert (np.diff(scores) <= 1e-6).all()


def test_a_query_that_does_not_find_its_passage_is_dropped():
    examples = examples_of([{0: 1.0, 1: 2.0, 2: 3.0}, {1: 9.0}], owners=[0, 1, 2], found=2)
    assert [query.passage for query in examples.queries] == [1]
    assert len(examples.taught) == 1
    with pytest.raises(UsageError, match="nothing to learn from"):
        examples_of([{1: 2.0}], owners=[0, 1], found=5)


def test_only_a_gain_beyond_chance_passes_the_gate_without_labels():
    before = {str(number): 0.5 for number in range(40)}
    better = {key: 0.5 + (0.2 if int(key) % 4 else -0.05) for key in before}
    noise = {key: 0.5 + (0.2 if int(key) % 2 else -0.19) for key in before}
    assert judge_gain((before, better)).kept
    assert not judge_gain((before, noise)).kept
    assert not judge_gain((before, before)).kept
    worse = dict.fromkeys(before, 0.4)
    gained = judge_gain((before, better))
    assert not judge_also(gained, before, worse).kept
    assert judge_also(gained, worse, before).kept


def test_by_meaning_and_with_words_together_must_gain_and_neither_may_lose():
    before = {str(number): 0.5 for number in range(40)}
    better = dict.fromkeys(before, 0.6)
    little_less, less = dict.fromkeys(before, 0.497), dict.fromkeys(before, 0.49)
    assert judge_gain((before, better), (before, little_less)).kept
    assert judge_gain((before, little_less), (before, better)).kept
    refused = judge_gain((before, better), (before, less))
    assert not refused.kept
    assert "with words 0.5000 → 0.4900" in refused.reason
    assert not judge_gain((before, less), (before, better)).kept
    # half of the gain of one alone may be chance
    noisy = {key: 0.5 + (0.16 if int(key) % 2 else -0.13) for key in before}
    assert not judge_gain((before, noisy), (before, before)).kept


@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_asks_every_query_once_and_neighbours_stand_together(cluster, seed, epoch):
    rows = [{number: 9.0, (number + 1) % 6: 5.0, (number + 2) % 6: 4.0} for number in range(6)]
    examples = examples_of(rows, owners=list(range(6)))
    examples.settings = Pseudo(cluster=cluster)
    order = examples.order(seed, epoch)
    assert sorted(order.tolist()) == list(range(6))
    assert order.tolist() == examples.order(seed, epoch).tolist()
    if cluster == 3:  # whole clusters: a query, and the two that its ranking names next
        starts = [
            at for at in range(4) if [(order[at] + 1) % 6, (order[at] + 2) % 6] == order[at + 1 : at + 3].tolist()
        ]
        assert starts


@given(st.integers(1, 200_000))
def test_enough_is_set_aside_to_see_a_gain_and_most_is_left_to_learn_from(documents):
    aside = documents * aside_share(documents)
    assert aside <= documents / 2
    assert aside >= min(50, documents / 2) - 1e-6
    assert aside >= 250 - 1e-6 or aside <= max(50, documents / 5) + 1e-6
    assert documents < 1250 or aside >= 250 - 1e-6
