"""A query gains the words of what it found first: RM3. Knows nothing of files.

Source: Abdul-Jaleel et al., "UMass at TREC 2004: Novelty and HARD", with the settings that Anserini made usual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from indexer.analysis import Term

READ = 10  # passages
WORDS = 10
SHARE = 0.5  # of the weight, for the words that were asked for


def rm3(terms: Sequence[Term], read: Sequence[Sequence[Term]], scores: Sequence[float]) -> Mapping[Term, float]:
    """Weigh a query's terms, and the ten that say most of the passages it found first.

    ``terms`` and, for each passage read, its own in order, repetitions included; ``scores`` are what BM25 gave these
    passages. A term counts in a passage by its share of the words there, and a passage by its share of the scores; stop
    words do not count. Half of the weight stays with the query, all weights sum to its length.
    """
    query = Counter(terms)
    found: dict[Term, float] = {}
    for words, score in zip(read, scores, strict=True):
        counted = Counter(term for term in words if not term.is_stop)
        for term, times in counted.items():
            found[term] = found.get(term, 0.0) + score * times / counted.total()
    # ties by the words themselves: the order of a set must decide nothing
    best = sorted(found.items(), key=lambda item: (-item[1], item[0].forms))[:WORDS]
    total = sum(weight for _, weight in best)
    if not total > 0:
        return query
    weights = {term: SHARE * times for term, times in query.items()}
    for term, weight in best:
        weights[term] = weights.get(term, 0.0) + (1 - SHARE) * query.total() * weight / total
    return weights
