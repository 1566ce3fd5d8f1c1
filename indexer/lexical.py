"""Postings: one complete tantivy folder a generation, and BM25 over it. Knows nothing of vectors or SQLite.

tantivy has a commit point of its own (``meta.json``). So that SQLite stays the only one, a write never touches the
folder that readers use: the next generation's folder is a clone by hard links (tantivy's files are immutable), to
which this commit's segment is added. User text never enters tantivy's query parser, which deep nesting crashes: it is
analysed (``analysis``), and a boolean query of terms is built. tantivy gets terms with spaces between them, and the
languages in which passages were stemmed, so that a query's words can be stemmed in each of them.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import tantivy

from indexer.analysis import LANGUAGES, Term, document_terms, is_stop, passage_forms, query_terms, stemming
from indexer.errors import DamagedIndex, IncompatibleIndex, StorageError

_HEAP_BYTES = 64 << 20
_LOCK_ATTEMPTS = 200
MUTABLE = ("meta.json", ".managed.json")
_ID, _BODY, _LANGUAGE = "passage", "body", "language"
MAX_TERMS = 256
ENGLISH = "en_stem"  # the first analyser: tantivy's own, English for every text
ANALYSER = "tokens-1"  # the name that a new index keeps; what analysis.py makes of a text must not change under it
ANALYSERS = (ANALYSER, ENGLISH)


def refuse_unknown_analyser(folder: Path, name: object) -> None:
    """Raise IncompatibleIndex where an index was analysed in a way that this version does not know."""
    if name not in ANALYSERS:
        raise IncompatibleIndex(
            f"{folder}: its texts were analysed in a way this searchengine does not know ({name!r:.80}); upgrade it"
        )


@cache
def english() -> tantivy.TextAnalyzer:
    """Build the analysis that tantivy calls ``en_stem``: words, at most 40 bytes, lower case, English stems."""
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(40))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.stemmer("English"))
        .build()
    )


def _schema(analyser: str) -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field(_ID, stored=False, indexed=True, fast=True)
    if analyser == ENGLISH:
        builder.add_text_field(_BODY, stored=False, tokenizer_name=ENGLISH, index_option="position")
    else:
        builder.add_text_field(_BODY, stored=False, tokenizer_name="whitespace", index_option="freq")
        builder.add_text_field(_LANGUAGE, stored=False, tokenizer_name="raw", index_option="basic")
    return builder.build()


def clone(source: Path, target: Path) -> None:
    """Make ``target`` a private copy of a generation: immutable files hard-linked, the two JSON files copied."""
    target.mkdir()
    for path in source.iterdir():
        if path.name.endswith(".lock"):
            continue
        if path.name in MUTABLE:
            shutil.copyfile(path, target / path.name)
            continue
        try:
            os.link(path, target / path.name)
        except OSError:  # a file system without hard links, or too many of them
            shutil.copyfile(path, target / path.name)


def write_postings(
    folder: Path, removed: Iterable[int], added: Iterable[tuple[int, str, str]], analyser: str = ANALYSER
) -> None:
    """Remove passages from the postings in ``folder`` and add others (id, searchable text, language).

    The folder is made where missing, else it must have been written with the same ``analyser``. One thread and one
    tantivy commit, so that the same input gives the same files.
    """
    if not folder.exists():
        folder.mkdir()
    try:
        _write(folder, removed, added, analyser)
    except ValueError as error:  # tantivy has no other error
        raise StorageError(
            f"{folder}: writing the postings failed: {error} (the last committed state is intact; "
            "free some space or fix the permissions, then run the same command again)"
        ) from error


def _write(folder: Path, removed: Iterable[int], added: Iterable[tuple[int, str, str]], analyser: str) -> None:
    index = tantivy.Index(_schema(analyser), path=str(folder))
    writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
    for passage in removed:
        writer.delete_documents_by_term(_ID, passage)
    for passage, text, language in added:
        document = tantivy.Document()
        document.add_integer(_ID, passage)
        if analyser == ENGLISH:
            document.add_text(_BODY, text)
        else:
            document.add_text(_BODY, document_terms(text, language))
            document.add_text(_LANGUAGE, stemming(language))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    writer = _second_writer(index)  # a waited-for writer is spent; this one only cleans up
    writer.garbage_collect_files()
    writer.wait_merging_threads()


def _second_writer(index: tantivy.Index) -> tantivy.IndexWriter:
    """Open a writer after another one: tantivy's threads may let go of its lock a moment after they were waited for."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            return index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        except ValueError as error:
            if "LockBusy" not in str(error):
                raise
            time.sleep(0.01)
    return index.writer(heap_size=_HEAP_BYTES, num_threads=1)


class Postings:
    """One generation's postings, opened for reading; it keeps answering after its files are unlinked."""

    def __init__(self, folder: Path, analyser: str = ANALYSER) -> None:
        self._analyser = analyser
        place = folder
        if not os.access(folder, os.W_OK):
            place = self._link_elsewhere(folder)
        try:
            self._index = tantivy.Index.open(str(place))
        except (ValueError, OSError) as error:
            raise DamagedIndex(
                f"{folder}: the postings do not open (searchengine verify --repair makes them again): {error}"
            ) from error
        self._index.config_reader(reload_policy="Manual")
        self._searcher = self._index.searcher()

    def _link_elsewhere(self, folder: Path) -> Path:
        """Tantivy takes a lock file to open an index: where none can be made, a temporary folder of links takes it."""
        place = Path(tempfile.mkdtemp(prefix="searchengine-"))
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        for path in folder.iterdir():
            if path.name in MUTABLE:
                shutil.copyfile(path, place / path.name)
            elif not path.name.endswith(".lock"):
                (place / path.name).symlink_to(path.resolve())
        return place

    def __len__(self) -> int:
        """Count the live passages."""
        return int(self._searcher.num_docs)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """List the languages in which passages were stemmed, the most frequent one first."""
        counts = {language: int(self._searcher.doc_freq(_LANGUAGE, language)) for language in LANGUAGES}
        return tuple(sorted(filter(counts.get, counts), key=lambda language: -counts[language]))

    def terms(self, text: str) -> list[Term]:
        """Analyse a query as the postings were: its terms in order, repetitions included."""
        if self._analyser == ENGLISH:
            return [Term((stem,), is_stop(stem, "en")) for stem in english().analyze(text)]
        return query_terms(text, self.languages)

    def forms(self, text: str) -> list[str]:
        """List every form under which a query may look up a part of a passage: what marks its words."""
        if self._analyser == ENGLISH:
            return list(english().analyze(text))
        return passage_forms(text, self.languages)

    def search(
        self, terms: Sequence[Term] | Mapping[Term, float], count: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank passages by BM25 (k1 1.2, b 0.75): (passage ids int64 [k], scores float32 [k]).

        Best first, ties by passage id. A term counts as often as it is repeated, or by its weight; terms past the first
        256 different ones are left out. ``allowed`` [m] holds the passage ids that may appear, ascending; None: all.
        """
        query = self._query(terms)
        if query is None or count < 1 or (allowed is not None and not len(allowed)):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if allowed is not None and len(allowed) <= 10_000:
            only = tantivy.Query.term_set_query(self._index.schema, _ID, allowed.tolist())
            unscored = tantivy.Query.const_score_query(only, 0.0)
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, unscored)])
            allowed = None
        limit = count
        while True:
            passages, scores, exhausted = self._fetch(query, limit)
            if allowed is not None:
                places = np.minimum(np.searchsorted(allowed, passages), len(allowed) - 1)
                kept = allowed[places] == passages
                passages, scores = passages[kept], scores[kept]
            if len(passages) >= count or exhausted:
                break
            limit *= 4  # a wide filter: most of a longer list passes it
        order = np.lexsort((passages, -scores))[:count]
        return passages[order], scores[order]

    def _fetch(self, query: tantivy.Query, limit: int) -> tuple[np.ndarray, np.ndarray, bool]:
        hits = self._searcher.search(query, limit, count=False).hits
        scores = np.fromiter((score for score, _ in hits), np.float32, len(hits))
        ids = self._searcher.fast_field_values(_ID, [address for _, address in hits])
        return np.array(ids, dtype=np.int64), scores, len(hits) < limit

    def _query(self, terms: Sequence[Term] | Mapping[Term, float]) -> tantivy.Query | None:
        clauses = []
        for term, times in list(Counter(terms).items())[:MAX_TERMS]:
            common = self._idf(self._holding(term))
            for form in term.forms:
                clause = tantivy.Query.term_query(self._index.schema, _BODY, form, index_option="freq")
                # tantivy weighs each form by its own rarity; a word is as rare as all its forms together.
                weight = times if len(term.forms) == 1 else times * common / self._idf(self._document_frequency(form))
                if weight != 1:
                    clause = tantivy.Query.boost_query(clause, float(weight))
                clauses.append((tantivy.Occur.Should, clause))
        return tantivy.Query.boolean_query(clauses) if clauses else None

    def _document_frequency(self, form: str) -> int:
        return int(self._searcher.doc_freq(_BODY, form))

    def _holding(self, term: Term) -> int:
        """Count the passages that hold a term; one that has two of its forms counts twice."""
        return sum(map(self._document_frequency, term.forms))

    def _idf(self, holding: int) -> float:
        # Removed passages are counted until the postings are written anew: a term may seem to be in more than all.
        return math.log(1 + (max(len(self), holding) - holding + 0.5) / (holding + 0.5))

    def full_score(self, terms: Sequence[Term]) -> float:
        """Tell what BM25 gives a passage of average length with each of the terms once: the sum of their idf.

        A term that no passage has counts too, and most; not so a pair of characters, which may be no word. Repetitions
        and the limit on terms are as in ``search``.
        """
        counted = [(term, times, self._holding(term)) for term, times in list(Counter(terms).items())[:MAX_TERMS]]
        return sum(times * self._idf(holding) for term, times, holding in counted if holding or not term.is_pair)

    def passage_ids(self) -> np.ndarray:
        """List the ids of all live passages, ascending: what ``verify`` compares with the catalog."""
        hits = self._searcher.search(tantivy.Query.all_query(), max(len(self), 1), count=False).hits
        ids = self._searcher.fast_field_values(_ID, [address for _, address in hits])
        return np.sort(np.array(ids, dtype=np.int64))
