"""Small BEIR folders, written on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from benchmarks.beir import open_dataset
from indexer.errors import DataError

DOCUMENTS = [
    {"_id": "d1", "title": "Apples", "text": "Apples grow on trees in the orchard."},
    {"_id": "d2", "title": "Submarines", "text": "A submarine dives below the surface of the sea."},
    {"_id": "d3", "title": "", "text": "Bread is baked from flour, water and yeast."},
    {"_id": "d4", "title": "Volcanoes", "text": "Molten rock rises and erupts as lava."},
]
QUERIES = [
    {"_id": "q1", "text": "fruit trees in an orchard"},
    {"_id": "q2", "text": "boat that dives below the sea"},
    {"_id": "q3", "text": "eruption of lava"},
]
HEADER = "query-id\tcorpus-id\tscore\n"
QRELS = HEADER + "q1\td1\t2\nq2\td2\t1\nq3\td4\t1\n"

Make = Callable[..., Path]


def jsonl(records: Iterable[object]) -> str:
    """Write one JSON value a line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def refusal(folder: Path, split: str = "test", **options: bool) -> str:
    """Return the sentence with which a folder is refused, checked to be one line."""
    with pytest.raises(DataError) as caught:
        open_dataset(folder, split, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def beir(tmp_path: Path) -> Make:
    """Write a BEIR folder; each part may be given as text, bytes or None (left out)."""

    def make(
        corpus: str | bytes | None = jsonl(DOCUMENTS),
        queries: str | bytes | None = jsonl(QUERIES),
        name: str = "tiny",
        **qrels: str | bytes | None,
    ) -> Path:
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        parts = {"corpus.jsonl": corpus, "queries.jsonl": queries}
        parts |= {f"qrels/{split}.tsv": text for split, text in ({"test": QRELS} | qrels).items()}
        for part, content in parts.items():
            if content is not None:
                (folder / part).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make
