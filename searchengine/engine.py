"""▶ The main path of a query: parse → filter → retrieve → pool → fuse → one passage a document → fetch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.analysis import Term
from indexer.errors import DamagedIndex, UsageError
from indexer.format import ENCODER
from indexer.held import hold
from indexer.index import base_of
from indexer.snapshot import Generation, Snapshot, StoredPassage, document_name, documents_of
from searchengine import filters, query, retrieve
from searchengine.feedback import ask_again
from searchengine.fusion import FUSIONS, LISTS, Weights, standard, weights_of
from searchengine.hits import Answer, Candidates, Hit, Ranking

if TYPE_CHECKING:
    from indexer.build import BuildReport
    from indexer.encoders import Encoder
    from indexer.lexical import Postings

MODES = ("hybrid", "dense", "bm25")
DEPTH = 1000
POOLED = 500  # of each list: where missing scores are computed, depth decides who takes part, and nobody's score
MAX_K = 10_000


class Searcher:
    """An index opened for searching. Threads may share it; every call answers from the newest generation.

    ``report`` says what the build did, where ``index`` opened this. ``nearest`` scans the vectors (``shards.py`` has
    others do it).
    """

    def __init__(
        self, folder: Path, report: BuildReport | None = None, *, nearest: retrieve.Nearest = retrieve.nearest_here
    ) -> None:
        self.folder = folder
        self.report = report
        self._nearest = nearest
        self._snapshot = Snapshot(folder)
        self._encoders: dict[str, Encoder] = {}
        self._held: tuple[Generation, Generation] | None = None  # one as it lies on disk, and as queries see it
        self._sampled: tuple[Generation, retrieve.Sample] | None = None
        self._asked: Postings | None = None
        self._lock = threading.RLock()  # one connection, one transaction at a time
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="bm25")  # starts its thread when it is first used

    def __enter__(self) -> Searcher:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the catalog."""
        self.close()

    def close(self) -> None:
        """Close the catalog."""
        self._beside.shutdown()
        self._snapshot.close()

    def search(
        self,
        text: str,
        k: int = 10,
        *,
        mode: str = "hybrid",
        where: str | None = None,
        all_passages: bool = False,
        fusion: str = FUSIONS[0],
    ) -> list[Hit]:
        """Find the ``k`` best hits for a question in plain words.

        ``mode``: "hybrid", "dense" or "bm25"; ``where``: a filter such as "path:docs/** ext:pdf"; one passage a
        document unless ``all_passages``; ``fusion``: "feedback", "standard" (the same in one pass), "convex" (min-max,
        0.6 dense) or "rrf".
        Raises UsageError for an empty text, k below 1 or above 10,000, an unknown mode or filter.
        """
        return self.answer(text, k, mode=mode, where=where, all_passages=all_passages, fusion=fusion).hits

    def answer(
        self,
        text: str,
        k: int = 10,
        *,
        mode: str = "hybrid",
        where: str | None = None,
        all_passages: bool = False,
        fusion: str = FUSIONS[0],
    ) -> Answer:
        """Find hits as ``search`` does, and say what the user should know about how they were found."""
        _check(k, mode, fusion)
        parsed = query.parse(text)
        condition = None if where is None else filters.parse(where)
        with self._reading(mode) as generation:
            notes = list(parsed.notes)
            allowed = None
            if condition is not None:
                allowed = retrieve.Allowed(generation, condition.documents(self._snapshot))
            terms = self._terms(generation, parsed.text, mode, notes)
            dense, lexical, fused = self._retrieve(generation, parsed.text, terms, k, mode, fusion, allowed)
            documents = documents_of(generation.segments, fused.passages)
            kept = np.arange(len(fused)) if all_passages else _first_of_each(documents)
            chosen = Candidates(fused.passages[kept[:k]], fused.scores[kept[:k]])
            searched = sum(len(segment.passages) - len(segment.dead) for segment in generation.segments)
            if allowed is not None:
                searched = len(allowed.passages)
            if not len(chosen):
                notes.append(_why_nothing(searched, where, mode))
            stored = self._snapshot.passages(chosen.passages.tolist())
            base = base_of(self.folder, generation.settings)
            by_dense, by_words = dense.score_of(chosen.passages), lexical.score_of(chosen.passages)
            hits = [
                _hit(rank, passage, float(score), base, float(cosine), float(bm25))
                for rank, (passage, score, cosine, bm25) in enumerate(
                    zip(stored, chosen.scores, by_dense, by_words, strict=True), start=1
                )
            ]
        return Answer(hits, [form for term in terms for form in term.forms], searched, notes)

    def rank(self, text: str, k: int = 1000, *, mode: str = "hybrid", fusion: str = FUSIONS[0]) -> Ranking:
        """Rank documents without fetching their texts: the ``k`` best by their best passage."""
        _check(k, mode, fusion)
        parsed = query.parse(text)
        with self._reading(mode) as generation:
            terms = self._terms(generation, parsed.text, mode, [])
            _, _, fused = self._retrieve(generation, parsed.text, terms, k, mode, fusion, None)
            documents = documents_of(generation.segments, fused.passages)
            kept = _first_of_each(documents)[:k]
            return Ranking(self._snapshot.names(documents[kept].tolist()), fused.scores[kept])

    def rank_passages(self, text: str, k: int = 200, *, mode: str = "hybrid", fusion: str = FUSIONS[0]) -> Candidates:
        """Rank passages by their ids, without documents and texts: the ``k`` best."""
        _check(k, mode, fusion)
        parsed = query.parse(text)
        with self._lock, self._snapshot.reading() as generation:
            terms = self._terms(generation, parsed.text, mode, [])
            _, _, fused = self._retrieve(generation, parsed.text, terms, k, mode, fusion, None)
            return Candidates(fused.passages[:k], fused.scores[:k])

    def analyse(self, text: str) -> list[str]:
        """List the forms under which the postings that were asked last may hold a text's words."""
        if self._asked is None:
            with self._lock, self._snapshot.reading() as generation:
                self._asked = generation.postings
        return [] if self._asked is None else self._asked.forms(text)

    @contextmanager
    def _reading(self, mode: str) -> Iterator[Generation]:
        """Open the newest generation for one query, the vectors of a small index in memory where they are used here."""
        with self._lock, self._snapshot.reading() as generation:
            if mode == "bm25" or self._nearest is not retrieve.nearest_here:
                yield generation
                return
            if self._held is None or self._held[0] is not generation:
                self._held = (generation, replace(generation, segments=hold(generation.segments)))
            yield self._held[1]

    def _terms(self, generation: Generation, text: str, mode: str, notes: list[str]) -> list[Term]:
        self._asked = generation.postings
        if generation.postings is None:
            return []
        terms = query.bounded_terms(query.content_terms(generation.postings.terms(text), notes), notes)
        if not terms and mode != "dense":
            notes.append(
                "the query holds no word to look up: BM25 finds nothing"
                + (", ranked by meaning alone" if mode == "hybrid" else "")
            )
        return terms

    def _retrieve(
        self,
        generation: Generation,
        text: str,
        terms: list[Term],
        k: int,
        mode: str,
        fusion: str,
        allowed: retrieve.Allowed | None,
    ) -> tuple[Candidates, Candidates, Candidates]:
        """Return the dense list, the lexical list (empty where the mode leaves one out) and their fusion.

        Where fusion needs every score of both lists' union, both are returned completed to it.
        """
        pooled = mode == "hybrid" and fusion not in LISTS
        depth = max(k, POOLED if pooled else DEPTH)
        every = pooled and retrieve.finds_every(generation)
        count = max(depth, retrieve.WHOLE) if every else depth
        if mode == "bm25":
            lexical = retrieve.lexical(generation, terms, count, allowed)
            return retrieve.NONE, lexical, lexical
        # The words are looked up while the encoder runs, or is loaded: neither holds the interpreter's lock.
        coming: Future[Candidates] | None = None
        if mode == "hybrid":
            coming = self._beside.submit(retrieve.lexical, generation, terms, count, allowed)
        vector = self._encoder(generation).encode_queries([text])[0]
        dense = retrieve.dense(generation, vector, depth, allowed, self._nearest)
        if coming is None:
            return dense, retrieve.NONE, dense
        found = coming.result()
        lexical = found.best(depth)
        if fusion in LISTS:
            return dense, lexical, LISTS[fusion](dense, lexical)
        pool, vectors = retrieve.pool(generation, vector, terms, dense, lexical, found if every else None)
        moments = self._sample(generation).moments
        weights = self._weights(generation)
        if fusion == "standard":
            return (*pool.lists(), standard(pool, *moments(vector), span=weights.span))
        return (*pool.lists(), ask_again(pool, vectors, vector, moments, weights))

    def _weights(self, generation: Generation) -> Weights:
        """Read the fusion weights that an index carries, else the default ones."""
        try:
            return weights_of(generation.settings)
        except ValueError as error:
            raise DamagedIndex(
                f"{self.folder}: {error} (searchengine tune --reset goes back to the default)"
            ) from error

    def _sample(self, generation: Generation) -> retrieve.Sample:
        """Choose the passages that cosines are compared with, once a generation."""
        if self._sampled is None or self._sampled[0] is not generation:
            self._sampled = (generation, retrieve.Sample(generation.segments))
        return self._sampled[1]

    def _encoder(self, generation: Generation) -> Encoder:
        """Load the encoder that a generation answers to; an index that was made anew may have changed it."""
        from indexer.encoders import load_stored_encoder

        fingerprint = generation.settings["encoder"]["fingerprint"]
        if fingerprint not in self._encoders:
            self._encoders = {fingerprint: load_stored_encoder(self.folder / ENCODER / fingerprint)}
        return self._encoders[fingerprint]

    def weights(self) -> Weights:
        """Return what the default fusion weighs by in this index: as learnt by ``tune``, else the default."""
        with self._lock, self._snapshot.reading() as generation:
            return self._weights(generation)

    def settings(self) -> dict[str, Any]:
        """Return the index's settings: its encoder, how it splits, where its names start."""
        with self._lock, self._snapshot.reading() as generation:
            return generation.settings

    @property
    def fingerprint(self) -> str:
        """The identity of the encoder whose vectors the index holds."""
        return str(self.settings()["encoder"]["fingerprint"])

    @property
    def encoder_name(self) -> str:
        """The name of that encoder."""
        return str(self.settings()["encoder"]["name"])

    def generation(self) -> int:
        """Tell the number of the generation that answers now."""
        with self._lock, self._snapshot.reading() as generation:
            return generation.number

    def count(self) -> tuple[int, int]:
        """Count (documents, passages)."""
        with self._lock, self._snapshot.reading():
            return self._snapshot.count()


def _check(k: int, mode: str, fusion: str) -> None:
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k must lie between 1 and {MAX_K}, not {k}")
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}: there are {', '.join(MODES)}")
    if fusion not in FUSIONS:
        raise UsageError(f"no fusion {fusion!r}: there are {', '.join(FUSIONS)}")


def _first_of_each(documents: np.ndarray) -> np.ndarray:
    """Find where each document appears first: int64 [n] → positions [m], ascending."""
    _, first = np.unique(documents, return_index=True)
    return np.sort(first)


def _hit(rank: int, passage: StoredPassage, score: float, base: Path, cosine: float, bm25: float) -> Hit:
    scores = {name: None if np.isnan(value) else round(value, 6) for name, value in (("dense", cosine), ("bm25", bm25))}
    path = None if passage.path is None else base / passage.path
    name = document_name(passage.key, passage.path)
    return Hit(
        rank, round(score, 6), name, passage.title, passage.ordinal, passage.text, passage.location, scores, path
    )


def _why_nothing(searched: int, where: str | None, mode: str) -> str:
    if where is not None and not searched:
        return f"nothing found: the filter {where!r} leaves no passage"
    if not searched:
        return "nothing found: the index is empty"
    return f"nothing found in {searched} passages" + (
        " (no passage has any of the words; try --mode hybrid)" if mode == "bm25" else ""
    )
