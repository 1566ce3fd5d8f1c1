"""Which queries are lost, and what is shown of them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks.beir import open_dataset
from benchmarks.bench import bench
from benchmarks.cli import bench as command
from benchmarks.contest import System
from benchmarks.metrics import MEASURES
from benchmarks.report import ModeResult, Report
from benchmarks.worst import mark, sides, worst_queries, worst_text
from indexer.errors import SearchEngineError, UsageError

from .conftest import DOCUMENTS, QRELS, jsonl

BM25, DENSE, HYBRID = (System("", mode) for mode in ("bm25", "dense", "hybrid"))
FOUND = {"q1": ("d2", "d1"), "q2": ("d2",), "q3": ()}


def report(dataset="tiny", label="", **modes):
    """A report of given nDCG@10 values: mode → one value a query."""
    results = {}
    for mode, values in modes.items():
        by_query = dict(zip(FOUND, values, strict=True))
        results[mode] = ModeResult(dict.fromkeys(MEASURES, 0.0), dict.fromkeys(MEASURES, by_query), None)
    return Report(dataset, "test", "m", 4, 3, results, 1.0, None, label=label, lists=dict.fromkeys(modes, FOUND))


@pytest.fixture
def open_set(beir):
    folder = beir(test=QRELS + "q1\td2\t0\n")
    return lambda name: open_dataset(folder)


def test_hybrid_is_held_against_the_better_of_its_parts_query_by_query(open_set):
    found = worst_queries(
        [report(bm25=(1, 0.5, 0), dense=(0.5, 1, 0), hybrid=(0.25, 0.75, 0))], HYBRID, (BM25, DENSE), 9, open_set
    )
    assert [(lost.query, lost.winner.system, lost.loss) for lost in found] == [
        ("q1", "bm25", 0.75),
        ("q2", "dense", 0.25),
    ]


def test_no_more_than_asked_for_and_ties_by_name(open_set):
    reports = [report(name, dense=(1, 1, 0), hybrid=(0.5, 0.5, 0)) for name in ("two", "one")]
    sets = [(lost.dataset, lost.query) for lost in worst_queries(reports, HYBRID, (DENSE,), 3, open_set_of(open_set))]
    assert sets == [("one", "q1"), ("one", "q2"), ("two", "q1")]


def open_set_of(open_set):
    """Give the one data set under whatever name is asked for."""
    from dataclasses import replace

    return lambda name: replace(open_set(name), name=name)


def test_the_second_model_is_held_against_the_baseline(open_set):
    reports = [report(label="a", dense=(1, 1, 1)), report(label="b", dense=(1, 0.5, 1))]
    systems = [System("a", "dense"), System("b", "dense")]
    assert sides(systems, systems[0]) == (systems[1], (systems[0],))
    assert sides(systems, systems[1]) == (systems[0], (systems[1],))
    (lost,) = worst_queries(reports, systems[1], (systems[0],), 5, open_set)
    assert (lost.query, lost.winner.system, lost.loser.system) == ("q2", "a:dense", "b:dense")


def test_the_sides_are_chosen_by_the_modes_there_are():
    assert sides([HYBRID, BM25, DENSE], None) == (HYBRID, (BM25, DENSE))
    assert sides([BM25, DENSE], None) == (DENSE, (BM25,))
    with pytest.raises(UsageError, match="at least two --modes"):
        sides([DENSE], None)
    with pytest.raises(UsageError, match="no second model"):
        sides([BM25, System("a", "dense")], System("a", "dense"))
    a = [System("a", "dense"), System("a", "hybrid")]
    assert sides([BM25, *a], BM25)[0] == ("a", "hybrid")
    assert sides([BM25, a[0]], BM25)[0] == ("a", "dense")
    assert sides([*a, System("b", "hybrid"), System("b", "dense")], a[0])[0] == ("b", "dense")


def test_lists_show_rank_judgement_id_and_first_words(open_set):
    found = worst_queries([report(dense=(1, 0, 0), hybrid=(0.5, 0, 0))], HYBRID, (DENSE,), 1, open_set)
    assert worst_text(found, HYBRID, (DENSE,)).splitlines() == [
        "queries lost most by hybrid against dense (+ relevant, - judged not relevant)",
        "",
        "1. tiny q1, nDCG@10 -0.5000: fruit trees in an orchard",
        "   hybrid 0.5000, 1 of 1 relevant in the first 2",
        "      1 - d2  Submarines",
        "      2 + d1  Apples",
        "   dense 1.0000, 1 of 1 relevant in the first 2",
        "      1 - d2  Submarines",
        "      2 + d1  Apples",
    ]
    assert [mark(line) for line in found[0].loser.found] == ["-", "+"]


def test_a_document_without_title_is_shown_by_its_text_and_a_terminal_is_safe(beir):
    evil = {"_id": "d\x1b[1m", "title": " ", "text": "line\none\x1b]0;owned\x07 \u202etxet " + "word " * 50}
    folder = beir(
        corpus=jsonl([*DOCUMENTS, evil]), queries=jsonl([{"_id": "q1", "text": "a\x1b[2Jb\nc"}]), test="q1\td1\t1\n"
    )
    one = report(dense=(1, 0, 0), hybrid=(0, 0, 0))
    lists = {mode: {"q1": ("d\x1b[1m",)} for mode in one.results}
    found = worst_queries([with_lists(one, lists)], HYBRID, (DENSE,), 1, lambda name: open_dataset(folder))
    text = worst_text(found, HYBRID, (DENSE,))
    assert not set(text) & set("\x1b\x07\u202e\t")
    assert "line one" in text
    assert " …" in text
    assert len(text.splitlines()) == 7


def with_lists(one, lists):
    from dataclasses import replace

    return replace(one, lists=lists)


def test_where_nothing_is_lost_it_says_so(open_set):
    assert worst_queries([report(dense=(1, 0, 0), hybrid=(1, 0, 0))], HYBRID, (DENSE,), 5, open_set) == []
    assert worst_text([], HYBRID, (BM25, DENSE)) == "no query on which hybrid ranks worse than bm25 or dense\n"


def test_a_report_keeps_what_each_query_found_first(beir):
    found = bench(beir(), modes=["bm25"]).lists["bm25"]
    assert found["q3"][0] == "d4"
    assert set(found) == {"q1", "q2", "q3"}


# the command


def test_the_command_shows_the_worst_after_the_table(beir):
    queries = jsonl(
        [{"_id": "q1", "text": "submarine"}, {"_id": "q2", "text": "a loaf"}, {"_id": "q3", "text": "lava"}]
    )
    folder = beir(queries=queries, test="query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td3\t1\nq3\td4\t1\n")
    done = CliRunner().invoke(command, [str(folder), "--modes", "dense,bm25", "--worst", "2"])
    assert done.exit_code == 0, done.output
    table, _, worst = done.stdout.partition("\n\nqueries lost most by bm25 against dense")
    assert table.startswith("tiny (test)")
    assert "1. tiny q2, nDCG@10 -1.0000: a loaf" in worst
    assert "+ d3  Bread is baked from flour, water and yeast." in worst


def test_with_json_on_stdout_the_worst_go_to_stderr(beir):
    done = CliRunner().invoke(command, [str(beir()), "--modes", "dense,bm25", "--worst", "1", "--json", "-"])
    assert json.loads(done.stdout)["dataset"] == "tiny"
    assert "no query on which bm25 ranks worse than dense" in done.stderr


def test_one_mode_alone_is_refused_before_encoding(beir, monkeypatch):
    monkeypatch.setattr("searchengine.api.index_documents", lambda *_, **__: pytest.fail("indexing began"))
    done = CliRunner().invoke(command, [str(beir()), "--modes", "dense", "--worst", "1"])
    assert isinstance(done.exception, SearchEngineError)
