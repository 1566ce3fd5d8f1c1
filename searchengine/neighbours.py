"""What answers a question resembles what else answers it: passages are lifted by those like them, found before them.

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from indexer.vectors import best
from searchengine.feedback import ask_again
from searchengine.fusion import DEFAULT, NEIGHBOURS, Weights
from searchengine.hits import Candidates, Pool

READ = 100
NEAREST = 3


def lifted(
    found: Candidates,
    pool: Pool,
    vectors: np.ndarray,
    alike: float,
    *,
    nearest: int = NEAREST,
    share: float = NEIGHBOURS,
) -> Candidates:
    """Lift each of the first READ passages found [u] towards those that resemble it and were found before it.

    ``pool`` holds the same passages with their vectors [u, D], of unit length. A passage gains from each of the
    ``nearest`` others most like it: ``share`` / ``nearest`` × how far that one is ahead × how alike the two are, 0 as
    much as any two passages of the index (whose mean cosine is ``alike``), 1 where they are the same. Passages of its
    own document are not asked, they would be the nearest. None loses and the first stays first, so that a question with
    a single answer keeps it. Where the encoder reads little of the query (the pool's ``trust``) little is gained.
    Source: score regularisation, Diaz, "Regularizing ad hoc retrieval scores", CIKM 2005, which smooths both ways.
    """
    rows = np.searchsorted(pool.passages, found.passages[:READ])
    count = len(rows)
    nearest = min(nearest, count - 1)
    if nearest < 1 or not alike < 1 or not share > 0:
        return found
    cosines = vectors[rows] @ vectors[rows].T
    own = np.arange(count) if pool.documents is None else pool.documents[rows]
    cosines[own[:, None] == own] = -1
    others = np.argpartition(-cosines, nearest - 1, axis=1)[:, :nearest]
    likeness = np.clip((np.take_along_axis(cosines, others, axis=1) - alike) / (1 - alike), 0, 1)
    scores = found.scores.astype(np.float64)
    ahead = np.maximum(scores[others] - scores[:count, None], 0)
    scores[:count] += share * pool.trust * (likeness * ahead).mean(axis=1)
    return Candidates(*best(found.passages, scores, len(found)))


def ask_and_lift(
    pool: Pool,
    vectors: np.ndarray,
    vector: np.ndarray,
    moments: Callable[[np.ndarray], tuple[float, float]],
    alike: float,
    weights: Weights = DEFAULT,
) -> Candidates:
    """Fuse a pool as the engine does by default: ``ask_again``, then ``lifted``; arguments as theirs."""
    found = ask_again(pool, vectors, vector, moments, weights)
    return lifted(found, pool, vectors, alike, share=weights.neighbours)
