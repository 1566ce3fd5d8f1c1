"""Fusion weights learnt from judgements, on a real index: found where they help, refused where they do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import searchengine
from benchmarks.asked import Asked, ask_all
from indexer.backup import backup
from indexer.documents import Document
from indexer.errors import DamagedIndex, DataError, SearchEngineError, UsageError
from indexer.format import FUSION
from indexer.snapshot import Snapshot
from indexer.writer import Writer
from searchengine import Searcher
from searchengine.fusion import DEFAULT, Weights, weights_of
from searchengine.hits import Candidates, Pool
from tests.conftest import Command
from trainer.choice import choose
from trainer.sources import read_texts
from trainer.tune import (
    GRID,
    Judged,
    distance,
    gain_of,
    judged_in_files,
    judged_in_folder,
    measure_grid,
    ndcg,
    rank,
    reset,
    tune,
)


@pytest.fixture(scope="session")
def paragraphs(beir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of some eighty paragraphs of the sample folder. Tests that write copy it."""
    place = tmp_path_factory.mktemp("paragraphs") / "index"
    documents = (Document(key=text.key, title=text.title, text=text.body) for text in read_texts([beir]))
    searchengine.index_documents(documents, index=place, passages="whole").close()
    return place


@pytest.fixture
def index(paragraphs: Path, tmp_path: Path) -> Path:
    shutil.copytree(paragraphs, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture(scope="session")
def mixed(beir: Path) -> dict[str, str]:
    """Queries of two minds: the first words of one paragraph, and some of another."""
    texts = [text.body.split() for text in read_texts([beir])]
    return {
        f"q{at}": " ".join([*words[:7], *other[9:14]])
        for at, (words, other) in enumerate(zip(texts[::2], (texts[17:] + texts[:17])[::2], strict=True))
    }


def judged_by(place: Path, queries: dict[str, str], mode: str) -> Judged:
    """Call relevant what one retriever alone finds first: then that one is all that fusion should listen to."""
    with searchengine.open(place) as searcher:
        qrels = {query: {searcher.rank(text, 1, mode=mode).documents[0]: 1} for query, text in queries.items()}
    return Judged(queries, qrels, mode, place)


@pytest.fixture(scope="session")
def by_meaning(paragraphs: Path, mixed: dict[str, str]) -> Judged:
    return judged_by(paragraphs, mixed, "dense")


def first_hits(searcher: Searcher, queries: dict[str, str], fusion: str) -> list[list[tuple[str, float]]]:
    return [
        [(hit.document, hit.score) for hit in searcher.search(text, 5, fusion=fusion)]
        for text in list(queries.values())[:12]
    ]


# The arithmetic -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(grades=st.lists(st.integers(0, 3), min_size=1, max_size=30).filter(any), seed=st.integers(0, 50))
def test_ndcg_is_that_of_ir_measures(grades: list[int], seed: int) -> None:
    documents = np.arange(len(grades))
    order = np.random.default_rng(seed).permutation(len(grades))
    pool = Pool(documents, np.zeros(len(grades), np.float32), np.zeros(len(grades), np.float32), 1.0)
    asked = Asked(np.zeros(2), Candidates(documents, documents), Candidates(documents, documents), pool, documents, len)
    fused = Candidates(order, -np.arange(len(order), dtype=np.float32))
    found = ndcg(fused, asked, documents, np.array(grades)) / gain_of(np.sort(grades)[::-1])
    qrels = {"q": {str(at): grade for at, grade in enumerate(grades)}}
    run = {"q": {str(document): -float(place) for place, document in enumerate(order.tolist())}}
    expected = ir_measures.pytrec_eval.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    assert found == pytest.approx(expected)


def test_a_document_counts_once_by_its_best_passage_and_a_query_never_finds_itself() -> None:
    pool = Pool(np.array([10, 11, 12, 13]), np.zeros(4, np.float32), np.zeros(4, np.float32), 1.0)
    asked = Asked(np.zeros(2), None, None, pool, np.zeros((4, 2)), len)  # type: ignore[arg-type]
    fused = Candidates(np.array([13, 10, 11, 12]), np.array([4.0, 3, 2, 1]))
    documents, grades = np.array([1, 1, 2, 3]), np.array([0, 0, 1, 0])
    assert ndcg(fused, asked, documents, grades) == pytest.approx(1 / np.log2(4)), "3, 1, 2"
    assert ndcg(fused, asked, documents, grades, left_out=3) == pytest.approx(1 / np.log2(3)), "1, 2"


@settings(deadline=None)
@given(wanted=st.sampled_from([1.4, 2.8, 5.6, 11.0]))
def test_a_known_best_span_is_found_on_synthetic_pools(wanted: float) -> None:
    """Each query has a rival better by meaning and one better by words: the answer is first between two spans alone."""
    columns = []
    for low, high in ((wanted / 1.1, wanted * 1.1), (wanted / 1.05, 40), (0, wanted * 1.05)):
        # at a span of 2 s the answer scores s, its rival by meaning `low`, the one by words s + (s − high)
        pool = Pool(np.arange(3), np.array([0, low, -high], np.float32), np.array([1, 0, 2], np.float32), 2.0)
        vectors = np.column_stack([pool.cosines, np.zeros(3, np.float32)])
        asked = Asked(np.eye(2, dtype=np.float32)[0], None, None, pool, vectors, lambda _: (0.0, 1.0))  # type: ignore[arg-type]
        spans = [Weights(2 * weights.span, 0) for weights in GRID if weights.feedback == 0]
        columns.append([ndcg(rank(asked, w), asked, np.arange(3), np.array([1, 0, 0])) for w in spans])
    values = np.repeat(np.array(columns).T, 20, axis=1)
    settings_tried = [weights for weights in GRID if weights.feedback == 0]
    chosen = settings_tried[choose(values, np.array([distance(weights) for weights in settings_tried]))]
    assert chosen.span == wanted


def test_the_grid_holds_the_default_and_nothing_is_nearer_to_it() -> None:
    assert DEFAULT in GRID
    assert [weights for weights in GRID if distance(weights) == 0] == [DEFAULT]


def test_every_setting_ranks_as_the_engine_does_with_it(index: Path, by_meaning: Judged) -> None:
    """The matrix that a choice is made on is what `bench` would measure with those weights in the index."""
    some = Judged(dict(list(by_meaning.queries.items())[:12]), by_meaning.qrels, "some", index)
    for weights in (DEFAULT, Weights(1.0, 2.0)):
        names, values, _ = measure_grid(index, some, [weights])
        with Writer(index) as writer:
            writer.store_setting(FUSION, weights.as_dict())
        with searchengine.open(index) as searcher:
            for name, value in zip(names, values[0].tolist(), strict=True):
                (answer,) = some.qrels[name]
                found = searcher.rank(some.queries[name], 10).documents
                place = found.index(answer) + 1 if answer in found else None
                assert value == pytest.approx(0.0 if place is None else 1 / np.log2(place + 1))


def test_a_query_that_the_encoder_cannot_read_is_fused_as_the_engine_does(paragraphs: Path) -> None:
    texts = {"spelled": "мёд, улей и пчела: honey in the hive", "read": "honey in the hive"}
    with searchengine.open(paragraphs) as searcher, Snapshot(paragraphs).reading() as generation:
        asked = dict(ask_all(paragraphs, generation, texts))
        for name, text in texts.items():
            found, expected = rank(asked[name], DEFAULT), searcher.rank_passages(text)
            assert found.passages.tolist() == expected.passages.tolist()
            assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), abs=1e-5)
        assert asked["spelled"].pool.trust < asked["read"].pool.trust == 1


# On an index --------------------------------------------------------------------------------------------------------


def test_weights_follow_the_retriever_that_the_judgements_follow(index: Path, mixed: dict[str, str]) -> None:
    meaning, words = (tune(index, judged_by(index, mixed, mode), dry_run=True) for mode in ("dense", "bm25"))
    assert meaning.weights.span < DEFAULT.span < words.weights.span
    assert meaning.after > meaning.before
    assert words.after > words.before
    with searchengine.open(index) as searcher:
        assert searcher.weights() == DEFAULT, "a dry run stores nothing"


def test_learnt_weights_are_one_commit_that_searches_use_and_reset_takes_back(index: Path, by_meaning: Judged) -> None:
    before = searchengine.status(index)
    with searchengine.open(index) as searcher:
        plain = {
            fusion: first_hits(searcher, by_meaning.queries, fusion)
            for fusion in ("neighbours", "feedback", "convex", "rrf")
        }
        report = tune(index, by_meaning)
        assert report.kept, report.reason
        after = searchengine.status(index)
        assert after["generation"] == before["generation"] + 1
        assert weights_of({FUSION: after["fusion"]}) == report.weights == searcher.weights()
        tuned = {fusion: first_hits(searcher, by_meaning.queries, fusion) for fusion in plain}
        for fusion in ("neighbours", "feedback"):
            assert tuned[fusion] != plain[fusion], "the open searcher answers by the new weights"
        assert tuned["convex"] == plain["convex"]
        assert tuned["rrf"] == plain["rrf"]
        answered = sum(
            searcher.rank(text, 1).documents[0] in by_meaning.qrels[query] for query, text in by_meaning.queries.items()
        )
        assert answered / len(by_meaning.queries) > report.before
        assert reset(index)
        assert first_hits(searcher, by_meaning.queries, "feedback") == plain["feedback"]
        assert searchengine.status(index)["fusion"] is None
        assert not reset(index)


def test_learnt_weights_survive_optimise_backup_update_and_verify(index: Path, tmp_path: Path) -> None:
    with Writer(index) as writer:
        writer.store_setting(FUSION, Weights(2.0, 0.5).as_dict())
    searchengine.optimize(index)
    backup(index, tmp_path / "copy")
    for place in (index, tmp_path / "copy"):
        more = Document(key="more", title="", text="One more.")
        with searchengine.index_documents([more], index=place) as searcher:
            assert searcher.weights() == Weights(2.0, 0.5)
        assert searchengine.verify(place) == []


def test_a_rebuild_keeps_learnt_weights_with_the_same_encoder(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# Bees\n\nA swarm leaves with the old queen.\n")
    searchengine.index(tmp_path, jobs=1).close()
    with Writer(tmp_path / ".searchengine") as writer:
        writer.store_setting(FUSION, Weights(8.0, 1.0).as_dict())
    with searchengine.index(tmp_path, jobs=1, rebuild=True, passage_tokens=100) as searcher:
        assert searcher.weights() == Weights(8.0, 1.0)


def test_nothing_is_stored_where_other_weights_do_not_help(index: Path, by_meaning: Judged) -> None:
    """Judgements that the default answers already: there is nothing to learn, and the index stays as it was."""
    with searchengine.open(index) as searcher:
        right = {query: {searcher.rank(text, 1).documents[0]: 2} for query, text in by_meaning.queries.items()}
    before = searchengine.status(index)["generation"]
    report = tune(index, Judged(by_meaning.queries, right, "itself", index))
    assert (report.kept, report.weights, report.before) == (False, DEFAULT, 1.0)
    assert searchengine.status(index)["generation"] == before


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stored",
    [
        {"span": "4"},
        {"span": -1, "feedback": 1},
        {"span": 4, "feedback": None},
        {"span": 4, "feedback": 1, "neighbours": 2},
        [4, 1],
    ],
)
def test_damaged_weights_are_named_and_reset_mends_them(index: Path, stored: object) -> None:
    with Writer(index) as writer:
        writer.store_setting(FUSION, stored)
    with searchengine.open(index) as searcher:
        with pytest.raises(DamagedIndex, match="tune --reset"):
            searcher.search("bees")
        assert searcher.search("bees", fusion="rrf"), "what needs no weights answers still"
        assert reset(index)
        assert searcher.search("bees")


def refusal(error: type[SearchEngineError], index: Path, judged: Judged) -> str:
    with pytest.raises(error) as caught:
        tune(index, judged)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_judgements_that_the_index_cannot_answer_are_refused(paragraphs: Path, by_meaning: Judged) -> None:
    strange = {query: {f"other/{name}": 1 for name in grades} for query, grades in by_meaning.qrels.items()}
    message = refusal(DataError, paragraphs, Judged(by_meaning.queries, strange, "strange", Path("qrels.tsv")))
    assert "qrels.tsv judges" in message
    assert "'other/" in message or '"other/' in message
    few = dict(list(by_meaning.queries.items())[:9])
    few_qrels = {query: by_meaning.qrels[query] for query in few}
    assert "at least 10" in refusal(UsageError, paragraphs, Judged(few, few_qrels, "few", Path("qrels.tsv")))


def test_test_judgements_are_never_learnt_from(beir: Path) -> None:
    with pytest.raises(UsageError, match="test judgements"):
        judged_in_folder(beir, "test")
    assert judged_in_folder(beir).origin == "library train"
    held = judged_in_folder(beir, "held-out")
    assert set(held.queries) < set(judged_in_folder(beir).queries)


def test_the_command_tunes_says_what_it_did_and_resets(
    command: Command, beir: Path, index: Path, by_meaning: Judged, tmp_path: Path
) -> None:
    queries, qrels = tmp_path / "queries.jsonl", tmp_path / "qrels.tsv"
    queries.write_text("".join(json.dumps({"_id": q, "text": t}) + "\n" for q, t in by_meaning.queries.items()))
    qrels.write_text("".join(f"{q}\t{name}\t1\n" for q, grades in by_meaning.qrels.items() for name in grades))
    assert judged_in_files(queries, qrels).qrels == by_meaning.qrels
    done = command("tune", "--index", index, "--queries", queries, "--qrels", qrels)
    assert done.returncode == 0, done.stderr
    assert "kept: better on queries that had no part in the choice" in done.stdout
    assert "learnt from" in command("status", "--index", index).stdout
    again = json.loads(command("tune", "--index", index, "--reset", "--json").stdout)
    assert again == {"reset": True}
    wrong = command("tune", beir, "--index", index, "--qrels", qrels)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
