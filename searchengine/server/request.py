"""What a search request may say, however it comes: by URL, by JSON or by MCP. Knows nothing of sockets."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from indexer.errors import UsageError
from searchengine.fusion import FUSIONS
from searchengine.query import MAX_BYTES

MAX_K = 1000
MAX_WHERE = 4096  # characters
FIELDS = ("q", "k", "mode", "where", "all_passages", "fusion")
_TRUTH = {"true": True, "1": True, "": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One question with its options, checked as far as no index is needed for it."""

    q: str
    k: int = 10
    mode: str = "hybrid"
    where: str | None = None
    all_passages: bool = False
    fusion: str = FUSIONS[0]


def read_request(given: dict[str, Any]) -> SearchRequest:
    """Check a request's fields, typed as in JSON. Raises UsageError with a sentence."""
    for name in given:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)}"
            raise UsageError(f"no parameter {ascii(name)[:80]} ({hint})")
    q, k, where = given.get("q"), given.get("k", 10), given.get("where")
    if not isinstance(q, str) or not q.strip():
        raise UsageError("q is missing: say what you are looking for")
    if len(q.encode("utf-8", "replace")) > MAX_BYTES:
        raise UsageError(f"q may have {MAX_BYTES} bytes")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise UsageError(f"k must be a whole number from 1 to {MAX_K}, not {ascii(k)[:40]}")
    if where is not None and (not isinstance(where, str) or len(where) > MAX_WHERE):
        raise UsageError(f"where must be a filter of at most {MAX_WHERE} characters, such as 'ext:pdf'")
    for name in ("mode", "fusion"):
        if name in given and not isinstance(given[name], str):
            raise UsageError(f"{name} must be a word")
    if not isinstance(given.get("all_passages", False), bool):
        raise UsageError("all_passages must be true or false")
    return SearchRequest(**given)


def from_url(pairs: Iterable[tuple[str, str]]) -> SearchRequest:
    """Read a request from the pairs of a URL's query. Raises UsageError."""
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise UsageError(f"{ascii(name)[:80]} is given twice")
        given[name] = value
    if "k" in given and given["k"].isascii() and given["k"].isdigit():
        given["k"] = int(given["k"][:9])
    if "all_passages" in given:
        given["all_passages"] = _TRUTH.get(given["all_passages"].lower())
    if given.get("where") == "":
        del given["where"]
    return read_request(given)


def from_json(body: bytes) -> SearchRequest:
    """Read a request from a JSON object. Raises ValueError where it is none, UsageError where a field is wrong."""
    try:
        given = json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {str(error)[:120]}") from None
    if not isinstance(given, dict):
        raise ValueError("not a JSON object")
    return read_request(given)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("a key is given twice")
    return given


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
