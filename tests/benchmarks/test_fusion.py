"""The fusion study's own ways to fuse, on a pool small enough to reckon by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.asked import Asked
from benchmarks.fusion import WAYS, table
from benchmarks.metrics import Measured
from searchengine.hits import Candidates, Pool


def asked(cosines: list[float], bm25: list[float]) -> Asked:
    """Three passages at most: dense knows all, BM25 those with a score."""
    count = len(cosines)
    by_cosine, by_words = np.argsort(-np.array(cosines)), np.argsort(-np.array(bm25))[: sum(s > 0 for s in bm25)]
    dense = Candidates(by_cosine.astype(np.int64), np.array(cosines, np.float32)[by_cosine])
    lexical = Candidates(by_words.astype(np.int64), np.array(bm25, np.float32)[by_words])
    pool = Pool(np.arange(count), np.array(cosines, np.float32), np.array(bm25, np.float32), 4.0)
    vectors = np.eye(3, dtype=np.float32)[:count]
    return Asked(np.array([0.6, 0.8, 0.0], np.float32), dense, lexical, pool, vectors, lambda _: (0.1, 0.2))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_ranks_what_it_knows(way: str) -> None:
    found = WAYS[way](asked([0.6, 0.8, 0.0], [0.0, 2.0, 1.0]))
    assert found.passages[0] == 1, "best by both"
    assert sorted(found.passages.tolist()) == ([1, 2] if way == "BM25" else [0, 1, 2])
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_bears_a_query_without_words_and_an_empty_index(way: str) -> None:
    assert WAYS[way](asked([0.6, 0.8, 0.0], [0.0, 0.0, 0.0])).passages[:1].tolist() == ([] if way == "BM25" else [1])
    assert not len(WAYS[way](asked([], [])))


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("min-max 0.6, computed", [0.45, 1.0, 0.2]),
        ("theoretical min-max 0.8", [0.8 * 1.6 / 1.8, 1.0, 0.8 / 1.8 + 0.1]),
        ("standard, BM25 by best", [2.5, 7.5, 1.5]),
        ("standard, BM25 by full", [2.5, 5.5, 0.5]),
    ],
)
def test_scores_are_those_of_the_formula(way: str, expected: list[float]) -> None:
    found = WAYS[way](asked([0.6, 0.8, 0.0], [0.0, 2.0, 1.0]))
    assert found.score_of(np.arange(3)).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_table_names_the_worst_difference_to_the_better_part() -> None:
    values = dict.fromkeys(WAYS, 0.5) | {"dense": 0.4, "BM25": 0.6}
    measured = {
        "toy": {
            way: Measured({"nDCG@10": value, "R@100": value}, {"nDCG@10": {"q1": value, "q2": value}})
            for way, value in values.items()
        }
    }
    line = next(line for line in table(measured) if line.startswith("feedback  "))
    assert line.split()[1:] == ["0.5000/0.5000", "0.5000/0.5000", "-0.1000/-0.1000"]
