"""Position, wording and length, measured by the real engine on paragraphs of the sample folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.beir import open_dataset
from benchmarks.bench import bench
from benchmarks.cli import bench as command
from benchmarks.contest import System
from benchmarks.endpoint import Endpoint
from benchmarks.page import page
from benchmarks.perturb import WAYS
from benchmarks.positions import FILLERS, PLACES
from benchmarks.report import as_text, to_json
from benchmarks.robustness import Robust, composites, drawn_queries
from indexer.errors import UsageError
from tests.conftest import LIBRARY
from tests.endpoint import serving

from .conftest import HEADER, jsonl

SAMPLE = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty paragraphs; twelve are asked for by words from their midst, one of these with a second, lesser answer."""
    place = tmp_path_factory.mktemp("robust") / "paragraphs"
    (place / "qrels").mkdir(parents=True)
    texts = [
        paragraph
        for file in sorted(LIBRARY.rglob("*.md"))
        for paragraph in file.read_text().split("\n\n")
        if len(paragraph.split()) > 40
    ][:40]
    assert len(texts) == 40
    (place / "corpus.jsonl").write_text(
        jsonl({"_id": f"d{at}", "title": "", "text": text} for at, text in enumerate(texts))
    )
    asked = {f"q{at}": " ".join(texts[at].split()[8:18]) for at in range(0, 36, 3)}
    (place / "queries.jsonl").write_text(jsonl({"_id": key, "text": text} for key, text in asked.items()))
    rows = "".join(f"q{at}\td{at}\t2\n" for at in range(0, 36, 3))
    (place / "qrels" / "test.tsv").write_text(f"{HEADER}{rows}q0\td1\t1\n")
    return place


@pytest.fixture(scope="module")
def measured(folder: Path) -> tuple[dict[str, Any], str, str]:
    """One run: its JSON, its page and its text."""
    pytest.importorskip("matplotlib")
    with serving() as (url, handler):
        found = bench(folder, robust=Robust(SAMPLE, 0, Endpoint(url, "stub")))
        assert len(handler.asked) == SAMPLE
    shown = page([found], [System("", mode) for mode in found.results], None)
    return json.loads(to_json([found])), shown, as_text([found])


def by_key(effects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(effect["condition"], effect["mode"]): effect for effect in effects}


def test_every_way_place_and_mode_is_there(measured) -> None:
    found = measured[0]["robustness"]
    modes = ["bm25", "dense", "hybrid"]
    ways = ["as asked", *WAYS, "paraphrase"]
    assert list(by_key(found["wording"])) == [(way, mode) for way in ways for mode in modes]
    assert set(found["position"]) == {"whole", "structure"}
    for effects in found["position"].values():
        assert list(by_key(effects)) == [(place, mode) for place in PLACES for mode in modes]
    assert (found["queries"], found["seed"]) == (SAMPLE, 0)


def test_bm25_reads_a_bag_of_words(measured) -> None:
    """Neither order nor case nor, in a document taken whole, the answer's place can matter to it."""
    wording = by_key(measured[0]["robustness"]["wording"])
    for way in ("word order", "upper case", "no stop words", "paraphrase"):  # the stub turns the words round
        assert wording[way, "bm25"]["value"] == wording["as asked", "bm25"]["value"], way
        assert wording[way, "bm25"]["overlap"] == 1
    whole = by_key(measured[0]["robustness"]["position"]["whole"])
    assert len({whole[place, "bm25"]["value"] for place in PLACES}) == 1


def test_an_encoder_sees_the_start_of_a_long_document_alone_unless_it_is_split(measured) -> None:
    position = {passages: by_key(effects) for passages, effects in measured[0]["robustness"]["position"].items()}
    whole, split = position["whole"], position["structure"]
    assert whole["start", "dense"]["value"] > whole["end", "dense"]["value"] + 0.3
    assert split["end", "dense"]["value"] > whole["end", "dense"]["value"] + 0.3
    change = whole["end", "dense"]["difference"]["difference"]
    assert change == pytest.approx(whole["end", "dense"]["value"] - whole["start", "dense"]["value"])


def test_lengths_are_those_of_the_documents(measured, folder: Path) -> None:
    found = measured[0]["robustness"]["length"]
    dataset = open_dataset(folder)
    words = {document.id: len(document.text.split()) for document in dataset.corpus}
    relevant = [np.mean([words[document] for document in grades]) for grades in dataset.qrels.values()]
    for bias in found:
        assert bias["corpus"] == pytest.approx(np.mean(list(words.values())))
        assert bias["relevant"] == pytest.approx(np.mean(relevant))
        assert sum(count for _, count, _ in bias["quantiles"]) == len(dataset.queries)
        limits = [most for most, _, _ in bias["quantiles"]]
        assert limits == sorted(limits)
        assert limits[-1] == max(relevant)
        mean = sum(count * value for _, count, value in bias["quantiles"]) / len(dataset.queries)
        assert mean == pytest.approx(measured[0]["results"][bias["mode"]]["nDCG@10"])


def test_output_and_page_show_the_tables_and_a_picture(measured) -> None:
    _, page, output = measured
    for words in ("the answer's place", "wording", "length: mean words", "neighbour", "paraphrase"):
        assert words in output
        assert words.replace("'", "&#x27;") in page
    assert re.search(r'<img alt="paragraphs: robustness" src="data:image/png;base64,', page)


def test_composites_hold_each_answer_once_and_nothing_else_that_is_relevant(folder: Path) -> None:
    dataset = open_dataset(folder)
    asked = drawn_queries(dataset, 100, 0)
    qrels = {query: dataset.qrels[query] for query in asked}
    made, judged = composites(dataset, asked, qrels, 0)
    assert (made, judged) == composites(dataset, asked, qrels, 0), "a seed gives one set of documents"
    assert made != composites(dataset, asked, qrels, 1)[0]
    answers = {document.id: " ".join(document.text.split()) for document in dataset.corpus}
    assert set(judged) == set(asked)
    assert judged["q0"] == {"d0": 2}, "the lesser answer has no document of its own"
    for place, texts in made.items():
        for key, text in texts.items():
            parts = text.split("\n\n")
            assert len(parts) == FILLERS + 1
            at = {"start": 0, "middle": FILLERS // 2, "end": FILLERS}[place]
            assert answers[key].startswith(parts[at])
            others = [part for part in parts if any(answers[name].startswith(part) for name in ("d1", *made["start"]))]
            assert others == [parts[at]]


def test_a_sample_is_drawn_by_seed_from_queries_that_can_be_answered(folder: Path) -> None:
    dataset = open_dataset(folder)
    few = drawn_queries(dataset, 5, 3)
    assert few == drawn_queries(dataset, 5, 3)
    assert len(few) == 5
    assert few.keys() <= dataset.queries.keys()
    assert {frozenset(drawn_queries(dataset, 5, seed)) for seed in range(5)} != {frozenset(few)}


def test_an_endpoint_without_a_model_is_refused_before_anything_is_encoded(folder: Path) -> None:
    words = [str(folder), "--robustness", "--paraphrase", "http://127.0.0.1:9/v1"]
    with pytest.raises(UsageError, match="--paraphrase-model"):
        CliRunner().invoke(command, words, catch_exceptions=False)
