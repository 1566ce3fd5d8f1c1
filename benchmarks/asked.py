"""A query's lists, pool and vectors, retrieved once: what ways to fuse are compared on, by studies and by ``tune``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.beir import is_blank
from indexer.analysis import Term
from indexer.encoders import load_stored_encoder
from indexer.format import ENCODER
from indexer.snapshot import Generation
from searchengine import fusion, query, retrieve
from searchengine.hits import Candidates, Pool

DEPTH = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """One query's lists, their pool with all scores, and what feedback and neighbours need besides."""

    vector: np.ndarray
    dense: Candidates
    lexical: Candidates
    pool: Pool
    vectors: np.ndarray
    moments: Callable[[np.ndarray], tuple[float, float]]
    alike: float = 0.0


def ask(
    generation: Generation,
    sample: retrieve.Sample,
    vector: np.ndarray,
    terms: list[Term],
    depth: int = DEPTH,
    *,
    trust: float = 1.0,
) -> Asked:
    """Retrieve one query's lists, ``depth`` passages each, and pool them, with how much its cosines mean."""
    dense = retrieve.dense(generation, vector, depth, None)
    lexical = retrieve.lexical(generation, terms, depth, None)
    pool, vectors = retrieve.pool(generation, vector, terms, dense, lexical, trust=trust)
    return Asked(vector, dense, lexical, pool, vectors, sample.moments, sample.alike)


def ask_all(
    place: Path, generation: Generation, texts: Mapping[str, str], depth: int = DEPTH
) -> Iterator[tuple[str, Asked]]:
    """Retrieve queries (id → text) one after the other; a blank one finds nothing and is left out."""
    encoder = load_stored_encoder(place / ENCODER / generation.settings["encoder"]["fingerprint"])
    sample = retrieve.Sample(generation.segments)
    for identifier, text in texts.items():
        if is_blank(text) or generation.postings is None:
            continue
        cleaned = query.parse(text).text
        terms = query.bounded_terms(query.content_terms(generation.postings.terms(cleaned), []), [])
        vector, trust = encoder.encode_queries([cleaned])[0], fusion.trust(encoder.readable(cleaned))
        yield identifier, ask(generation, sample, vector, terms, depth, trust=trust)
