"""What --data may name → texts and labels: a folder of files, a BEIR folder, an index, JSONL of documents or of pairs.

Streams documents; labels (queries and what answers them) are held in memory. Knows nothing of tokens or views.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.beir import is_blank, read_corpus, read_queries
from benchmarks.lines import find_file, read_objects, shown
from benchmarks.qrels import read_qrels
from indexer.documents import searchable
from indexer.errors import DataError, NothingToIndex, UsageError
from indexer.index import find_index, is_index
from indexer.progress import SILENT, Progress

JSONL = (".jsonl", ".jsonl.gz")
DEV_SHARE = 0.1  # of the training queries, by hash, where a set has no dev split of its own
PAIR_FIELDS = ("query", "anchor")


@dataclass(frozen=True, slots=True)
class Text:
    """A document to train on; ``key`` names it within its source."""

    key: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A query and its judged documents: key → grade, grades of 1 and more are relevant, 0 is known not to be.

    ``negatives`` are keys of documents given as negatives; ``teacher`` maps keys to a scorer's values.
    """

    key: str
    text: str
    grades: dict[str, int]
    negatives: tuple[str, ...] = ()
    teacher: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """Labelled queries, those to train on and those held out; the two never share a query's text."""

    train: list[Labelled]
    dev: list[Labelled]
    split: str  # where dev comes from, as a sentence's part


def kind_of(place: Path) -> str:
    """Tell what a path holds: "beir", "index", "pairs", "documents" (JSONL), "jsonl" (a folder of these) or "files".

    Raises NothingToIndex for a path that is missing, DataError for JSONL that is neither documents nor pairs.
    """
    if not place.exists():
        raise NothingToIndex(f"{place}: no such file or folder (name a folder, a BEIR folder, an index or JSONL)")
    if place.is_file():
        return kind_of_lines(place) if place.name.endswith(JSONL) else "files"
    if find_file(place, "corpus.jsonl")[0] is not None:
        return "beir"
    if is_index(place):
        return "index"
    names = [entry.name for entry in place.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    lines = [name for name in names if name.endswith(JSONL)]
    rest = [name for name in names if not name.endswith(JSONL) and not name.lower().startswith("readme")]
    return "jsonl" if lines and not rest else "files"


def kind_of_lines(file: Path) -> str:
    """Tell pairs from documents by a JSONL file's first line."""
    for number, record in read_objects(file):
        if any(name in record for name in PAIR_FIELDS):
            return "pairs"
        if "text" in record:
            return "documents"
        raise DataError(f'{file}:{number}: neither a document ("text") nor a pair ("query" and "positive")')
    raise DataError(f"{file}: no line in it")


def read_texts(places: Sequence[Path], progress: Progress = SILENT) -> Iterator[Text]:
    """Stream the documents of all sources; with several of them each key bears its source's number."""
    for number, place in enumerate(places):
        for text in texts_of(place, progress):
            yield replace(text, key=scoped(text.key, number, places))


def scoped(key: str, number: int, places: Sequence[Path]) -> str:
    """Keep keys of several sources apart: two collections both have a document "1"."""
    return key if len(places) == 1 else f"{number}/{key}"


def texts_of(place: Path, progress: Progress = SILENT) -> Iterator[Text]:
    """Stream one source's documents."""
    match kind_of(place):
        case "beir":
            path = find_file(place, "corpus.jsonl")[0]
            yield from (Text(found.id, found.title, found.text) for found in read_corpus(path or place))
        case "index":
            yield from texts_of_index(place)
        case "pairs":
            yield from texts_of_pairs(place)
        case "documents":
            yield from texts_of_lines(place)
        case "jsonl":
            for file in jsonl_files(place):
                yield from texts_of_pairs(file) if kind_of_lines(file) == "pairs" else texts_of_lines(file)
        case _:
            yield from texts_of_files(place, progress)


def read_labels(places: Sequence[Path], dev_share: float = DEV_SHARE) -> Labels:
    """Read the labelled queries of all sources: a BEIR folder's train and dev splits, JSONL pairs.

    Without a dev split ``dev_share`` of the training queries, chosen by a hash of their text, are held out.
    Test judgements are never opened. Raises DataError naming file and line, UsageError where nothing is labelled.
    """
    train: list[Labelled] = []
    dev: list[Labelled] = []
    origin = f"{dev_share:.0%} of the training queries, by hash"
    for number, place in enumerate(places):
        kind = kind_of(place)
        found: list[Labelled] = []
        own: list[Labelled] | None = None
        if kind == "beir":
            found, own = labels_of_beir(place, "train") or [], labels_of_beir(place, "dev")
        elif kind == "pairs":
            found = labels_of_pairs(place)
        elif kind == "jsonl":
            pairs = [file for file in jsonl_files(place) if kind_of_lines(file) == "pairs"]
            found = [label for file in pairs for label in labels_of_pairs(file)]
        train += [scoped_label(label, number, places) for label in found]
        if own is not None:
            dev += [scoped_label(label, number, places) for label in own]
            origin = f"{place.name}'s own dev split"
    if not train:
        names = ", ".join(str(place) for place in places)
        raise UsageError(
            f"{names}: no labelled query for training (a BEIR folder with qrels/train.tsv or JSONL of "
            'query and positive is needed; the recipes "contriever" and "span" need no labels)'
        )
    if not dev:
        dev = [label for label in train if is_held_out(label.text, dev_share)]
    held = {label.text for label in dev}
    return Labels([label for label in train if label.text not in held], dev, origin)


def scoped_label(label: Labelled, number: int, places: Sequence[Path]) -> Labelled:
    """Name a label's query and documents as ``read_texts`` names them."""
    if len(places) == 1:
        return label
    return Labelled(
        scoped(label.key, number, places),
        label.text,
        {scoped(key, number, places): grade for key, grade in label.grades.items()},
        tuple(scoped(key, number, places) for key in label.negatives),
        {scoped(key, number, places): score for key, score in label.teacher.items()},
    )


def is_held_out(text: str, share: float) -> bool:
    """Choose by a hash of the text whether it is held out: the same on every machine, for every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) < share * 2**64


def labels_of_beir(folder: Path, split: str) -> list[Labelled] | None:
    """Read one split's judged queries; None where the folder has no such split."""
    qrels, _ = find_file(folder / "qrels", f"{split}.tsv")
    if qrels is None:
        return None
    queries, _ = find_file(folder, "queries.jsonl")
    if queries is None:
        raise DataError(f"{folder}: no queries.jsonl (a BEIR folder has it beside corpus.jsonl)")
    texts = read_queries(queries, keep_first=False, notes=[])
    judged, _ = read_qrels(qrels)
    return [
        Labelled(query, texts[query], grades)
        for query, grades in judged.items()
        if query in texts and not is_blank(texts[query]) and any(grades.values())
    ]


def labels_of_pairs(file: Path) -> list[Labelled]:
    """Read JSONL of {"query", "positive", "negatives", "scores"}: positive may be a list, the last two are optional.

    Documents are named by their text. Lines of one query are one query with several positives.
    """
    labels: dict[str, Labelled] = {}
    for number, record in read_objects(file):
        query, positives, negatives, scores = pair_of(record, file, number)
        label = labels.setdefault(query, Labelled(query, query, {}))
        label.grades.update(dict.fromkeys(map(key_of, positives), 1))
        teacher = dict(zip(map(key_of, [*positives, *negatives]), scores, strict=True)) if scores else {}
        more = tuple(key for key in map(key_of, negatives) if key not in label.negatives)
        labels[query] = Labelled(query, query, label.grades, (*label.negatives, *more), label.teacher | teacher)
    return list(labels.values())


def texts_of_pairs(file: Path) -> Iterator[Text]:
    """Stream the passages of a file of pairs, each once."""
    seen: set[str] = set()
    for number, record in read_objects(file):
        _, positives, negatives, _ = pair_of(record, file, number)
        for text in (*positives, *negatives):
            if (key := key_of(text)) not in seen:
                seen.add(key)
                yield Text(key, "", text)


def key_of(text: str) -> str:
    """Name a passage that has no id by its text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def pair_of(record: dict[str, Any], file: Path, number: int) -> tuple[str, list[str], list[str], list[float]]:
    """Take a line's query, positives, negatives and scores. Raises DataError naming file and line."""
    query = record.get("query", record.get("anchor"))
    if not isinstance(query, str) or is_blank(query):
        raise DataError(f'{file}:{number}: "query" must be a text that is not empty')
    positives = texts_in(record, ("positive", "positives"), file, number)
    negatives = texts_in(record, ("negatives", "negative"), file, number)
    if not positives:
        raise DataError(f'{file}:{number}: no "positive" for {shown(query)}')
    scores = record.get("scores")
    if scores is None:
        return query, positives, negatives, []
    numbers = isinstance(scores, list) and all(
        isinstance(score, (int, float)) and not isinstance(score, bool) for score in scores
    )
    if not numbers or len(scores) != len(positives) + len(negatives):
        raise DataError(
            f'{file}:{number}: "scores" must be {len(positives) + len(negatives)} numbers, '
            "one for each positive and then each negative"
        )
    return query, positives, negatives, [float(score) for score in scores]


def texts_in(record: dict[str, Any], names: Sequence[str], file: Path, number: int) -> list[str]:
    """Take a field that is a text or a list of texts; blank ones are left out."""
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f'{file}:{number}: "{name}" must be a text or a list of texts')
        return [text for text in texts if not is_blank(text)]
    return []


def texts_of_lines(file: Path) -> Iterator[Text]:
    """Stream the documents of a JSONL file: "text", and "title" and "_id" where they are there."""
    for number, record in read_objects(file):
        title, text = record.get("title") or "", record.get("text")
        if not isinstance(text, str) or not isinstance(title, str):
            raise DataError(f'{file}:{number}: "text" and "title" must be texts')
        yield Text(str(record.get("_id", f"{file.name}:{number}")), title, text)


def jsonl_files(folder: Path) -> list[Path]:
    """List a folder's JSONL files, plain and gzipped, by name."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(JSONL) and not path.name.startswith("."))


def texts_of_index(folder: Path) -> Iterator[Text]:
    """Stream an index's documents out of its catalog; where passages overlap, the text is put together once."""
    from indexer.snapshot import document_name

    rows = rows_of_index(
        folder,
        'SELECT d.id, d.key, s.path, d.title, p.start, p."end", p.text FROM passages p '
        "JOIN documents d ON d.id = p.document LEFT JOIN sources s ON s.id = d.source ORDER BY d.id, p.ordinal",
    )
    for _, group in groupby(rows, key=lambda row: row[0]):
        parts: list[str] = []
        reached = 0
        for _, key, path, heading, start, end, text in group:
            parts.append(text[max(0, reached - start) :] if start < reached else ("\n" if parts else "") + text)
            reached = max(reached, end)
            name = document_name(key, None if path is None else path.decode("utf-8", "surrogateescape"))
            title = heading
        yield Text(name, title, "".join(parts))


def passages_of_index(folder: Path) -> Iterator[Text]:
    """Stream an index's passages as they are encoded: ``title`` has the heading too, ``key`` is "document#passage"."""
    rows = rows_of_index(
        folder,
        "SELECT d.id, p.id, d.title, p.heading, p.text FROM passages p JOIN documents d ON d.id = p.document "
        "ORDER BY p.id",
    )
    for document, passage, title, heading, text in rows:
        yield Text(f"{document}#{passage}", searchable(title, heading, "").strip(), text)


def rows_of_index(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """Run one SELECT on the catalog of an index, in its newest generation."""
    from indexer.snapshot import Snapshot

    snapshot = Snapshot(find_index(folder))
    try:
        with snapshot.reading():
            return snapshot.rows(statement)
    finally:
        snapshot.close()


def texts_of_files(place: Path, progress: Progress) -> Iterator[Text]:
    """Stream the documents that the indexer's readers find under a folder; what cannot be read is said and left out."""
    from indexer.readers.wire import FileRequest
    from indexer.readers.worker import ReaderPool
    from indexer.walk import MAX_BYTES, WalkedFile, walk

    requests = (FileRequest(found.path, "", found.target) for found in walk(place) if isinstance(found, WalkedFile))
    skipped = 0
    with ReaderPool(2, timeout_s=30.0, max_bytes=MAX_BYTES) as readers:
        for result in readers.read(requests):
            skipped += bool(result.skipped)
            for document in result.documents:
                yield Text(f"{result.path}#{document.key}", document.title, document.text)
    if skipped:
        progress.note(f"{place}: {skipped} files could not be read and are left out (`searchengine index` names them)")
