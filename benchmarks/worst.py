"""The queries lost most: where one system ranks worse than another, query by query, and what both found instead.

Knows reports and the data set's texts; nothing of how a ranking came about.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.beir import Dataset
from benchmarks.contest import System, results_of
from benchmarks.report import COMPARED, Report
from indexer.errors import UsageError
from searchengine.render import clean

WORDS_CHARACTERS = 72  # of a document's title or text that a line shows
FUSED = "hybrid"


@dataclass(frozen=True, slots=True)
class Found:
    """One line of a result list: the document, its first words, and its grade; None where nobody judged it."""

    document: str
    words: str
    grade: int | None

    @property
    def is_relevant(self) -> bool:
        """Whether somebody judged it and found it relevant."""
        return self.grade is not None and self.grade > 0


@dataclass(frozen=True, slots=True)
class ResultList:
    """What one system found first, its nDCG@10, and how many documents are relevant in all."""

    system: str
    value: float
    found: tuple[Found, ...]
    relevant: int


@dataclass(frozen=True, slots=True)
class LostQuery:
    """A query on which ``loser`` ranks worse than ``winner``."""

    dataset: str
    query: str
    text: str
    winner: ResultList
    loser: ResultList

    @property
    def loss(self) -> float:
        """By how much nDCG@10 is lower."""
        return self.winner.value - self.loser.value


def sides(systems: Sequence[System], baseline: System | None) -> tuple[System, tuple[System, ...]]:
    """Choose who is looked at and whom it is held against, query by query the better of those.

    With a baseline: the first other model, in the baseline's mode, or hybrid against BM25. Else hybrid against its
    parts; without hybrid the last mode against the others. Raises UsageError when there is nothing to hold it against.
    """
    if baseline is not None:
        others = [system for system in systems if system.label not in ("", baseline.label)]
        if not others:
            raise UsageError("--worst finds no second model (give another --baseline or more --models)")
        alike = [system for system in others if system.mode in (baseline.mode, FUSED)]
        return min(alike or others, key=lambda system: system.mode != baseline.mode), (baseline,)
    if len(systems) < 2:
        raise UsageError("--worst compares: give at least two --modes or two --models")
    loser = next((system for system in systems if system.mode == FUSED), systems[-1])
    return loser, tuple(system for system in systems if system != loser)


def worst_queries(
    reports: Sequence[Report],
    loser: System,
    winners: Sequence[System],
    count: int,
    open_set: Callable[[str], Dataset],
) -> list[LostQuery]:
    """Find the ``count`` queries of all reports on which ``loser`` is furthest below the best of ``winners``.

    The most lost first, ties by data set and query id; a query that is not lost is never listed. ``open_set`` gives
    the data set of a name: its texts and qrels are read for those sets alone that have a query in the list.
    """
    losing = results_of(reports, loser)
    winning = {system: results_of(reports, system) for system in winners}
    lost: list[tuple[float, str, str, System]] = []
    for dataset, result in losing.items():
        for query, value in result.queries[COMPARED].items():
            best = max(winners, key=lambda system: winning[system][dataset].queries[COMPARED][query])
            behind = value - winning[best][dataset].queries[COMPARED][query]
            if behind < 0:
                lost.append((behind, dataset, query, best))
    chosen = heapq.nsmallest(count, lost)
    sets = {name: open_set(name) for name in dict.fromkeys(entry[1] for entry in chosen)}
    texts = {name: words_of(dataset, reports, [query for _, d, query, _ in chosen if d == name])
             for name, dataset in sets.items()}  # fmt: skip

    def listed(system: System, name: str, query: str) -> ResultList:
        grades = sets[name].qrels[query]
        report = next(r for r in reports if r.dataset == name and system.label in ("", r.label))
        documents = report.lists[system.mode][query]
        return ResultList(
            str(system),
            results_of(reports, system)[name].queries[COMPARED][query],
            tuple(Found(document, texts[name].get(document, ""), grades.get(document)) for document in documents),
            sum(grade > 0 for grade in grades.values()),
        )

    return [
        LostQuery(name, query, sets[name].queries[query], listed(best, name, query), listed(loser, name, query))
        for _, name, query, best in chosen
    ]


def words_of(dataset: Dataset, reports: Sequence[Report], queries: Sequence[str]) -> dict[str, str]:
    """Read the first words of every document that these queries found, in one pass: id → title, else text."""
    wanted = {
        document
        for report in reports
        if report.dataset == dataset.name
        for by_query in report.lists.values()
        for query in queries
        for document in by_query[query]
    }
    return {
        key: shortened(found.title if found.title.strip() else found.text)
        for key, found in dataset.corpus.select(wanted).items()
    }


def shortened(text: str) -> str:
    """Take the first words of a text, on one line."""
    flat = " ".join(text[: 4 * WORDS_CHARACTERS].split())
    return flat if len(flat) <= WORDS_CHARACTERS else flat[: WORDS_CHARACTERS - 2].rstrip() + " …"


def mark(found: Found) -> str:
    """Mark a line: + relevant, - judged and not relevant, nothing where nobody judged."""
    return " " if found.grade is None else "+" if found.is_relevant else "-"


def worst_text(lost: Sequence[LostQuery], loser: System, winners: Sequence[System]) -> str:
    """Draw each lost query with both lists, safe for a terminal whatever the texts hold."""
    against = " or ".join(str(system) for system in winners)
    if not lost:
        return f"no query on which {one_line(str(loser))} ranks worse than {one_line(against)}\n"
    head = f"queries lost most by {loser} against {against} (+ relevant, - judged not relevant)"
    parts = [one_line(head)]
    for number, entry in enumerate(lost, 1):
        lines = [f"{number}. {entry.dataset} {entry.query}, {COMPARED} -{entry.loss:.4f}: {shortened(entry.text)}"]
        for side in (entry.loser, entry.winner):
            hits = sum(found.is_relevant for found in side.found)
            lines.append(
                f"   {side.system} {side.value:.4f}, {hits} of {side.relevant} relevant in the first {len(side.found)}"
            )
            width = max((len(one_line(found.document)) for found in side.found), default=0)
            lines += [
                f"   {rank:>4} {mark(found)} {one_line(found.document).ljust(width)}  {found.words}".rstrip()
                for rank, found in enumerate(side.found, 1)
            ]
        parts.append("\n".join(one_line(line) for line in lines))
    return "\n\n".join(parts) + "\n"


def one_line(text: str) -> str:
    """Make a text harmless to a terminal, and one line."""
    return clean(text).replace("\n", "\ufffd").replace("\t", "\ufffd")
