"""Run: the ranked documents of each query, and TREC run files, the form in which other tools take and give them.

Knows nothing of qrels or of how the ranking came about.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lines import read_lines, shown
from benchmarks.outputs import write_whole
from indexer.errors import DataError

Ranking = list[tuple[str, float]]  # (document id, score), best first

# Tools split these files at ASCII white space; str.split() would also cut ids at a no-break space.
SPACE = re.compile(r"[ \t\v\f]+")
UNWRITABLE = re.compile("[ \t\n\v\f\r\x00\ud800-\udfff\ufeff]")  # a leading U+FEFF reads as a byte order mark


@dataclass(frozen=True, slots=True)
class Run:
    """What a retriever found: query id → its documents, best first, none twice. A query that found nothing has []."""

    name: str
    rankings: dict[str, Ranking]


def check_id(text: str, kind: str) -> None:
    """Raise DataError for an id that a TREC run file cannot hold: its columns stand apart by white space."""
    if not text or UNWRITABLE.search(text):
        raise DataError(f"the {kind} {shown(text)} cannot stand in a TREC run file: it is empty or holds white space")


def write_run(run: Run, path: str | Path) -> None:
    """Write "query Q0 document rank score tag" lines, ranks from 1, whole or not at all.

    Scores are written so that reading gives the same float64. A query with an empty ranking has no line.
    Raises DataError for an id with white space, a document twice in a ranking, or scores that are not finite and
    descending; StorageError when the file cannot be written.
    """
    check_id(run.name, "run name")
    with write_whole(Path(path)) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for query, ranking in run.rankings.items():
            check_id(query, "query id")
            seen: set[str] = set()
            previous = math.inf
            for rank, (document, given) in enumerate(ranking, 1):
                score = float(given)
                check_id(document, "document id")
                if document in seen:
                    raise DataError(f"query {shown(query)} of run {run.name} ranks {shown(document)} twice")
                if not math.isfinite(score) or score > previous:
                    raise DataError(f"query {shown(query)} of run {run.name}: score {score} follows {previous}")
                seen.add(document)
                previous = score
                file.write(f"{query} Q0 {document} {rank} {score!r} {run.name}\n")


def read_run(path: str | Path) -> Run:
    """Read a TREC run file, also another tool's, plain or .gz, its lines in any order.

    Documents are ranked by score; equal scores by the rank column, then by document id, so that one file always gives
    one ranking (trec_eval would order equal scores by id, downwards). The run is named by its last column.
    Raises DataError naming file and line.
    """
    path = Path(path)
    name = path.name.removesuffix(".gz")
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for number, line in read_lines(path):
        fields = SPACE.split(line.strip(" \t\v\f"))
        if len(fields) != 6:
            raise DataError(f"{path}:{number}: {len(fields)} columns; a run has 6 (query Q0 document rank score tag)")
        query, _, document, rank, score, name = fields
        try:
            place = (-float(score), int(rank))
        except ValueError as error:
            raise DataError(f"{path}:{number}: rank {shown(rank)} or score {shown(score)} is no number") from error
        if not math.isfinite(place[0]):
            raise DataError(f"{path}:{number}: the score {shown(score)} is not finite")
        documents = found.setdefault(query, {})
        if document in documents:
            raise DataError(f"{path}:{number}: query {shown(query)} ranks {shown(document)} twice")
        documents[document] = place
    rankings: dict[str, Ranking] = {}
    for query, documents in found.items():
        ordered = sorted(documents.items(), key=lambda item: (item[1], item[0]))
        rankings[query] = [(document, 0.0 - negated) for document, (negated, _) in ordered]  # 0.0 -: no -0.0
    return Run(name, rankings)
