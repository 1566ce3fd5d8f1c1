"""Queries said otherwise by a language model, where the user names one."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.endpoint import Endpoint
from benchmarks.lines import shown
from indexer.errors import DataError
from indexer.progress import SILENT, Progress

INSTRUCTION = (
    "Rewrite the search query in other words. Keep its meaning, names, numbers and language exactly. "
    "Answer with the rewritten query alone, on one line."
)


def paraphrase(texts: Mapping[str, str], endpoint: Endpoint, progress: Progress = SILENT) -> dict[str, str]:
    """Say each query (id → text) in other words. Raises DataError where the endpoint fails, or answers with nothing."""
    said: dict[str, str] = {}
    progress.start("paraphrase", len(texts), "queries")
    for identifier, text in texts.items():
        answer = " ".join(endpoint.ask(INSTRUCTION, text).split())
        if not answer:
            raise DataError(f"{endpoint.url}: an empty answer for query {shown(identifier)}")
        said[identifier] = answer.removeprefix('"').removesuffix('"')
        progress.advance()
    progress.finish()
    return said
