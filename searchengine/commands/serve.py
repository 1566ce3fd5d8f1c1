"""`searchengine serve`: the index behind HTTP, a web page, or MCP."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from indexer.encoders import load_cross_encoder
from indexer.errors import SearchEngineError
from searchengine import render, retrieve, terminal
from searchengine.commands.options import (
    index_option,
    located,
    rerank_depth_option,
    rerank_option,
    rerank_weight_option,
)
from searchengine.engine import Searcher
from searchengine.rerank import LATE
from searchengine.server.searchers import Searchers


@click.command()
@index_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: any free one.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name it is called by; repeatable.")
@click.option("--token", envvar="SEARCHENGINE_TOKEN", help="A secret to ask for. [env SEARCHENGINE_TOKEN]")
@click.option(
    "--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="Questions answered at the same time."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.01), default=10.0, show_default=True, help="Seconds a question."
)
@rerank_option
@rerank_depth_option
@rerank_weight_option
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Let the Ray cluster at ADDRESS (auto: the one running here), or one started here, hold the vectors and scan "
    "them; the same hits.",
)
@click.option("--mcp", "as_mcp", is_flag=True, help="Serve tools to a language model over stdin and stdout instead.")
def serve(
    index: Path | None,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    token: str | None,
    threads: int,
    timeout_s: float,
    rerank: str | None,
    rerank_depth: int,
    rerank_weight: float | None,
    ray: str | None,
    as_mcp: bool,
) -> None:
    """Serve the index: HTTP, a web page, MCP."""
    for package in ("mcp",) if as_mcp else ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise SearchEngineError(f"{package} is not installed: pip install 'searchengine[serve]'")
    from indexer.index import find_index

    folder = find_index(located(index))
    with ExitStack() as open_until_the_end:
        nearest: retrieve.Nearest = retrieve.nearest_here
        if ray is not None:
            from indexer.cluster import Cluster
            from searchengine.shards import Shards

            cluster = Cluster(ray)
            open_until_the_end.callback(cluster.close)
            nearest = Shards(folder, cluster, progress=terminal.PlainProgress()).nearest
        again: dict[str, Any] = {"rerank_depth": rerank_depth, "rerank_weight": rerank_weight}
        if rerank is not None:
            again["rerank"] = rerank if rerank == LATE else load_cross_encoder(rerank, progress=terminal.progress())
        searchers = Searchers(folder, threads, lambda place: Searcher(place, nearest=nearest), again)
        open_until_the_end.callback(searchers.close)
        if as_mcp:
            from searchengine.server import mcp

            mcp.serve(searchers)
        else:
            _serve_http(searchers, host, port, hosts, token, timeout_s)


def _serve_http(
    searchers: Searchers, host: str, port: int, hosts: tuple[str, ...], token: str | None, timeout_s: float
) -> None:
    from searchengine.server.access import access_for
    from searchengine.server.app import application
    from searchengine.server.serve import listen, serve

    access = access_for(host, hosts, token)
    with listen(host, port) as listening:
        place = f"[{host}]" if ":" in host else host
        url = f"http://{place}:{listening.getsockname()[1]}/"
        render.note(f"{searchers.folder}: serving at {url} (Ctrl-C stops it)")
        serve(application(searchers, access, timeout_s=timeout_s), listening)
    render.note("stopped")
