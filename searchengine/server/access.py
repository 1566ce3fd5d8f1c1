"""Who may ask: only the user's own pages and programs. A web page anywhere else must not reach a local server.

A page can send requests to 127.0.0.1, and by DNS rebinding even read the answers: so the Host must be one that we are
called by, the Origin our own, and a POST must say application/json, which no page may without being allowed to.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import UsageError
from searchengine.server.replies import sentence

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OPEN_PATHS = ("/", "/page.css", "/page.js", "/health")  # they tell nothing of the index
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?", re.ASCII)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Access:
    """The names that the server answers to, and the token that it asks for (None: none)."""

    hosts: frozenset[str]
    token: str | None

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Say why a request is not answered, with its status; None where it is."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        match = _HOST.fullmatch(host)
        if match is None or match[1] not in self.hosts:
            return 421, "this server is not called by that name (allow it with --allow-host)"
        origins = [origin.lower() for origin in headers.getlist("origin")]
        if any(origin not in (f"http://{host}", f"https://{host}") for origin in origins):
            return 403, "pages of another origin may not ask this server"
        if self.token is not None and scope["path"] not in OPEN_PATHS:
            given = headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
                return 401, "this server asks for its token (Authorization: Bearer TOKEN)"
        if scope["method"] == "POST" and _media_type(headers) != "application/json":
            return 415, "a POST must be application/json"
        return None


def access_for(host: str, allowed: tuple[str, ...], token: str | None) -> Access:
    """Decide who may ask a server that listens on ``host``.

    Raises UsageError where other machines could ask without a token, or by no name.
    """
    name = f"[{host}]" if ":" in host else host
    names = {*LOOPBACK, *(each.lower() for each in allowed)}
    if _is_loopback(host):
        return Access(frozenset({*names, name}), token)
    if not token:
        raise UsageError(f"{host} can be reached by other machines: set a secret with SEARCHENGINE_TOKEN or --token")
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound to
        if not allowed:
            raise UsageError(f"{host} has no name of its own: say by which name it is called, with --allow-host NAME")
        return Access(frozenset(names), token)
    return Access(frozenset({*names, name}), token)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class Guard:
    """The outermost layer: refuses, and tells browsers what they must not do with an answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=_scope_of(message))
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        refusal = self._access.refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await sentence(*refusal)(scope, receive, send_guarded)


def _scope_of(message: Message) -> dict[str, Any]:
    message.setdefault("headers", [])
    return message  # type: ignore[return-value]  # starlette reads the headers of either
