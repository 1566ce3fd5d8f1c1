"""Measure retrieval on a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv), once a mode.

python examples/evaluate_on_beir.py ../shared/data/scifact
"""

from __future__ import annotations

import sys

from benchmarks.bench import bench

report = bench(sys.argv[1])
print(f"{report.dataset}/{report.split}: {report.documents} documents, {report.queries} queries")
for mode, result in report.results.items():
    print(f"{mode:>7}  " + "  ".join(f"{measure} {value:.3f}" for measure, value in result.means.items()))
