"""Real text in the shapes that training takes: the sample folder, and a BEIR folder made of its questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import LIBRARY, ROOT
from trainer.encoder import TrainableEncoder, load_trainable
from trainer.sources import read_texts

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder of the sample documents, cut into paragraphs, each asked for by its first words."""
    folder = tmp_path_factory.mktemp("beir") / "library"
    (folder / "qrels").mkdir(parents=True)
    texts = [text for text in read_texts([LIBRARY]) if text.body]
    paragraphs = [
        (f"d{number}-{at}", text.title, " ".join(part.split()[:40]))
        for number, text in enumerate(texts)
        for at, part in enumerate(text.body.split("\n\n"))
        if len(part.split()) > 15
    ]
    paragraphs = paragraphs[:: -(-len(paragraphs) // 80)]
    corpus = [{"_id": key, "title": title, "text": text} for key, title, text in paragraphs]
    queries = [
        {"_id": f"q{number}", "text": " ".join(text.split()[3:10])} for number, (_, _, text) in enumerate(paragraphs)
    ]
    write(folder / "corpus.jsonl", corpus)
    write(folder / "queries.jsonl", queries)
    rows = [f"q{number}\t{key}\t1" for number, (key, _, _) in enumerate(paragraphs)]
    (folder / "qrels" / "train.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return folder


def write(file: Path, records: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@pytest.fixture(scope="session")
def encoder() -> TrainableEncoder:
    """The real default encoder, for tests that do not change its weights."""
    return load_trainable(None, device=torch.device("cpu"), tokens=2048, dropout=0.0)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
