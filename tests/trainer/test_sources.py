"""What --data may name, and the sentence for each line that is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import searchengine
from indexer.errors import DataError, NothingToIndex, UsageError
from tests.conftest import LIBRARY
from trainer.sources import is_held_out, key_of, kind_of, read_labels, read_texts


def lines(file: Path, *records: object) -> Path:
    text = "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text, encoding="utf-8")
    return file


def test_a_folder_of_files_is_read_by_the_indexers_readers():
    assert kind_of(LIBRARY) == "files"
    texts = list(read_texts([LIBRARY]))
    names = {Path(text.key.partition("#")[0]).suffix for text in texts}
    assert {".md", ".pdf", ".docx"} <= names
    assert all(text.body for text in texts)


def test_an_index_gives_its_documents_back(library_index):
    assert kind_of(library_index.folder) == "index"
    stored = {text.key: text for text in read_texts([library_index.folder])}
    fresh = {Path(text.key.partition("#")[0]).name: text for text in read_texts([LIBRARY])}
    assert len(stored) == library_index.count()[0]
    for key, text in stored.items():
        words = fresh[Path(key).name].body.split() if Path(key).name in fresh else None
        if words is not None:
            assert set(text.body.split()) <= set(words)


def test_overlapping_passages_are_put_together_once(tmp_path):
    (tmp_path / "docs").mkdir()
    body = " ".join(f"word{number}" for number in range(600))
    (tmp_path / "docs" / "long.txt").write_text(body)
    with searchengine.index(tmp_path / "docs", passage_tokens=64, overlap=16) as searcher:
        (text,) = read_texts([searcher.folder])
    assert text.body.split() == body.split()


def test_a_beir_folder_gives_documents_and_labels(beir):
    assert kind_of(beir) == "beir"
    keys = {text.key for text in read_texts([beir])}
    labels = read_labels([beir])
    assert labels.train
    assert labels.dev
    assert not {label.text for label in labels.train} & {label.text for label in labels.dev}
    assert all(set(label.grades) <= keys for label in labels.train)
    assert "by hash" in labels.split


def test_a_dev_split_of_its_own_is_taken(beir, tmp_path):
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_bytes((beir / name).read_bytes())
    (tmp_path / "qrels").mkdir()
    rows = (beir / "qrels" / "train.tsv").read_text().splitlines()
    (tmp_path / "qrels" / "train.tsv").write_text("\n".join(rows[:20]) + "\n")
    (tmp_path / "qrels" / "dev.tsv").write_text("\n".join([rows[0], *rows[20:25]]) + "\n")
    (tmp_path / "qrels" / "test.tsv").write_text("never opened")
    labels = read_labels([tmp_path])
    assert (len(labels.train), len(labels.dev)) == (19, 5)


def test_pairs_triplets_and_scores(tmp_path):
    file = lines(
        tmp_path / "pairs.jsonl.gz",
        {"query": "one", "positive": "first answer", "kind": "ignored"},
        {"query": "two", "positive": ["a", "b"], "negatives": ["c"], "scores": [3, 2.5, 0.1]},
        {"query": "one", "positive": "second answer", "negative": "no answer"},
    )
    assert kind_of(file) == "pairs"
    labels = {label.text: label for label in (*read_labels([file], 0.0).train,)}
    assert set(labels["one"].grades) == {key_of("first answer"), key_of("second answer")}
    assert labels["one"].negatives == (key_of("no answer"),)
    assert labels["two"].teacher == {key_of("a"): 3.0, key_of("b"): 2.5, key_of("c"): 0.1}
    assert {text.body for text in read_texts([file])} == {"first answer", "a", "b", "c", "second answer", "no answer"}


def test_several_sources_keep_their_keys_apart(tmp_path):
    one = lines(tmp_path / "one.jsonl", {"_id": "1", "title": "A", "text": "first"})
    two = lines(tmp_path / "two.jsonl", {"_id": "1", "text": "second"})
    assert [text.key for text in read_texts([one])] == ["1"]
    assert len({text.key for text in read_texts([one, two])}) == 2


def test_labels_of_several_sources_find_their_own_documents(beir, tmp_path):
    pairs = lines(tmp_path / "pairs.jsonl", {"query": "q", "positive": "p", "negatives": ["n"]})
    keys = {text.key for text in read_texts([beir, pairs])}
    for label in read_labels([beir, pairs], 0.0).train:
        assert set(label.grades) | set(label.negatives) <= keys


def test_a_folder_of_jsonl_is_documents_and_pairs(tmp_path):
    lines(tmp_path / "a.jsonl", {"text": "a document"})
    lines(tmp_path / "b.jsonl.gz", {"query": "q", "positive": "an answer"})
    (tmp_path / "README.md").write_text("about")
    assert kind_of(tmp_path) == "jsonl"
    assert {text.body for text in read_texts([tmp_path])} == {"a document", "an answer"}
    assert [label.text for label in read_labels([tmp_path], 0.0).train] == ["q"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"query": "q"}, 'no "positive"'),
        ({"query": "", "positive": "p"}, "not empty"),
        ({"query": "q", "positive": [1]}, "list of texts"),
        ({"query": "q", "positive": "p", "scores": [1, 2]}, "1 numbers"),
        ({"query": "q", "positive": "p", "scores": ["high"]}, "1 numbers"),
        ('{"query": "q", ', "broken JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path, record, said):
    file = lines(tmp_path / "pairs.jsonl", {"query": "fine", "positive": "fine"}, record)
    with pytest.raises(DataError, match=said) as caught:
        read_labels([file])
    assert "pairs.jsonl:2" in str(caught.value)


def test_what_is_not_there_or_not_labelled_is_said(tmp_path):
    with pytest.raises(NothingToIndex, match="no such file"):
        kind_of(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither a document"):
        kind_of(lines(tmp_path / "odd.jsonl", {"name": "x"}))
    with pytest.raises(DataError, match="no line"):
        kind_of(lines(tmp_path / "empty.jsonl"))
    with pytest.raises(UsageError, match="no labelled query"):
        read_labels([LIBRARY])


def test_holding_out_is_by_hash_and_near_its_share():
    texts = [f"query number {number}" for number in range(4000)]
    share = sum(is_held_out(text, 0.1) for text in texts) / 4000
    assert 0.08 < share < 0.12
    assert all(is_held_out(text, 0.2) for text in texts if is_held_out(text, 0.1))
