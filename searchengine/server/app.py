"""The HTTP application: GET or POST /search, /status, /health, and the page at /.

Answers come from the newest generation: a writer may work at any time. Knows nothing of how sockets are served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from indexer.errors import SearchEngineError, UsageError
from indexer.status import describe
from searchengine.server.access import Access, Guard
from searchengine.server.found import found
from searchengine.server.replies import reply, sentence
from searchengine.server.request import from_json, from_url
from searchengine.server.searchers import Searchers

MAX_BODY = 1 << 20
MAX_UNDER_WAY = 64
BODY_S = 10.0
PAGE = Path(__file__).parent / "page"


class Service:
    """The routes over one index's searchers."""

    def __init__(self, searchers: Searchers, timeout_s: float) -> None:
        self._searchers = searchers
        self._timeout_s = timeout_s
        self._under_way = 0

    async def search(self, request: Request) -> Response:
        """Answer a question."""
        try:
            if request.method == "POST":
                asked = from_json(await _body(request))
            else:
                asked = from_url(request.query_params.multi_items())
        except UsageError as error:
            return sentence(422, str(error))
        except ValueError as error:
            return sentence(400, str(error))
        return await self._reply(lambda: found(self._searchers, asked))

    async def status(self, request: Request) -> Response:
        """Describe the index."""
        return await self._reply(lambda: describe(self._searchers.folder))

    async def health(self, request: Request) -> Response:
        """Say whether a question would be answered."""
        return await self._reply(lambda: {"status": "ok", "generation": self._searchers.generation()})

    async def _reply(self, work: Callable[[], Any]) -> Response:
        """Work in a thread, for so long, and for so many at once."""
        if self._under_way >= MAX_UNDER_WAY:
            return sentence(503, "too many questions at once: ask again in a second", {"retry-after": "1"})
        self._under_way += 1
        begun = self._searchers.submit(work)
        answer = asyncio.wrap_future(begun)
        answer.add_done_callback(self._done)
        try:
            return reply(await asyncio.wait_for(asyncio.shield(answer), self._timeout_s))
        except TimeoutError:
            begun.cancel()  # one that a thread has begun goes on, and counts until it ends
            return sentence(503, f"no answer within {self._timeout_s:g} s: ask again", {"retry-after": "1"})
        except UsageError as error:
            return sentence(422, str(error))
        except SearchEngineError as error:  # removed, damaged, being made anew: the next question may be answered
            return sentence(503, str(error), {"retry-after": "1"})

    def _done(self, answer: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not answer.cancelled():
            answer.exception()  # of an answer that nobody waits for any more


async def _body(request: Request) -> bytes:
    """Read a request's body, of so many bytes and within so many seconds."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise HTTPException(413, f"a request may have {MAX_BODY} bytes")
    except TimeoutError:
        raise HTTPException(408, f"the request did not come within {BODY_S:g} s") from None
    return bytes(body)


def application(searchers: Searchers, access: Access, *, timeout_s: float) -> Starlette:
    """Make the application."""
    service = Service(searchers, timeout_s)
    types = {"index.html": "text/html; charset=utf-8", "page.css": "text/css", "page.js": "text/javascript"}

    def page(name: str) -> Callable[[Request], Response]:
        return lambda request: FileResponse(PAGE / name, media_type=types[name], headers={"cache-control": "no-cache"})

    return Starlette(
        routes=[
            Route("/search", service.search, methods=["GET", "POST"]),
            Route("/status", service.status),
            Route("/health", service.health),
            Route("/", page("index.html")),
            Route("/page.css", page("page.css")),
            Route("/page.js", page("page.js")),
        ],
        middleware=[Middleware(Guard, access)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    sentences = {404: "nothing is here: there are /search, /status, /health", 405: "not by this method"}
    return sentence(error.status_code, sentences.get(error.status_code, error.detail), dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    return sentence(500, "this is a fault of the server's: its log says more")
