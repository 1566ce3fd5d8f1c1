"""How hard a structure must look to reach a recall: measured on questions made from the shard, against an exact scan.

A stored vector used as a question finds itself and lies in the middle of its neighbours, which flatters every
structure. A real question lies outside. So a question is made of a passage's vector moved along two differences of
other passages (directions in which the corpus itself varies), and that passage is left out of the answer. Over 27,000
real passages such questions are as hard as five sets of real ones in the mean; two sets were harder, hence the margin.
docs/scale.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexer.vectors import Segment

QUESTIONS = 400
FIRST = 10  # the target is about the first ten
MOVED = 1.1  # how far a question moves from its passage, which is 1 long, along each difference
# Made questions may miss this share of what the target lets real ones miss.
MARGIN = 0.5
_BLOCK_ROWS = 16_384
_DEPTHS = (10, 20, 40, 80, 160, 320, 640, 1280)

# (question [D], depth, effort) → rows in the order of the codes
Search = Callable[[np.ndarray, int, int], np.ndarray]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was chosen, and the recall@10 measured with it; below the target where nothing reached it."""

    effort: int
    rerank: int
    recall: float
    questions: int


def make_questions(segment: Segment, count: int = QUESTIONS) -> tuple[np.ndarray, np.ndarray]:
    """Make questions of a segment's vectors: (float32 [m, D] of unit length, the row [m] that each was made of)."""
    rows = len(segment.passages)
    chance = np.random.default_rng(0)
    own = np.sort(chance.choice(rows, min(count, rows), replace=False))
    questions = segment.vectors(own)
    for _ in range(2):
        first, second = (chance.choice(rows, len(own)) for _ in range(2))
        questions += MOVED * _unit(segment.vectors(first) - segment.vectors(second))
    return _unit(questions), own


def _unit(rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return scaled


def nearest_rows(segment: Segment, questions: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Scan a segment exactly for each question's first ten live rows but its own: int64 [m, 10]."""
    import faiss

    alive = segment.alive()

    count = FIRST + 1
    scores = np.empty((len(questions), 0), np.float32)
    rows = np.empty((len(questions), 0), np.int64)
    for begin in range(0, len(alive), _BLOCK_ROWS):
        live = np.flatnonzero(alive[begin : begin + _BLOCK_ROWS])
        if not len(live):
            continue
        block = segment.block(begin, begin + _BLOCK_ROWS)[live].astype(np.float32)
        found, which = faiss.knn(questions, block, min(count, len(live)), metric=faiss.METRIC_INNER_PRODUCT)
        at = begin + live
        scores, rows = np.hstack([scores, found]), np.hstack([rows, at[which]])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    kept = np.array([line[line != mine][:FIRST] for line, mine in zip(rows, own, strict=True)], dtype=np.int64)
    return kept.reshape(len(questions), -1)


def efforts(parameter: str, most: int) -> list[int]:
    """List the efforts to try, lightest first; ``most``: the inverted lists or the rows there are."""
    if parameter == "nprobe":
        ladder = [round(1.2**power) for power in range(60)]
    elif parameter == "efSearch":
        ladder = [round(16 * 1.25**power) for power in range(30)]
    else:
        return [0]
    return sorted({min(effort, most) for effort in ladder})


def calibrate(
    search: Search,
    questions: np.ndarray,
    truth: np.ndarray,
    own: np.ndarray,
    target: float,
    ladder: list[int],
    cost: float,
) -> Calibration:
    """Find the cheapest effort and number of candidates to score again that reach a recall@10, with a margin.

    ``cost``: that of one step of effort, in candidates scored again. Scoring candidates again puts every true neighbour
    among them in its place, so that recall is the share of the truth [m, 10] among the first ``rerank`` candidates.
    """
    best = Calibration(ladder[-1], _DEPTHS[-1], 0.0, len(questions))
    cheapest, price = None, np.inf
    aimed = 1 - MARGIN * (1 - target)
    for effort in ladder:
        if effort * cost + _DEPTHS[0] >= price:
            break
        places = [
            _places(search(question, _DEPTHS[-1] + 1, effort), wanted, mine)
            for question, wanted, mine in zip(questions, truth, own, strict=True)
        ]
        for depth in _DEPTHS:
            recall = float(np.mean([np.mean(at < depth) for at in places]))
            if recall >= aimed and effort * cost + depth < price:
                cheapest, price = Calibration(effort, depth, recall, len(questions)), effort * cost + depth
            if recall > best.recall:
                best = Calibration(effort, depth, recall, len(questions))
    return cheapest or best


def _places(found: np.ndarray, wanted: np.ndarray, own: int) -> np.ndarray:
    """Tell at which place each wanted row was found, not counting the question's own; far beyond where it was not."""
    found = found[found != own]
    order = np.argsort(found, kind="stable")
    if not len(found):
        return np.full(len(wanted), np.iinfo(np.int64).max)
    at = np.minimum(np.searchsorted(found, wanted, sorter=order), len(found) - 1)
    return np.where(found[order[at]] == wanted, order[at], np.iinfo(np.int64).max)
