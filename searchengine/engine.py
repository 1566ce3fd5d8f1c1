"""▶ The main path of a query: parse → filter → retrieve → pool → fuse → one passage a document → rerank → fetch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.analysis import Term
from indexer.documents import searchable
from indexer.errors import DamagedIndex, UsageError
from indexer.format import ENCODER
from indexer.held import hold
from indexer.index import base_of
from indexer.progress import SILENT, Progress
from indexer.snapshot import Generation, Snapshot, StoredPassage, document_name, documents_of
from searchengine import expansion, filters, query, retrieve
from searchengine.feedback import ask_again
from searchengine.fusion import FUSIONS, LISTS, Weights, standard, trust, weights_of
from searchengine.hits import Answer, Candidates, Hit, Ranking
from searchengine.neighbours import ask_and_lift
from searchengine.rerank import DEPTH as DEPTH_RERANKED
from searchengine.rerank import LATE, LateInteraction, Reranker, blend, default_weight

if TYPE_CHECKING:
    from indexer.build import BuildReport
    from indexer.encoders import Encoder
    from indexer.lexical import Postings

MODES = ("hybrid", "dense", "bm25", "rm3")
LEXICAL = ("bm25", "rm3")  # these need no encoder
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
        self._rerankers: dict[tuple[str, str], Reranker] = {}
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
        rerank: str | Path | Reranker | None = None,
        rerank_depth: int = DEPTH_RERANKED,
        rerank_weight: float | None = None,
    ) -> list[Hit]:
        """Find the ``k`` best hits for a question in plain words.

        ``mode``: "hybrid", "dense", "bm25", or "rm3" (BM25 once more, with words of what it found); ``where``: a filter
        such as "path:docs/** ext:pdf"; one passage a document unless ``all_passages``; ``fusion``: "neighbours",
        "feedback" (the same without a passage's likes), "standard" (the same in one pass), "convex" (min-max, 0.6
        dense) or "rrf".
        ``rerank``: read the ``rerank_depth`` best again, by "late" (late interaction of the index's own encoder) or a
        sentence-transformers CrossEncoder (folder, name, or what ``reranker`` gave); ``rerank_weight``: its share of
        the order, 0 to 1.
        Raises UsageError for an empty text, k below 1 or above 10,000, an unknown mode or filter; ModelError for a
        reranker that cannot be loaded.
        """
        answer = self.answer(
            text,
            k,
            mode=mode,
            where=where,
            all_passages=all_passages,
            fusion=fusion,
            rerank=rerank,
            rerank_depth=rerank_depth,
            rerank_weight=rerank_weight,
        )
        return answer.hits

    def answer(
        self,
        text: str,
        k: int = 10,
        *,
        mode: str = "hybrid",
        where: str | None = None,
        all_passages: bool = False,
        fusion: str = FUSIONS[0],
        rerank: str | Path | Reranker | None = None,
        rerank_depth: int = DEPTH_RERANKED,
        rerank_weight: float | None = None,
    ) -> Answer:
        """Find hits as ``search`` does, and say what the user should know about how they were found."""
        _check(k, mode, fusion)
        reranker = self._reranker(rerank, rerank_depth)
        parsed = query.parse(text)
        condition = None if where is None else filters.parse(where)
        with self._reading(mode) as generation:
            notes = list(parsed.notes)
            allowed = None
            if condition is not None:
                allowed = retrieve.Allowed(generation, condition.documents(self._snapshot))
            terms = self._terms(generation, parsed.text, mode, notes)
            dense, lexical, fused = self._retrieve(generation, parsed.text, terms, k, mode, fusion, allowed, notes)
            documents = documents_of(generation.segments, fused.passages)
            kept = np.arange(len(fused)) if all_passages else _first_of_each(documents)
            kept = kept[: max(k, rerank_depth)]
            chosen = Candidates(fused.passages[kept], fused.scores[kept])
            read = retrieve.NONE
            if reranker is not None:
                chosen, read = self._read_again(generation, parsed.text, chosen, reranker, rerank_depth, rerank_weight)
            chosen = Candidates(chosen.passages[:k], chosen.scores[:k])
            searched = sum(len(segment.passages) - len(segment.dead) for segment in generation.segments)
            if allowed is not None:
                searched = len(allowed.passages)
            if not len(chosen):
                notes.append(_why_nothing(searched, where, mode))
            stored = self._snapshot.passages(chosen.passages.tolist())
            base = base_of(self.folder, generation.settings)
            by_source = {"dense": dense, "bm25": lexical} | ({} if reranker is None else {"rerank": read})
            columns = {name: found.score_of(chosen.passages) for name, found in by_source.items()}
            hits = [
                _hit(at + 1, passage, float(score), base, {name: float(column[at]) for name, column in columns.items()})
                for at, (passage, score) in enumerate(zip(stored, chosen.scores, strict=True))
            ]
        return Answer(hits, [form for term in terms for form in term.forms], searched, notes)

    def rank(
        self,
        text: str,
        k: int = 1000,
        *,
        mode: str = "hybrid",
        fusion: str = FUSIONS[0],
        rerank: str | Path | Reranker | None = None,
        rerank_depth: int = DEPTH_RERANKED,
        rerank_weight: float | None = None,
    ) -> Ranking:
        """Rank documents by their best passage, the ``k`` best; texts are fetched for a reranker alone."""
        _check(k, mode, fusion)
        reranker = self._reranker(rerank, rerank_depth)
        parsed = query.parse(text)
        with self._reading(mode) as generation:
            terms = self._terms(generation, parsed.text, mode, [])
            _, _, fused = self._retrieve(generation, parsed.text, terms, k, mode, fusion, None, [])
            documents = documents_of(generation.segments, fused.passages)
            kept = _first_of_each(documents)[: max(k, rerank_depth)]
            chosen = Candidates(fused.passages[kept], fused.scores[kept])
            if reranker is not None:
                chosen, _ = self._read_again(generation, parsed.text, chosen, reranker, rerank_depth, rerank_weight)
            best = documents_of(generation.segments, chosen.passages[:k])
            return Ranking(self._snapshot.names(best.tolist()), chosen.scores[:k])

    def reranker(self, model: str, progress: Progress = SILENT) -> Reranker:
        """Load what ``rerank`` names, once: "late", or a CrossEncoder's folder or name. Raises ModelError.

        The first time on a machine a CrossEncoder is exported (5 to 15 s), which ``progress`` is told.
        """
        from indexer.encoders import load_cross_encoder, load_stored_tokens

        fingerprint = self.fingerprint if model == LATE else ""
        with self._lock:
            if (model, fingerprint) not in self._rerankers:
                self._rerankers[model, fingerprint] = (
                    LateInteraction(load_stored_tokens(self.folder / ENCODER / fingerprint))
                    if model == LATE
                    else load_cross_encoder(model, progress=progress)
                )
            return self._rerankers[model, fingerprint]

    def _reranker(self, rerank: str | Path | Reranker | None, depth: int) -> Reranker | None:
        if not 1 <= depth <= MAX_K:
            raise UsageError(f"the depth of reranking must lie between 1 and {MAX_K}, not {depth}")
        return self.reranker(str(rerank)) if isinstance(rerank, (str, Path)) else rerank

    def _read_again(
        self,
        generation: Generation,
        text: str,
        chosen: Candidates,
        reranker: Reranker,
        depth: int,
        weight: float | None,
    ) -> tuple[Candidates, Candidates]:
        """Order the ``depth`` best anew; return the whole list, and what the reranker gave those it read.

        Late interaction compares letters where the encoder reads no words: its default share shrinks by the trust.
        """
        head = chosen.passages[:depth]
        stored = self._snapshot.passages(head.tolist())
        texts = [searchable(passage.title, passage.location.heading, passage.text) for passage in stored]
        scores = reranker.scores(text, texts) if texts else np.empty(0, np.float32)
        share = default_weight(reranker) if weight is None else weight
        if weight is None and reranker.name == LATE:
            share *= trust(self._encoder(generation).readable(text))
        return blend(chosen, scores, share), Candidates(head, scores)

    def rank_passages(self, text: str, k: int = 200, *, mode: str = "hybrid", fusion: str = FUSIONS[0]) -> Candidates:
        """Rank passages by their ids, without documents and texts: the ``k`` best."""
        _check(k, mode, fusion)
        parsed = query.parse(text)
        with self._reading(mode) as generation:
            terms = self._terms(generation, parsed.text, mode, [])
            _, _, fused = self._retrieve(generation, parsed.text, terms, k, mode, fusion, None, [])
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
            if mode in LEXICAL or self._nearest is not retrieve.nearest_here:
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
        notes: list[str],
    ) -> tuple[Candidates, Candidates, Candidates]:
        """Return the dense list, the lexical list (empty where the mode leaves one out) and their fusion.

        Where fusion needs every score of both lists' union, both are returned completed to it.
        """
        pooled = mode == "hybrid" and fusion not in LISTS
        depth = max(k, POOLED if pooled else DEPTH)
        every = pooled and retrieve.finds_every(generation)
        count = max(depth, retrieve.WHOLE) if every else depth
        if mode in LEXICAL:
            asked = terms if mode == "bm25" else self._expanded(generation, terms, allowed)
            lexical = retrieve.lexical(generation, asked, count, allowed)
            return retrieve.NONE, lexical, lexical
        # The words are looked up while the encoder runs, or is loaded: neither holds the interpreter's lock.
        coming: Future[Candidates] | None = None
        if mode == "hybrid":
            coming = self._beside.submit(retrieve.lexical, generation, terms, count, allowed)
        encoder = self._encoder(generation)
        vector = encoder.encode_queries([text])[0]
        dense = retrieve.dense(generation, vector, depth, allowed, self._nearest)
        if coming is None:
            return dense, retrieve.NONE, dense
        found = coming.result()
        lexical = found.best(depth)
        if fusion in LISTS:
            return dense, lexical, LISTS[fusion](dense, lexical)
        trusted = _trust(encoder, text, notes)
        whole = found if every else None
        pool, vectors = retrieve.pool(generation, vector, terms, dense, lexical, whole, trust=trusted)
        sample = self._sample(generation)
        weights = self._weights(generation)
        if fusion == "standard":
            return (*pool.lists(), standard(pool, *sample.moments(vector), span=weights.span))
        if fusion == "feedback":
            return (*pool.lists(), ask_again(pool, vectors, vector, sample.moments, weights))
        return (*pool.lists(), ask_and_lift(pool, vectors, vector, sample.moments, sample.alike, weights))

    def _expanded(
        self, generation: Generation, terms: list[Term], allowed: retrieve.Allowed | None
    ) -> Mapping[Term, float]:
        """Add words of the first passages that BM25 finds to a query."""
        first = retrieve.lexical(generation, terms, expansion.READ, allowed)
        stored = self._snapshot.passages(first.passages.tolist())
        texts = [searchable(passage.title, passage.location.heading, passage.text) for passage in stored]
        read = [] if generation.postings is None else [generation.postings.terms(text) for text in texts]
        return expansion.rm3(terms, read, first.scores.tolist())

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


def _trust(encoder: Encoder, text: str, notes: list[str]) -> float:
    """Tell how much the cosines of a query mean; say so where that is not all."""
    readable = encoder.readable(text)
    trusted = trust(readable)
    if trusted < 1:
        notes.append(
            f"the encoder reads {readable:.0%} of the query's letters, so that words count for more "
            "(index --model takes one that has learnt the language)"
        )
    return trusted


def _first_of_each(documents: np.ndarray) -> np.ndarray:
    """Find where each document appears first: int64 [n] → positions [m], ascending."""
    _, first = np.unique(documents, return_index=True)
    return np.sort(first)


def _hit(rank: int, passage: StoredPassage, score: float, base: Path, by_source: dict[str, float]) -> Hit:
    scores = {name: None if np.isnan(value) else round(value, 6) for name, value in by_source.items()}
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
        " (no passage has any of the words; try --mode hybrid)" if mode in LEXICAL else ""
    )
