"""How well the words of a query alone tell a passage: BM25 over token ids, as the share of a score that fusion counts.

The engine's own BM25 cannot be asked: it finds a title's passage by that very title. Knows nothing of encoders.
Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.batch import Ids

K1, B = 1.2, 0.75


class WordScores:
    """BM25 of n texts, each once; a text's number is its place in ``texts``."""

    def __init__(self, texts: Sequence[Ids]) -> None:
        lengths = np.array([len(ids) for ids in texts], dtype=np.float64)
        counted = [np.unique(ids, return_counts=True) for ids in texts]
        tokens = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in counted)])
        counts = np.concatenate([np.empty(0, np.int64), *(times for _, times in counted)])
        numbers = np.repeat(np.arange(len(texts)), [len(ids) for ids, _ in counted])
        order = np.argsort(tokens, kind="stable")
        self._tokens, first, held = np.unique(tokens[order], return_index=True, return_counts=True)
        self._bounds = np.append(first, len(order))
        self._numbers = numbers[order]
        self._idf = np.log1p((len(texts) - held + 0.5) / (held + 0.5))
        self._unknown = float(np.log1p((len(texts) + 0.5) / 0.5))
        norms = K1 * (1 - B + B * lengths / max(1.0, lengths.mean() if len(texts) else 1.0))
        times = counts[order].astype(np.float64)
        self._weights = np.repeat(self._idf, held) * times * (K1 + 1) / (times + norms[self._numbers])
        self._count = len(texts)

    def bm25(self, query: Ids) -> tuple[np.ndarray, float]:
        """Score every text by a query's different tokens, float64 [n], and tell the full score.

        That is what a text of average length with each token once would have.
        """
        scores = np.zeros(self._count)
        full = 0.0
        for token in np.unique(query):
            at = int(np.searchsorted(self._tokens, token))
            if at == len(self._tokens) or self._tokens[at] != token:
                full += self._unknown
                continue
            held = slice(self._bounds[at], self._bounds[at + 1])
            scores[self._numbers[held]] += self._weights[held]
            full += float(self._idf[at])
        return scores, full

    def shares(self, query: Ids) -> np.ndarray:
        """Score every text by a query's tokens: float64 [n], 0 where none of them is.

        Divided by the geometric mean of the best score and the full one: what ``searchengine.fusion.standard``
        multiplies by its span.
        """
        scores, full = self.bm25(query)
        best = float(scores.max(initial=0))
        return scores / np.sqrt(best * full) if best > 0 else scores
