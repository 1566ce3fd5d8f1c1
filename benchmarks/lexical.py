"""BM25 alone, by every way to analyse and to weigh titles: what the analysis of texts was chosen by. Encodes nothing.

    python -m benchmarks.lexical ../shared/data/scifact /tmp/sets/german --every nq-oracle=4

One table, nDCG@10 / R@100: a row a set, a column a way. Postings are written to a temporary folder, seconds a set.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.beir import CorpusDocument, Dataset, is_blank, open_dataset
from benchmarks.metrics import Measured, measure
from benchmarks.runs import Run
from indexer.documents import looked_up, searchable
from indexer.lexical import ANALYSER, ENGLISH, Postings, write_postings
from indexer.readers.language import detect
from searchengine import query

KEPT = 100
SHOWN = ("nDCG@10", "R@100")


def with_title(times: int) -> Callable[[CorpusDocument], str]:
    """Count a title's words so many times: BM25F with a title weight, but for the length that grows as well."""
    return lambda document: " ".join([*[document.title] * (times - 1), searchable(document.title, None, document.text)])


def as_indexed(document: CorpusDocument) -> str:
    """Write a document as the engine does for BM25."""
    return looked_up(document.title, None, document.text)


# name: (analyser, a document's text, whether a query's stop words are looked up)
WAYS: dict[str, tuple[str, Callable[[CorpusDocument], str], bool]] = {
    ENGLISH: (ENGLISH, with_title(1), False),
    "title once": (ANALYSER, with_title(1), False),
    ANALYSER: (ANALYSER, as_indexed, False),
    "title thrice": (ANALYSER, with_title(3), False),
    "stop words too": (ANALYSER, as_indexed, True),
}


def ranked(dataset: Dataset, texts: Mapping[str, str], languages: Mapping[str, str], way: str, folder: Path) -> Run:
    """Write a corpus's postings into ``folder`` (a new one) one way, and rank for each query the hundred best."""
    analyser, written, with_stops = WAYS[way]
    ids = []

    def entries() -> Iterable[tuple[int, str, str]]:
        for number, document in enumerate(dataset.corpus):
            ids.append(document.id)
            yield number, written(document), languages[document.id]

    write_postings(folder, (), entries(), analyser)
    postings = Postings(folder, analyser)
    run = Run(way, {})
    for identifier, text in texts.items():
        run.rankings[identifier] = []
        if is_blank(text):
            continue
        terms = postings.terms(query.parse(text).text)
        found, scores = postings.search(terms if with_stops else query.content_terms(terms, []), KEPT + 1)
        own = identifier if identifier in dataset.own else None
        pairs = ((ids[passage], score) for passage, score in zip(found.tolist(), scores.tolist(), strict=True))
        run.rankings[identifier] = [(document, score) for document, score in pairs if document != own][:KEPT]
    return run


def measured(dataset: Dataset, stride: int) -> dict[str, Measured]:
    """Measure every way on every ``stride``-th query."""
    texts = dict(list(dataset.queries.items())[::stride])
    qrels = {identifier: dataset.qrels[identifier] for identifier in texts}
    languages = {document.id: detect(f"{document.title} {document.text}") for document in dataset.corpus}
    with tempfile.TemporaryDirectory(prefix="searchengine-lexical-") as place:
        return {
            way: measure(ranked(dataset, texts, languages, way, Path(place) / str(number)), qrels)
            for number, way in enumerate(WAYS)
        }


def main() -> None:
    """Read the command line, measure, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("sets", type=Path, nargs="+")
    options.add_argument(
        "--every", action="append", default=[], metavar="SET=N", help="ask every Nth query of SET only"
    )
    chosen = options.parse_args()
    strides = {name: int(stride) for name, _, stride in (entry.partition("=") for entry in chosen.every)}
    sys.stdout.write(f"{'':<14}" + "".join(f"{way:>16}" for way in WAYS) + "\n")
    for folder in chosen.sets:
        dataset = open_dataset(folder)
        found = measured(dataset, strides.get(dataset.name, 1))
        cells = ("/".join(f"{each.means[name]:.4f}" for name in SHOWN) for each in found.values())
        sys.stdout.write(f"{dataset.name[:13]:<14}" + "".join(f"{cell:>16}" for cell in cells) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
