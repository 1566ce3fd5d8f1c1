"""A benchmark as one HTML page: whole, self-contained, and harmless whatever the texts hold."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from benchmarks.cli import bench as command
from benchmarks.contest import System
from benchmarks.page import page, table, write_page
from benchmarks.report import ModeComparison
from benchmarks.significance import compare
from benchmarks.worst import Found, LostQuery, ResultList
from indexer.errors import StorageError, UsageError

from .test_contest import REPORTS, SYSTEMS
from .test_report import report

pytest.importorskip("matplotlib")
MODES = [System("", "bm25"), System("", "dense")]
EVIL = '<script>alert("x")</script>&\x00\x1b\u202e'
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collect tags, attributes and text; fail where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def lost(text="which one?"):
    sides = [ResultList(text, value, (Found(text, text, 1), Found("d2", "x", 0), Found("d3", "y", None)), 2)
             for value in (1.0, 0.25)]  # fmt: skip
    return LostQuery(text, text, text, *sides)


def test_the_page_holds_tables_pictures_machine_and_commands():
    found = compare({"a": 0.5, "b": 0.5}, {"a": 0.25, "b": 0.5})
    machine = {"processor": "a fast one", "cores": 2, "python": "3.11", "libraries": {"torch": "2"}}
    one = report(
        notes=("a note",),
        comparisons=(ModeComparison("nDCG@10", "dense", "bm25", found, 1.0),),
        details={"machine": machine, "command": "searchengine bench tiny"},
    )
    read = Reader(page([one], MODES, None))
    assert "5,183 documents, 300 queries, all-MiniLM-L6-v2" in read.text
    assert "a fast one, 2 cores, Python 3.11; torch 2" in read.text
    for expected in ("Benchmark: tiny", "0.2500", "dense - bm25", "+0.1250", "a note", "searchengine bench tiny"):
        assert expected in read.text
    assert read.tags.count("img") == 3
    assert "Mean of" not in read.text
    assert "Queries lost" not in read.text


def test_several_models_are_compared_over_all_sets_first():
    read = Reader(page(REPORTS, SYSTEMS, SYSTEMS[1]))
    assert read.text.index("Mean of 2 data sets") < read.text.index("one (test)")
    assert "b:dense - a:dense" in read.text
    assert "a = org/a, b = org/b" in read.text


def test_nothing_is_fetched_and_nothing_runs():
    text = page([report()], MODES, None, [lost()])
    read = Reader(text)
    assert not {"script", "link", "iframe", "object", "form"} & set(read.tags)
    sources = [value for name, value in read.attributes if name in ("src", "href", "srcset")]
    assert sources
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_every_text_is_escaped(monkeypatch):
    monkeypatch.setattr("benchmarks.page.draw_report", lambda *_: {})  # matplotlib warns of glyphs that no font has
    one = report(EVIL, notes=(EVIL,), label=EVIL, details={"command": EVIL})
    text = page([one], [System(EVIL, "dense")], None, [lost(EVIL)])
    assert "script" not in Reader(text).tags
    assert not set(text) & set("\x00\x1b\u202e")
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;\ufffd\ufffd\ufffd" in text


def test_lost_queries_stand_with_both_lists():
    read = Reader(page([report()], MODES, None, [lost()]))
    assert "1. which one?" in read.text
    assert "nDCG@10 -0.7500" in read.text
    assert read.tags.count("caption") == 2
    assert [value for name, value in read.attributes if value == "relevant"] == ["relevant"] * 2
    assert "No query is lost." in page([report()], MODES, None, [])


def test_the_best_of_each_column_is_bold():
    text = table(["", "x", "ms"], [["a", "0.5000", "9"], ["b", "0.2500", "1"]], best=1)
    assert text.count('class="best"') == 1
    assert '<td class="best">0.5000</td>' in text


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(StorageError, match="a folder"):
        write_page([report()], MODES, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_page(beir, tmp_path):
    out = tmp_path / "out.html"
    done = CliRunner().invoke(command, [str(beir()), "--modes", "dense,bm25", "--worst", "3", "--html", str(out)])
    assert done.exit_code == 0, done.output
    assert f"written: {out}" in done.stderr
    read = Reader(out.read_text())
    assert "No query is lost." in read.text
    assert "searchengine bench" in read.text


class TestBeforeEncoding:
    @pytest.fixture(autouse=True)
    def never_encode(self, monkeypatch):
        monkeypatch.setattr("searchengine.api.index_documents", lambda *_, **__: pytest.fail("indexing began"))

    def test_a_place_that_takes_no_file(self, beir, tmp_path):
        done = CliRunner().invoke(command, [str(beir()), "--html", str(tmp_path / "nowhere" / "out.html")])
        assert isinstance(done.exception, StorageError)

    def test_no_matplotlib(self, beir, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
        done = CliRunner().invoke(command, [str(beir()), "--html", str(tmp_path / "out.html")])
        assert isinstance(done.exception, UsageError)
        assert "--html needs matplotlib" in str(done.exception)
