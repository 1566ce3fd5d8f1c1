"""A report as a table, as JSON and as pictures."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.metrics import MEASURES
from benchmarks.plots import write_plots
from benchmarks.report import Latency, ModeComparison, ModeResult, Report, as_text, to_json
from benchmarks.significance import compare
from indexer.errors import UsageError


def result(value, latency=Latency(1.25, 20.5)):  # noqa: B008  # frozen
    by_query = {name: {"q1": value, "q2": value} for name in MEASURES}
    return ModeResult(dict.fromkeys(MEASURES, value), by_query, latency)


def report(name="tiny", rate: float | None = 1234.5, bm25=0.25, dense=0.5, **changes):
    results = changes.pop("results", None) or {"bm25": result(bm25), "dense": result(dense)}
    return Report(
        dataset=name,
        split="test",
        model="all-MiniLM-L6-v2",
        documents=5183,
        queries=300,
        results=results,
        index_seconds=1.5,
        passages_per_second=rate,
        **changes,
    )


def test_the_table_has_a_row_for_each_mode():
    assert as_text([report()]).splitlines() == [
        "tiny (test): 5,183 documents, 300 queries, all-MiniLM-L6-v2, 1,234 passages/s",
        "       nDCG@10   R@100   RR@10  AP@1000  p50 ms  p95 ms",
        "bm25    0.2500  0.2500  0.2500   0.2500     1.2    20.5",
        "dense   0.5000  0.5000  0.5000   0.5000     1.2    20.5",
    ]


def test_what_was_not_measured_is_a_dash():
    text = as_text([report(rate=None, results={"bm25": result(0.0, None)})])
    assert "nothing to encode" in text
    assert text.splitlines()[-1].endswith("-       -")


def test_several_sets_end_with_their_means():
    text = as_text([report("one", bm25=0.1, dense=0.4), report("two", bm25=0.3, dense=0.5)])
    assert text.splitlines()[-4:] == [
        "mean of 2 data sets",
        "       nDCG@10   R@100   RR@10  AP@1000",
        "bm25    0.2000  0.2000  0.2000   0.2000",
        "dense   0.4500  0.4500  0.4500   0.4500",
    ]


def test_a_comparison_is_one_line():
    found = compare({"a": 0.5, "b": 0.5}, {"a": 0.25, "b": 0.5})
    text = as_text([report(comparisons=(ModeComparison("nDCG@10", "dense", "bm25", found, 1.0),))])
    assert "dense - bm25: nDCG@10 +0.1250 [+0.0000, +0.2500], p 1.0000, 1 wins, 1 ties, 0 losses" in text


def test_json_has_the_fields_that_others_rely_on():
    found = json.loads(to_json([report(notes=("a note",), details={"fingerprint": "f"})]))
    assert found == {
        "dataset": "tiny",
        "split": "test",
        "model": "all-MiniLM-L6-v2",
        "documents": 5183,
        "queries": 300,
        "results": {
            mode: {**dict.fromkeys(MEASURES, value), "latency_ms": {"p50": 1.25, "p95": 20.5}}
            for mode, value in (("bm25", 0.25), ("dense", 0.5))
        },
        "index_seconds": 1.5,
        "passages_per_second": 1234.5,
        "comparisons": [],
        "notes": ["a note"],
        "fingerprint": "f",
    }


def test_json_of_several_sets_holds_each_and_the_means():
    found = json.loads(to_json([report("one", bm25=0.125), report("two", bm25=0.375)]))
    assert [entry["dataset"] for entry in found["datasets"]] == ["one", "two"]
    assert found["mean"]["bm25"] == dict.fromkeys(MEASURES, 0.25)


def test_plots_are_png_files(tmp_path):
    pytest.importorskip("matplotlib")
    written = write_plots([report("$a_b$"), report("two")], tmp_path / "new" / "plots")
    assert [path.name for path in written] == [
        f"{name}.test.{kind}.png" for name in ("$a_b$", "two") for kind in ("measures", "latency", "queries")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_plots_leave_out_what_they_have_no_figures_for(tmp_path):
    pytest.importorskip("matplotlib")
    written = write_plots([report(results={"bm25": result(0.0, None)})], tmp_path)
    assert [path.name for path in written] == ["tiny.test.measures.png"]


def test_without_matplotlib_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'searchengine\[bench\]'"):
        write_plots([report()], tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
