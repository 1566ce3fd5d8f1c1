"""Several models over several sets: names, the baseline, the table, and the command as a whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

import searchengine
from benchmarks import contest
from benchmarks.cli import bench as command
from benchmarks.contest import System
from benchmarks.metrics import MEASURES
from benchmarks.plots import draw_measures, draw_queries, write_plots
from benchmarks.report import Latency, ModeResult, Report
from benchmarks.runs import read_run
from indexer.encoders import pretrained
from indexer.errors import DataError, ModelError, SearchEngineError, UsageError

SYSTEMS = [System("", "bm25"), System("a", "dense"), System("b", "dense")]


def result(*values, latency=Latency(1.0, 2.0)):  # noqa: B008  # frozen
    by_query = {name: {f"q{n}": value for n, value in enumerate(values)} for name in MEASURES}
    return ModeResult(dict.fromkeys(MEASURES, sum(values) / len(values)), by_query, latency)


def report(dataset, label, dense, bm25=(0.0,)):
    bm25 = bm25 * len(dense) if len(bm25) == 1 else bm25
    results = {"bm25": result(*bm25), "dense": result(*dense)}
    return Report(dataset, "test", f"org/{label}", 9, len(dense), results, 1.0, None, label=label)


REPORTS = [
    report("one", "a", (0.5, 0.5, 0.5, 0.5)),
    report("one", "b", (1.0, 0.5, 0.5, 0.0)),
    report("two", "a", (0.25,)),
    report("two", "b", (0.75,)),
]


def test_a_model_is_named_by_its_last_part(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert contest.label_models(["default", "org/name", "/models/fine/", "."]) == {
        "default": pretrained.NAME,
        "name": "org/name",
        "fine": "/models/fine/",
        "here": ".",
    }


@pytest.mark.parametrize(
    ("names", "what"),
    [([], "no model given"), (["a/x", "b/x"], "two models are called x"), (["/"], "names no model")],
)
def test_models_that_cannot_be_told_apart_are_refused(names, what):
    with pytest.raises(UsageError, match=what):
        contest.label_models(names)


def test_bm25_is_one_system_whatever_the_models():
    assert contest.systems_of(["a", "b"], ["bm25", "dense"]) == SYSTEMS
    with pytest.raises(UsageError, match="asks no model"):
        contest.systems_of(["a", "b"], ["bm25"])


def test_the_baseline_is_the_first_dense_unless_one_is_named():
    assert contest.choose_baseline(None, SYSTEMS) == ("a", "dense")
    assert contest.choose_baseline(None, contest.systems_of("ab", ["bm25", "hybrid"])) == ("a", "hybrid")
    assert contest.choose_baseline("b:dense", SYSTEMS) == ("b", "dense")
    assert contest.choose_baseline("bm25", SYSTEMS) == ("", "bm25")
    with pytest.raises(UsageError, match="did you mean a:dense"):
        contest.choose_baseline("a:dens", SYSTEMS)
    with pytest.raises(UsageError, match="choose from bm25, a:dense, b:dense"):
        contest.choose_baseline("zzzzzzzzzz", SYSTEMS)


def test_the_difference_over_sets_is_that_of_their_plain_means():
    first, second = contest.compare_systems(REPORTS, SYSTEMS, System("a", "dense"))
    assert (first.a, second.a, second.b) == ("bm25", "b:dense", "a:dense")
    assert first.result.difference == pytest.approx(-(0.5 + 0.25) / 2)
    assert second.result.difference == pytest.approx((0.0 + 0.5) / 2)
    assert (second.result.wins, second.result.ties, second.result.losses) == (2, 2, 1)
    # The weights are 5/8 a query of `one` and 5/2 of `two`: ±5/16, ±5/16, ±5/4; 6 of 8 sign patterns reach 5/4.
    assert second.result.p == pytest.approx(0.75)


def test_the_table_has_a_row_for_each_system_and_ends_with_the_means():
    lines = contest.contest_text(REPORTS, SYSTEMS, System("a", "dense")).splitlines()
    assert lines[:5] == [
        "one (test): 9 documents, 4 queries",
        "         nDCG@10   R@100   RR@10  AP@1000  p50 ms  p95 ms",
        "bm25      0.0000  0.0000  0.0000   0.0000     1.0     2.0",
        "a:dense   0.5000  0.5000  0.5000   0.5000     1.0     2.0",
        "b:dense   0.5000  0.5000  0.5000   0.5000     1.0     2.0",
    ]
    assert lines[-8:-3] == [
        "mean of 2 data sets",
        "         nDCG@10   R@100   RR@10  AP@1000",
        "bm25      0.0000  0.0000  0.0000   0.0000",
        "a:dense   0.3750  0.3750  0.3750   0.3750",
        "b:dense   0.6250  0.6250  0.6250   0.6250",
    ]
    assert lines[-1].startswith("b:dense - a:dense: nDCG@10 +0.2500 [")


def test_pictures_show_the_systems_of_a_set_side_by_side(tmp_path):
    pytest.importorskip("matplotlib")
    drawn = contest.side_by_side(REPORTS, SYSTEMS)
    assert [(one.dataset, one.model, list(one.results)) for one in drawn] == [
        ("one", "a, b", ["bm25", "a:dense", "b:dense"]),
        ("two", "a, b", ["bm25", "a:dense", "b:dense"]),
    ]
    lines = draw_queries(drawn[0], "a:dense").axes[0].get_legend_handles_labels()
    assert lines[1] == ["bm25 - a:dense", "b:dense - a:dense"]
    assert list(lines[0][1].get_ydata()) == [0.5, 0.0, 0.0, -0.5]
    names = [path.name for path in write_plots(drawn, tmp_path, "a:dense")]
    assert names[:3] == [f"one.test.{kind}.png" for kind in ("measures", "latency", "queries")]
    assert len(names) == 6


def test_more_bars_than_have_room_go_without_figures():
    pytest.importorskip("matplotlib")
    few, many = ({f"m{n}": result(0.5) for n in range(count)} for count in (4, 5))
    drawn = [draw_measures(replace(REPORTS[0], results=results)).axes[0].texts for results in (few, many)]
    assert (len(drawn[0]), len(drawn[1])) == (4 * len(MEASURES), 0)


# the command


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """The built-in model in a folder of its own: another name, the same vectors."""
    folder = tmp_path_factory.mktemp("models") / "twin"
    shutil.copytree(pretrained.default_folder(), folder)
    return folder


def invoke(*words):
    done = CliRunner().invoke(command, [str(word) for word in words])
    if isinstance(done.exception, SearchEngineError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_a_kept_index_serves_its_own_model_again(beir, tmp_path, twin):
    words = [beir(), "--models", f"default,{twin}", "--modes", "dense", "--index", tmp_path / "indexes", "--json", "-"]
    invoke(*words)
    again = json.loads(invoke(*words).stdout)
    assert [entry["passages_encoded"] for entry in again["datasets"]] == [0, 0]


def test_two_models_over_two_sets_leave_a_file_each(beir, tmp_path, twin):
    pytest.importorskip("matplotlib")
    sets = beir(name="one"), beir(name="two")
    figures = tmp_path / "figures.json"
    done = invoke(
        *sets, "--models", f"default,{twin}", "--modes", "bm25,dense", "--index", tmp_path / "indexes",
        "--runs", tmp_path / "runs", "--json", figures, "--worst", "1", "--html", tmp_path / "out.html",
    )  # fmt: skip
    assert done.stdout.endswith("\nno query on which twin:dense ranks worse than default:dense\n")
    assert "Mean of 2 data sets" in (tmp_path / "out.html").read_text()
    assert "mean of 2 data sets" in done.stdout
    assert "twin:dense - default:dense: nDCG@10 +0.0000" in done.stdout
    pairs = {f"{name}.{label}" for name in ("one", "two") for label in ("default", "twin")}
    assert {path.name for path in (tmp_path / "indexes").iterdir()} == pairs
    expected = {f"{name}.test.{label}.{mode}.trec" for name, label in (pair.split(".") for pair in pairs)
                for mode in ("bm25", "dense")}  # fmt: skip
    assert {path.name for path in (tmp_path / "runs").iterdir()} == expected
    assert read_run(tmp_path / "runs" / "one.test.twin.dense.trec").name == "twin.dense"
    found = json.loads(figures.read_text())
    named = [(entry["dataset"], entry["label"], entry["model"]) for entry in found["datasets"]]
    assert named[1] == ("one", "twin", "twin")
    assert len(named) == 4
    assert f"--model {twin}" in found["datasets"][1]["command"]
    assert found["baseline"] == "default:dense"
    assert found["mean"]["twin:dense"] == dict.fromkeys(MEASURES, 1.0)
    assert [(entry["a"], entry["b"]) for entry in found["comparisons"]] == [
        ("bm25", "default:dense"),
        ("twin:dense", "default:dense"),
    ]


def test_one_of_models_is_as_model(beir):
    found = json.loads(invoke(beir(), "--models", "default", "--modes", "bm25", "--json", "-").stdout)
    assert "label" not in found
    assert found["dataset"] == "tiny"
    assert found["model"] == pretrained.NAME


class TestBeforeEncoding:
    @pytest.fixture(autouse=True)
    def never_encode(self, monkeypatch):
        monkeypatch.setattr("searchengine.api.index_documents", lambda *_, **__: pytest.fail("indexing began"))

    def test_model_and_models_exclude_each_other(self, beir):
        with pytest.raises(UsageError, match="give one of the two"):
            invoke(beir(), "--model", "default", "--models", "default")

    def test_a_baseline_needs_models(self, beir):
        with pytest.raises(UsageError, match="at least two with --models"):
            invoke(beir(), "--baseline", "default:dense")

    def test_a_later_model_that_is_not_there(self, beir, tmp_path):
        with pytest.raises(ModelError, match="no such folder"):
            invoke(beir(), "--models", f"default,{tmp_path / 'nowhere'}")

    def test_a_label_that_no_run_file_can_hold(self, beir, tmp_path):
        shutil.copytree(pretrained.default_folder(), tmp_path / "my model")
        with pytest.raises(DataError, match='the model\'s name "my model" cannot stand in a TREC run file'):
            invoke(beir(), "--models", f"{tmp_path / 'my model'},default", "--runs", tmp_path / "runs")


def test_indexes_are_not_put_inside_an_index(beir, tmp_path):
    documents = [searchengine.Document("d1", "text")]
    searchengine.index_documents(documents, tmp_path / "index", passages="whole").close()
    with pytest.raises(UsageError, match="a folder to keep indexes in"):
        invoke(beir(name="one"), beir(name="two"), "--index", tmp_path / "index")
