"""Answers as JSON: what was found, or one sentence that says what is wrong."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from searchengine import render


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with one JSON document."""
    return Response(render.json(value), status, headers, "application/json")


def sentence(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Answer with what went wrong."""
    return reply({"error": message}, status, headers)
