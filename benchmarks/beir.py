"""A BEIR folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv → a Dataset, or the sentence that says what is wrong.

What would change a figure without a word (a duplicate id, a query without text) is counted in the notes or refused.
Source: the layout of Thakur et al., "BEIR", arXiv:2104.08663.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.lines import find_file, read_objects, shown
from benchmarks.qrels import Qrels, read_qrels
from indexer.errors import DataError

UNKNOWN_SHARE = 0.1  # beyond it qrels and corpus are not of one data set, and no figure would mean anything
SOMETHING = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]")
NAMED = 12  # entries of a folder that a message names


class CorpusDocument(NamedTuple):
    """One document of a corpus; title and text may be empty."""

    id: str
    title: str
    text: str


class Corpus:
    """A corpus file that passed its checks. Each iteration streams it afresh; only the ids are held in memory."""

    def __init__(self, path: Path, ids: frozenset[str], duplicates: int) -> None:
        self.path = path
        self.ids = ids
        self._duplicates = duplicates

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[CorpusDocument]:
        if not self._duplicates:
            yield from read_corpus(self.path)
            return
        seen: set[str] = set()
        for document in read_corpus(self.path):
            if document.id not in seen:
                seen.add(document.id)
                yield document

    def select(self, ids: Collection[str]) -> dict[str, CorpusDocument]:
        """Read the documents of these ids, in one pass over the file; an unknown id is left out."""
        wanted = frozenset(ids)
        return {document.id: document for document in self if document.id in wanted}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus with the judged queries of one split.

    ``queries`` and ``qrels`` have the same ids: every query that the split judges, in the order of queries.jsonl.
    ``own`` are the queries that stand in the corpus under their own id (ArguAna): finding themselves is no success.
    ``notes`` are sentences on what was left out or looks odd.
    """

    name: str
    folder: Path
    split: str
    corpus: Corpus
    queries: dict[str, str]
    qrels: Qrels
    own: frozenset[str]
    notes: tuple[str, ...]


def open_dataset(folder: str | Path, split: str = "test", *, keep_first: bool = False) -> Dataset:
    """Open a BEIR folder and check all of it: one pass over each file.

    ``keep_first`` goes on with the first of two entries that have one id. Files may be gzipped (NAME.gz).
    Raises DataError for whatever is missing, malformed or belongs to another data set.
    """
    folder = Path(folder)
    corpus_path, queries_path, qrels_path, notes = locate(folder, split)
    texts = read_queries(queries_path, keep_first=keep_first, notes=notes)
    judged, conflicts = read_qrels(qrels_path, keep_first=keep_first)
    if not judged:
        there = listed(splits_in(qrels_path.parent))
        raise DataError(f"{qrels_path}: no judgement in it (choose a --split that has some; there are: {there})")
    if conflicts:
        notes.append(f"{counted(conflicts, 'judgement')} contradicted an earlier one: the first counts")
    corpus, own = scan_corpus(corpus_path, texts, keep_first=keep_first, notes=notes)

    refuse_strangers(judged.keys() - texts.keys(), len(judged), "query", qrels_path, queries_path, notes)
    documents = {document for grades in judged.values() for document in grades}
    refuse_strangers(documents - corpus.ids, len(documents), "document", qrels_path, corpus_path, notes)

    queries = {query: text for query, text in texts.items() if query in judged}
    qrels = {query: judged[query] for query in queries}
    if left := len(texts) - len(queries):
        notes.append(f"{counted(left, 'query')} of {len(texts):,} without judgement in this split left out")
    if empty := sum(is_blank(text) for text in queries.values()):
        notes.append(f"{counted(empty, 'empty query')} scored 0")
    if hopeless := sum(not any(grades.values()) for grades in qrels.values()):
        notes.append(f"{counted(hopeless, 'query')} with no relevant document scored 0")
    if own := frozenset(own & queries.keys()):
        notes.append(f"{counted(len(own), 'query')} found in the corpus under the same id: dropped from their own hits")
    return Dataset(folder.resolve().name, folder, split, corpus, queries, qrels, own, tuple(notes))


def read_corpus(path: str | Path) -> Iterator[CorpusDocument]:
    """Stream the documents of a corpus file, plain or .gz, as they stand: nothing is held, ids may repeat.

    Raises DataError naming file and line.
    """
    for _line, document in read_numbered_corpus(Path(path)):
        yield document


def read_numbered_corpus(path: Path) -> Iterator[tuple[int, CorpusDocument]]:
    """Stream (line number, document). Raises DataError naming file and line."""
    for number, record in read_objects(path):
        title = string_of(record, "title", path, number, default="")
        yield number, CorpusDocument(id_of(record, path, number), title, string_of(record, "text", path, number))


def read_queries(path: Path, *, keep_first: bool, notes: list[str]) -> dict[str, str]:
    """Read query id → text, all splits. Raises DataError naming file and line, also for an id that repeats."""
    queries: dict[str, str] = {}
    duplicates = 0
    for number, record in read_objects(path):
        query = id_of(record, path, number)
        if query not in queries:
            queries[query] = string_of(record, "text", path, number)
        elif keep_first:
            duplicates += 1
        else:
            raise DataError(f"{path}:{number}: the query id {shown(query)} repeats (--keep-first keeps the first)")
    if not queries:
        raise DataError(f"{path}: no query in it")
    if duplicates:
        notes.append(f"{counted(duplicates, 'query')} with an id seen before left out")
    return queries


def scan_corpus(
    path: Path, queries: dict[str, str], *, keep_first: bool, notes: list[str]
) -> tuple[Corpus, frozenset[str]]:
    """Check a corpus in one pass → the Corpus, and the ids of queries whose document of the same id has their text.

    Ids of queries and documents coincide by chance in many sets, so that the text decides; white space does not count.
    """
    ids: set[str] = set()
    own: set[str] = set()
    empty = duplicates = 0
    for number, document in read_numbered_corpus(path):
        if document.id in ids:
            if not keep_first:
                raise DataError(
                    f"{path}:{number}: the document id {shown(document.id)} repeats (--keep-first keeps the first)"
                )
            duplicates += 1
            continue
        ids.add(document.id)
        if is_blank(document.text) and is_blank(document.title):
            empty += 1
        query = queries.get(document.id)
        if query is not None and query.split() in (document.text.split(), f"{document.title} {document.text}".split()):
            own.add(document.id)
    if not ids:
        raise DataError(f"{path}: no document in it")
    if duplicates:
        notes.append(f"{counted(duplicates, 'document')} with an id seen before left out")
    if empty:
        notes.append(f"{counted(empty, 'empty document')} kept")
    return Corpus(path, frozenset(ids), duplicates), frozenset(own)


def refuse_strangers(
    strangers: Collection[str], total: int, kind: str, qrels: Path, home: Path, notes: list[str]
) -> None:
    """Note the ids that the qrels name and their home lacks. Raises DataError when they are more than a tenth."""
    if not strangers:
        return
    sentence = (
        f"{qrels} judges {counted(len(strangers), kind)} of {total:,} that {home.name} lacks, "
        f"such as {shown(min(strangers))}"
    )
    if len(strangers) > UNKNOWN_SHARE * total:
        raise DataError(f"{sentence} (are both of the same data set?)")
    notes.append(sentence + (": they count as not found" if kind == "document" else ": left out"))


def locate(folder: Path, split: str) -> tuple[Path, Path, Path, list[str]]:
    """Find a BEIR folder's three files → corpus, queries, qrels of the split, notes.

    Raises DataError saying which one is missing and what is there instead.
    """
    if not folder.is_dir():
        if folder.exists():
            raise DataError(f"{folder}: a file; a BEIR folder is expected (corpus.jsonl, queries.jsonl, qrels/)")
        nearest = next((parent for parent in folder.absolute().parents if parent.is_dir()), Path("/"))
        raise DataError(f"{folder}: no such folder; in {nearest} there are: {listed(entries_of(nearest))}")
    notes: list[str] = []
    qrels_folder = folder / "qrels"
    paths: list[Path] = []
    for place, name in ((folder, "corpus.jsonl"), (folder, "queries.jsonl"), (qrels_folder, f"{split}.tsv")):
        if place is qrels_folder:
            if not place.is_dir():
                raise DataError(f"{folder}: no folder qrels; there are: {listed(entries_of(folder))}")
            if split not in splits_in(place):
                raise DataError(f"no split {shown(split)} in {place}; there are: {listed(splits_in(place))}")
        path, note = find_file(place, name)
        if path is None:
            raise DataError(f"{folder}: no {name} or {name}.gz; there are: {listed(entries_of(folder))}")
        paths.append(path)
        if note:
            notes.append(note)
    corpus, queries, qrels = paths
    return corpus, queries, qrels, notes


def is_blank(text: str) -> bool:
    """Say whether a text has nothing to search for or to find: white space and control characters alone."""
    return SOMETHING.search(text) is None


def splits_in(qrels: Path) -> list[str]:
    """Name the splits of a qrels folder, sorted."""
    names = entries_of(qrels)
    return sorted(
        {name.removesuffix(".gz").removesuffix(".tsv") for name in names if name.endswith((".tsv", ".tsv.gz"))}
    )


def entries_of(folder: Path) -> list[str]:
    """Name what a folder holds, sorted. Raises DataError when it cannot be listed."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error


def listed(names: list[str]) -> str:
    """Join names for a sentence; beyond a dozen only their number."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more or "none"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: "1 query", "1,200 queries"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def id_of(record: dict[str, Any], path: Path, line: int) -> str:
    """Take a record's id as a string; a JSON integer is one too. Raises DataError naming file and line."""
    value = record.get("_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        have = listed([shown(key) for key in record])
        raise DataError(f'{path}:{line}: "_id" must be a string that is not empty (the line has: {have})')
    return value


def string_of(record: dict[str, Any], field: str, path: Path, line: int, default: str | None = None) -> str:
    """Take a record's text; null is "". Raises DataError for another type, or for a missing field without default."""
    if field not in record:
        if default is None:
            raise DataError(f'{path}:{line}: no "{field}" (the line has: {listed([shown(key) for key in record])})')
        return default
    value = record[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f'{path}:{line}: "{field}" must be a string, not {type(value).__name__}')
    return value
