"""Hard negatives: passages that retrieval puts near the top for a query and that do not answer it.

They stand in the batch beside everyone's positives; random ones are mixed in, since hard ones alone teach a model to
look no further. Mined by the engine's own retrieval (``mine.py``), filtered by ``Filter``.
Source: Xiong et al., ANCE, arXiv:2007.00808; the filter, Moreira et al., NV-Retriever, arXiv:2407.15831.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexer.errors import UsageError
from trainer.negatives.inbatch import InBatch

SOURCES = ("hybrid", "dense", "bm25", "both")


@dataclass(frozen=True, slots=True)
class Mined:
    """A query's mined negatives: document keys, best-ranked first, and each one's cosine with the query.

    ``fused``: what the hybrid ranking gave each, in standard deviations; the teacher of ``distill``. () of another one.
    """

    documents: tuple[str, ...]
    scores: tuple[float, ...]
    fused: tuple[float, ...] = ()


@dataclass(frozen=True)
class HardSettings:
    """``per_query`` negatives each visit, drawn from the ``pool`` best left of ranks ``range_min`` to ``range_max``.

    ``source``: which retrieval ranks; "both" takes dense and BM25 in turn. ``share``: leave out what scores above this
    share of the positive (0.95; above 1 none); ``margin``: or above the positive less this (0: not asked). ``random``:
    the chance that a negative is any document instead. ``refresh``: mine anew with the model in training every so many
    epochs, 0 never (ANCE).
    """

    per_query: int = 2
    source: str = "hybrid"
    range_min: int = 1
    range_max: int = 100
    pool: int = 30
    share: float = 0.95
    margin: float = 0.0
    random: float = 0.1
    refresh: int = 0

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UsageError(f"negatives.source: {self.source!r} (choose from {', '.join(SOURCES)})")
        if not 0 < self.range_min <= self.range_max <= 1000:
            raise UsageError(
                f"negatives: 1 ≤ range_min ≤ range_max ≤ 1000 is needed, not {self.range_min} and {self.range_max}"
            )
        if not 0 <= self.random <= 1 or not self.share > 0 or self.margin < 0:
            raise UsageError("negatives: random lies in 0 to 1, share above 0, margin at 0 or above")
        if self.per_query < 1 or self.pool < self.per_query or self.refresh < 0:
            raise UsageError("negatives: per_query is at least 1, pool at least per_query, refresh at least 0")


class Hard(InBatch):
    """Contrast with the batch, of which mined negatives are part."""

    settings: HardSettings


def allowed(scores: Sequence[float] | np.ndarray, positive: float, *, share: float, margin: float) -> np.ndarray:
    """Say which candidates may be negatives: those at or below the positive's score × share and − margin, bool [n].

    Scores and ``positive`` are cosines. With a positive at or below 0 a share has no meaning: nothing above it passes.
    A share above 1 and a margin of 0 leave nothing out.
    """
    values = np.asarray(scores, dtype=np.float64)
    limit = np.inf if share > 1 else positive * share if positive > 0 else positive
    return values <= (min(limit, positive - margin) if margin > 0 else limit)


def choose(mined: Mined, documents: int, settings: HardSettings, rng: np.random.Generator) -> list[int | str]:
    """Draw a visit's negatives: keys of mined documents, and numbers of random ones below ``documents``."""
    pool = mined.documents[: settings.pool]
    count = min(settings.per_query, len(pool)) if pool else 0
    chosen: list[int | str] = [pool[at] for at in rng.choice(len(pool), size=count, replace=False)] if count else []
    chosen += [int(number) for number in rng.integers(documents, size=settings.per_query - count)]
    at_random = rng.random(len(chosen)) < settings.random
    others = rng.integers(documents, size=len(chosen))
    return [int(other) if swap else one for one, swap, other in zip(chosen, at_random, others, strict=True)]
