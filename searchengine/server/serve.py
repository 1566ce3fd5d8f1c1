"""Serves the application: one socket, bounded patience with clients, a graceful end on SIGTERM and Ctrl-C."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from indexer.errors import SearchEngineError

HEADERS_S = 10.0
IDLE_S = 10
DRAIN_S = 2
MAX_CONNECTIONS = 4096


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits only so long for a request's head: silent connections are let go of."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent
        """Begin to wait."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        # uvicorn's own clock runs between requests; before the first one, and amid a head, nothing does.
        if self.cycle is None or (self.cycle.response_complete and self.timeout_keep_alive_task is None):
            self.transport.close()
        else:
            self._deadline = self.loop.call_later(HEADERS_S, self._give_up)


def listen(host: str, port: int) -> socket.socket:
    """Open the socket. Raises SearchEngineError where the address is taken or not ours."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise SearchEngineError(
            f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error} (choose another --port)"
        ) from error


def server_for(application: ASGIApp) -> uvicorn.Server:
    """Make the server of an application."""
    settings: dict[str, Any] = {"ws": "none", "lifespan": "off", "access_log": False, "log_level": "warning"}
    config = uvicorn.Config(
        application,
        http=PatientProtocol,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=DRAIN_S,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=64 << 10,
        server_header=False,
        **settings,
    )
    return uvicorn.Server(config)


def serve(application: ASGIApp, listening: socket.socket) -> None:
    """Answer until SIGTERM or Ctrl-C; then take no more, finish what is under way within two seconds, and return."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has ended
        server_for(application).run(sockets=[listening])
