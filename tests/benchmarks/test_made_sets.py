"""Sets made of manuals, code and articles: what answers a query is one text, and does not hold it as heading."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks import lexical
from benchmarks.beir import open_dataset
from benchmarks.made_sets import articles, code, manual, mixed, paired, write_pairs
from indexer.errors import DataError

FILLER = "Bees gather nectar from flowers and carry it home. " * 6
PAGE = f"""<html><body><div class="chapter"><div class="titlepage"><h1 class="title">Kapitel 2. Das Haus</h1></div>
<div class="toc"><p>2.1. Der Garten hinter dem Haus</p></div><p>Es steht. {FILLER}</p>
<div class="sect1"><div class="titlepage"><h2 class="title">2.1. Der Garten hinter dem Haus</h2></div>
<p>Er blüht. {FILLER}</p></div></div></body></html>"""
SOURCE = f'''
def bake(dough):
    """Bake a dough until it is done.

    Not asked for.
    """
    honey = "{FILLER}"
    return dough + honey


def undocumented():
    return "{FILLER}"
'''


def test_a_heading_asks_for_its_own_section_alone(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    found = dict(manual([tmp_path / "page.html"]))
    assert found.keys() == {"Das Haus", "Der Garten hinter dem Haus"}
    assert found["Das Haus"].startswith("Es steht.") and "blüht" not in found["Das Haus"]
    assert found["Der Garten hinter dem Haus"].startswith("Er blüht.")
    assert not any("Garten" in text for text in found.values())


def test_a_docstring_asks_for_its_function_without_it(tmp_path: Path) -> None:
    (tmp_path / "bread.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (", encoding="utf-8")
    ((said, body),) = code(tmp_path)
    assert said == "Bake a dough until it is done."
    assert body.startswith("def bake(dough):\n    honey =") and "asked" not in body and "undocumented" not in body


def test_what_could_be_two_answers_is_no_question() -> None:
    texts = [f"{number} {FILLER}" for number in range(4)]
    pairs = [("one heading", texts[0]), ("same heading", texts[1]), ("same heading", texts[2]), ("short text", "few")]
    pairs += [("other one", texts[3]), ("its twin", texts[3]), ("word", texts[3] + "more")]
    assert [(query, text) for _, query, text in paired(pairs)] == [("one heading", texts[0])]


def test_a_set_is_a_beir_folder_and_several_are_one(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as lines:
        for number in range(3):
            lines.write(
                json.dumps({"_id": "x", "title": f"Article {number} on bees", "text": f"{number} {FILLER}"}) + "\n"
            )
    write_pairs(tmp_path / "one", paired(articles(tmp_path / "a.jsonl.gz"), words=4))
    write_pairs(tmp_path / "two", [("7", "where is the honey", FILLER)])
    mixed(tmp_path / "both", [tmp_path / "one", tmp_path / "two"])
    both = open_dataset(tmp_path / "both")
    assert (len(both.corpus), len(both.queries)) == (4, 4)
    assert both.qrels["two-7"] == {"two-7": 1}
    with pytest.raises(DataError, match="nothing to make a set of"):
        write_pairs(tmp_path / "none", [])


def test_every_way_of_analysis_is_measured(tmp_path: Path) -> None:
    write_pairs(
        tmp_path / "de", [("1", "der Garten", f"Die Gärten blühen. {FILLER}"), ("2", "house", f"Houses. {FILLER}")]
    )
    found = lexical.measured(open_dataset(tmp_path / "de"), 1)
    assert found.keys() == lexical.WAYS.keys()
    assert found["title thrice"].means == found["title once"].means  # there are no titles
    assert all(measured.means["R@100"] >= 0.5 for measured in found.values())
