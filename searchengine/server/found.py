"""What a search gives, as HTTP and MCP pass it on: the command line's hits, and of each what a person should see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from searchengine.hits import Answer, Hit
from searchengine.render import clean
from searchengine.server.request import SearchRequest
from searchengine.server.searchers import Searchers
from searchengine.snippets import snippet

SNIPPET = 280  # characters


def found(searchers: Searchers, asked: SearchRequest) -> dict[str, Any]:
    """Search, and return what was found as JSON takes it. Raises UsageError and what reading an index may raise."""
    began = time.perf_counter()
    with searchers.one() as searcher:
        answer = searcher.answer(
            asked.q,
            asked.k,
            mode=asked.mode,
            where=asked.where,
            all_passages=asked.all_passages,
            fusion=asked.fusion,
            **searchers.rerank,
        )
        hits = [hit.as_dict() | {"snippet": _snippet(hit, answer, searcher.analyse)} for hit in answer.hits]
    return {
        "query": asked.q,
        "hits": hits,
        "searched": answer.searched,
        "notes": answer.notes,
        "took_ms": round(1000 * (time.perf_counter() - began), 1),
    }


def _snippet(hit: Hit, answer: Answer, analyse: Callable[[str], list[str]]) -> dict[str, Any]:
    """Cut the part of a hit's text that a person should see; ``matches`` are [start, end) in it, in code points."""
    cut = snippet(" ".join(clean(hit.text).split()), set(answer.terms), analyse, SNIPPET)
    return {"text": cut.text, "matches": cut.matches, "cut_before": cut.cut_before, "cut_after": cut.cut_after}
