"""nDCG@10, R@100, RR@10 and AP@1000 of a Run, by ir-measures and pytrec_eval behind it: trec_eval's own arithmetic.

nDCG has linear gains; a grade of 1 or more is relevant; a document without judgement is not.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from benchmarks.qrels import Qrels
from benchmarks.runs import Run

MEASURES = ("nDCG@10", "R@100", "RR@10", "AP@1000")
DEPTH = 1000  # how deep a ranking the measures look into


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of one run, 0 to 1: ``means`` by measure, ``queries`` by measure and query id."""

    means: dict[str, float]
    queries: dict[str, dict[str, float]]


def measure(run: Run, qrels: Qrels) -> Measured:
    """Measure a run: each value by query, and the mean over every query that the qrels judge.

    A judged query without hits, or without a relevant document, counts 0; a query without judgement does not count.
    The order of the ranking is what is measured, whatever its scores. Raises ValueError when nothing is judged.
    """
    import ir_measures

    if not qrels:
        raise ValueError("no query is judged")
    # pytrec_eval takes C strings: a lone surrogate in an id crashes the interpreter, a NUL ends the id. So it is given
    # numbers. And trec_eval sorts by score (32 bits), equal ones by id downwards: minus the rank is a score without
    # ties, so that it measures the order that the user saw.
    queries = {str(number): query for number, query in enumerate(qrels)}
    judged: Qrels = {}
    ranked: dict[str, dict[str, float]] = {}
    for number, query in queries.items():
        documents = [document for document, _ in run.rankings.get(query, [])[:DEPTH]]
        labels = {document: str(rank) for rank, document in enumerate(documents)}
        if labels:
            ranked[number] = {label: -float(label) for label in labels.values()}
        judged[number] = {
            labels.setdefault(document, str(len(labels))): grade for document, grade in qrels[query].items()
        }
    first_ten = {number: dict(itertools.islice(found.items(), 10)) for number, found in ranked.items()}
    # pytrec_eval has RR without a cutoff only: RR@10 is the RR of the first ten.
    full = [ir_measures.parse_measure(name) for name in MEASURES if name != "RR@10"]
    values: dict[str, dict[str, float]] = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    for found in ir_measures.pytrec_eval.iter_calc(full, judged, ranked):
        values[str(found.measure)][queries[found.query_id]] = float(found.value)
    for found in ir_measures.pytrec_eval.iter_calc([ir_measures.RR], judged, first_ten):
        values["RR@10"][queries[found.query_id]] = float(found.value)
    return Measured({name: sum(by_query.values()) / len(qrels) for name, by_query in values.items()}, values)
