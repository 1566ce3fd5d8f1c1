"""Programs are started, timed and weighed; peers answer by one protocol; a made index is the same whatever its size."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import drive
from benchmarks.peers.protocol import Hits, serve
from benchmarks.peers.quality import table as quality_table
from benchmarks.speed import sizes
from indexer.errors import UsageError


class Words:
    """A peer that counts shared words."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        (folder / "texts.json").write_text(json.dumps(dict(zip(ids, texts, strict=True))))

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        texts = json.loads((folder / "texts.json").read_text())

        def ask(text: str, k: int) -> Hits:
            shared = {one: float(len(set(text.split()) & set(held.split()))) for one, held in texts.items()}
            return sorted(shared.items(), key=lambda item: -item[1])[:k]

        return ask


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, object]]]:
    def tell(*words: object) -> list[dict[str, object]]:
        monkeypatch.setattr(sys, "argv", ["peer", *map(str, words)])
        serve(Words())
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return tell


def test_a_peer_indexes_and_answers_by_the_protocol(
    told: Callable[..., list[dict[str, object]]], tmp_path: Path
) -> None:
    corpus, queries = tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl"
    lines = [
        {"_id": "a", "title": "honey", "text": "oven tide"},
        {"_id": "b", "text": "oven"},
        {"_id": "c", "text": ""},
    ]
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    queries.write_text('{"_id": "q", "text": "honey oven"}\n{"_id": "r", "text": "tide"}\n')
    (indexed,) = told("index", corpus, tmp_path / "made", tmp_path, "--documents", 2)
    assert indexed["documents"] == 2
    (answer,) = told("query", tmp_path / "made", tmp_path, "honey oven")
    assert answer["hits"] == [["a", 2.0], ["b", 1.0]]
    answers = told("ask", tmp_path / "made", tmp_path, queries, "-k", 1)
    assert [(one["_id"], one["hits"]) for one in answers] == [("q", [["a", 2.0]]), ("r", [["a", 1.0]])]


def test_a_program_is_weighed_alone() -> None:
    small, large = (drive.run([sys.executable, "-c", f"x = b'x' * {size}"]) for size in (1, 1 << 28))
    assert large.peak_bytes - small.peak_bytes == pytest.approx(1 << 28, rel=0.2)


def test_a_program_that_fails_is_told_by_its_last_words() -> None:
    with pytest.raises(UsageError, match="no such thing"):
        drive.run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_without_the_peers_environment_one_is_told_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "ENVIRONMENT", tmp_path)
    with pytest.raises(UsageError, match="make peers"):
        drive.ask_peer("txtai", "query", tmp_path, "anything")


def test_every_peer_has_its_program() -> None:
    folder = Path(drive.__file__).parent
    assert all((folder / f"{program}.py").exists() for program in drive.PEERS.values())


def test_the_ratio_is_of_means_to_our_hybrid() -> None:
    figures = {
        system: {"x": {"nDCG@10": value, "R@100": 0.5}, "y": {"nDCG@10": value + 0.2, "R@100": 0.5}}
        for system, value in {"bm25s": 0.1, "ours, hybrid": 0.3}.items()
    }
    _, peer, ours = quality_table(figures, ["x", "y"])
    assert (peer.split()[-1], ours.split()[-1]) == ("0.500", "1.000")
    assert "0.2000/0.5000" in peer


def test_a_made_passage_does_not_depend_on_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "COMMIT", 50)
    centres = np.eye(4, 16, dtype=np.float32)
    words = [[f"c{centre}"] for centre in range(4)]
    few, many = list(sizes.passages(70, centres, words)), list(sizes.passages(120, centres, words))
    assert (len(few), len(many)) == (70, 120)
    for one, other in zip(few, many, strict=False):
        assert one.document == other.document
        assert one.vectors.tolist() == other.vectors.tolist()
    vectors = np.concatenate([one.vectors for one in many]).astype(np.float64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=2e-3)
    homes = [int(next(word[1:] for word in one.document.text.split() if word[0] == "c")) for one in many]
    assert (np.argmax(vectors @ centres.T, axis=1) == homes).all()  # each lies nearest to the centre it borrows from
