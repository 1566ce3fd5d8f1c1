"""A language model behind an OpenAI-compatible endpoint that the user names: one question, one answer.

Texts are sent to that address and nowhere else; nothing is sent unless an address was given.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from indexer.errors import DataError, UsageError

KEY = "SEARCHENGINE_LLM_KEY"  # environment: a key on the command line would be seen by every user of the machine
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
            raise UsageError(
                f"{self.url}: name the model that is to answer there (--paraphrase-model, --generator-model)"
            )

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
