"""Queries said otherwise by a language model behind an OpenAI-compatible endpoint, where the user names one.

Queries are sent to that address and nowhere else; nothing is sent unless an address was given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from benchmarks.lines import shown
from indexer.errors import DataError, UsageError
from indexer.progress import SILENT, Progress

KEY = "SEARCHENGINE_LLM_KEY"  # environment: a key on the command line would be seen by every user of the machine
INSTRUCTION = (
    "Rewrite the search query in other words. Keep its meaning, names, numbers and language exactly. "
    "Answer with the rewritten query alone, on one line."
)
TIMEOUT_S = 120.0
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers: ``url`` is what stands before /chat/completions, such as http://localhost:8000/v1."""

    url: str
    model: str
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        """Raise UsageError for what is no web address, or no model."""
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).netloc:
            raise UsageError(f"{self.url!r:.80} is no address of an endpoint (such as http://localhost:8000/v1)")
        if not self.model:
            raise UsageError("the endpoint needs a model's name (--paraphrase-model)")

    def ask(self, instruction: str, text: str) -> str:
        """Return the model's answer, at temperature 0. Raises DataError, in one line, where there is none."""
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": text}]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0, "seed": 0}).encode()
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        address = f"{self.url.rstrip('/')}/chat/completions"
        try:
            with urlopen(Request(address, body, headers), timeout=self.timeout_s) as response:  # noqa: S310  checked above
                answer = json.loads(response.read(MOST_BYTES))
            content = answer["choices"][0]["message"]["content"]
        except HTTPError as error:
            raise DataError(f"{address}: {error.code} {error.reason} (is the model {self.model!r} there?)") from error
        except (URLError, TimeoutError, OSError) as error:
            raise DataError(f"{address}: no answer ({getattr(error, 'reason', error)})") from error
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{address}: no chat completion ({str(error)[:80]})") from error
        if not isinstance(content, str):
            raise DataError(f"{address}: no chat completion (its content is no text)")
        return content


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
