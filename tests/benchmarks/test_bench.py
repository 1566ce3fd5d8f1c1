"""From a BEIR folder to figures, with the real engine."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import searchengine
from benchmarks.beir import open_dataset
from benchmarks.bench import TIMED_QUERIES, WARM_UP_QUERIES, bench, retrieve, time_searches
from benchmarks.cli import bench as command
from benchmarks.metrics import MEASURES, measure
from benchmarks.runs import read_run
from indexer.errors import DataError, SearchEngineError, StorageError, UsageError
from searchengine import Document

from .conftest import DOCUMENTS, QRELS, QUERIES, jsonl

MODES = ("bm25", "dense", "hybrid")


@pytest.fixture(autouse=True)
def stay_out(monkeypatch, tmp_path):
    """Keep temporary indexes where the test can see that they are gone."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def never_encode(monkeypatch):
    """Fail when indexing begins."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("indexing began")

    monkeypatch.setattr("searchengine.api.index_documents", refuse)


class Listener:
    """Keep what a task says."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: list[str] = []

    def start(self, task: str, total: int | None, unit: str) -> None:
        self.tasks.append(task)

    def advance(self, amount: int = 1, detail: str = "") -> None:
        pass

    def finish(self) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


def indexed(folder, place):
    documents = (Document(key=found.id, title=found.title, text=found.text) for found in open_dataset(folder).corpus)
    return searchengine.index_documents(documents, place, passages="whole")


def test_a_folder_becomes_a_report(beir, tmp_path):
    report = bench(beir())
    assert (report.dataset, report.split, report.documents, report.queries) == ("tiny", "test", 4, 3)
    assert tuple(report.results) == MODES
    for result in report.results.values():
        assert result.means == dict.fromkeys(MEASURES, 1.0)
        assert 0 < result.latency.p50 <= result.latency.p95
    assert report.index_seconds > 0
    assert report.passages_per_second > 0
    assert report.details["passages_encoded"] == 4
    assert [(found.a, found.b) for found in report.comparisons] == [
        ("dense", "bm25"), ("hybrid", "bm25"), ("hybrid", "dense")
    ]  # fmt: skip
    assert report.comparisons[0].result.ties == 3
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_figures_are_those_of_the_run_files(beir, tmp_path):
    folder = beir(test=QRELS.replace("q2\td2", "q2\td3"))
    report = bench(folder, runs=tmp_path / "new" / "runs")
    assert sorted(path.name for path in (tmp_path / "new" / "runs").iterdir()) == [
        f"tiny.test.{mode}.trec" for mode in MODES
    ]
    qrels = open_dataset(folder).qrels
    for mode, result in report.results.items():
        run = read_run(tmp_path / "new" / "runs" / f"tiny.test.{mode}.trec")
        assert run.name == mode
        assert measure(run, qrels).means == result.means
        assert result.means["nDCG@10"] < 1


def test_the_last_mode_is_measured_once_more_as_read_again(beir, tmp_path):
    report = bench(beir(), modes=("bm25", "dense"), rerank="late", rerank_depth=4, rerank_weight=1.0)
    assert list(report.results) == ["bm25", "dense", "dense+rerank"]
    assert report.details["rerank"] == "late"
    assert report.results["dense+rerank"].latency is not None
    again = report.lists["dense+rerank"]
    assert {query: set(found) for query, found in again.items()} == {
        query: set(found) for query, found in report.lists["dense"].items()
    }
    assert {(one.a, one.b) for one in report.comparisons} == {
        ("dense", "bm25"),
        ("dense+rerank", "bm25"),
        ("dense+rerank", "dense"),
    }


def test_a_kept_index_is_reused(beir, tmp_path):
    folder = beir()
    first = bench(folder, index=tmp_path / "index", modes=["dense"])
    second = bench(folder, index=tmp_path / "index", modes=["dense"])
    assert (first.details["passages_encoded"], second.details["passages_encoded"]) == (4, 0)
    assert second.passages_per_second is None
    assert second.results["dense"].means == first.results["dense"].means


def test_an_index_of_other_documents_is_refused_and_left_alone(beir, tmp_path):
    with searchengine.index_documents([Document("mine", "my own text")], tmp_path / "index", passages="whole"):
        pass
    with pytest.raises(DataError, match="the index holds 1 documents that tiny lacks"):
        bench(beir(), index=tmp_path / "index")
    with searchengine.open(tmp_path / "index") as searcher:
        assert searcher.count() == (1, 1)


def test_an_index_of_a_folder_is_refused_and_left_alone(beir, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "d1").write_text("my own text")
    searchengine.index(tmp_path / "docs", index=tmp_path / "index").close()
    with pytest.raises(DataError, match="give each data set an index of its own"):
        bench(beir(), index=tmp_path / "index")


def test_an_empty_query_scores_nothing_and_stops_nothing(beir):
    report = bench(beir(queries=jsonl([{"_id": "q1", "text": " "}, *QUERIES[1:]])))
    for result in report.results.values():
        assert result.queries["nDCG@10"] == {"q1": 0.0, "q2": 1.0, "q3": 1.0}
        assert result.means["nDCG@10"] == pytest.approx(2 / 3)


def test_with_empty_queries_alone_nothing_is_timed(beir):
    report = bench(beir(queries=jsonl({**query, "text": ""} for query in QUERIES)), modes=["bm25"])
    assert report.results["bm25"].latency is None
    assert report.results["bm25"].means["R@100"] == 0


def test_a_query_that_is_a_document_does_not_find_itself(beir, tmp_path):
    twin = {"_id": "q1", "title": "", "text": QUERIES[0]["text"]}
    chance = {"_id": "q2", "title": "", "text": "a boat that dives, quite another text"}
    folder = beir(corpus=jsonl([*DOCUMENTS, twin, chance]))
    with indexed(folder, tmp_path / "index") as searcher:
        for mode in MODES:
            rankings = retrieve(searcher, open_dataset(folder), mode).rankings
            assert "q1" not in [document for document, _ in rankings["q1"]]
            assert rankings["q1"][0][0] == "d1"
            assert "q2" in [document for document, _ in rankings["q2"]]


def test_rankings_descend_and_name_a_document_once(beir, tmp_path):
    folder = beir()
    with indexed(folder, tmp_path / "index") as searcher:
        for mode in MODES:
            for ranking in retrieve(searcher, open_dataset(folder), mode).rankings.values():
                scores = [score for _, score in ranking]
                assert scores == sorted(scores, reverse=True)
                assert len({document for document, _ in ranking}) == len(ranking) <= 4


def test_an_empty_document_is_kept_and_disturbs_nothing(beir):
    report = bench(beir(corpus=jsonl([*DOCUMENTS, {"_id": "e", "title": "", "text": ""}])))
    assert report.documents == 5
    assert report.notes == ("1 empty document kept",)
    assert all(result.means["RR@10"] == 1 for result in report.results.values())


def test_notes_reach_the_listener_and_the_report(beir):
    listener = Listener()
    report = bench(beir(test="q1\td1\t1\n"), modes=["bm25"], progress=listener)
    assert report.notes == ("2 queries of 3 without judgement in this split left out",)
    assert listener.notes[0] == f"tiny: {report.notes[0]}"
    assert "tiny bm25" in listener.tasks


def test_many_queries_are_timed_by_an_even_sample(beir, tmp_path):
    class Counter:
        calls: list[str] = []  # noqa: RUF012

        def search(self, text: str, **_: object) -> None:
            self.calls.append(text)

    number = 2 * TIMED_QUERIES + 1
    queries = jsonl({"_id": str(n), "text": f"query {n}"} for n in range(number))
    dataset = open_dataset(beir(queries=queries, test="".join(f"{n}\td1\t1\n" for n in range(number))))
    assert time_searches(Counter(), dataset, "bm25") is not None
    timed = Counter.calls[WARM_UP_QUERIES:]
    assert len(timed) == len(set(timed)) <= TIMED_QUERIES
    assert timed[:2] == ["query 0", "query 3"]


# what is refused before anything is encoded


@pytest.mark.usefixtures("never_encode")
class TestBeforeEncoding:
    def test_a_run_folder_that_takes_no_file(self, beir, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="no folder can be made there"):
            bench(beir(), runs=tmp_path / "file")

    def test_an_id_that_no_run_file_can_hold(self, beir, tmp_path):
        folder = beir(corpus=jsonl([*DOCUMENTS, {"_id": "a b", "text": "x"}]))
        with pytest.raises(DataError, match='the document id "a b" cannot stand in a TREC run file'):
            bench(folder, runs=tmp_path / "runs")

    def test_a_faulty_folder(self, beir):
        with pytest.raises(DataError, match='no split "dev"'):
            bench(beir(), split="dev")

    @pytest.mark.parametrize(
        ("modes", "what"),
        [([], "no mode given"), (["dens"], "did you mean dense"), (["x"], "choose from bm25, dense, hybrid")],
    )
    def test_a_mode_that_does_not_exist(self, beir, modes, what):
        with pytest.raises(UsageError, match=what):
            bench(beir(), modes=modes)

    def test_a_temporary_folder_that_cannot_be_made(self, beir, monkeypatch, tmp_path):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(StorageError, match=r"no temporary folder can be made.*--index"):
            bench(beir())

    @pytest.mark.parametrize("option", ["--json", "--runs", "--plots"])
    def test_an_output_that_cannot_be_written(self, beir, tmp_path, option):
        pytest.importorskip("matplotlib")
        (tmp_path / "file").touch()
        done = CliRunner().invoke(command, [str(beir()), option, str(tmp_path / "file" / "below")])
        assert isinstance(done.exception, StorageError)

    def test_two_sets_of_one_name(self, beir, tmp_path):
        done = CliRunner().invoke(command, [str(beir()), str(tmp_path / "elsewhere" / "tiny")])
        assert isinstance(done.exception, UsageError)

    def test_no_folder_is_a_usage_error(self):
        assert CliRunner().invoke(command, []).exit_code == 2


# the command


def invoke(*words):
    done = CliRunner().invoke(command, [str(word) for word in words])
    if isinstance(done.exception, SearchEngineError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_the_command_prints_a_table_and_writes_what_was_asked_for(beir, tmp_path):
    pytest.importorskip("matplotlib")
    folder, figures = beir(), tmp_path / "figures.json"
    done = invoke(
        folder, "--modes", "dense, bm25", "--json", figures, "--runs", tmp_path / "runs", "--plots", tmp_path / "plots"
    )
    assert done.stdout.startswith("tiny (test): 4 documents, 3 queries, ")
    assert f"written: {figures}, {tmp_path / 'runs'}, {tmp_path / 'plots'}" in done.stderr
    found = json.loads(figures.read_text())
    assert list(found["results"]) == ["dense", "bm25"]
    assert found["command"] == f"searchengine bench {folder} --split test --modes dense,bm25"
    assert {"machine", "fingerprint", "fusion", "notes"} <= found.keys()
    assert len(list((tmp_path / "plots").iterdir())) == 3


def test_json_on_stdout_stands_alone(beir):
    done = invoke(beir(test="q1\td1\t1\n"), "--modes", "bm25", "--json", "-")
    assert json.loads(done.stdout)["results"]["bm25"]["nDCG@10"] == 1.0
    assert "2 queries of 3 without judgement" in done.stderr


def test_several_folders_give_their_means_and_an_index_each(beir, tmp_path):
    done = invoke(beir(name="one"), beir(name="two"), "--modes", "bm25", "--index", tmp_path / "indexes")
    assert "mean of 2 data sets" in done.stdout
    assert sorted(path.name for path in (tmp_path / "indexes").iterdir()) == ["one", "two"]


def test_keep_first_is_passed_on(beir):
    folder = beir(corpus=jsonl([*DOCUMENTS, {"_id": "d1", "text": "again"}]))
    with pytest.raises(DataError, match="--keep-first"):
        invoke(folder)
    assert "1 document with an id seen before left out" in invoke(folder, "--keep-first", "--modes", "bm25").stderr
