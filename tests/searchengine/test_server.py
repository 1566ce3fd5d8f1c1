"""The HTTP API, its page and the MCP tools answer what the engine answers, and only those who may ask."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import searchengine
from indexer.errors import UsageError
from searchengine import Searcher
from searchengine.server import serve as serving
from searchengine.server.access import Access, access_for
from searchengine.server.request import FIELDS, SearchRequest, from_json, from_url

QUESTION = "why is my attic wet since we put fibreglass in?"
PROGRAM = Path(sys.executable).with_name("searchengine")


class Served(NamedTuple):
    process: subprocess.Popen[str]
    folder: Path
    host: str
    port: int


def start(folder: Path, *words: str, **environment: str) -> Served:
    process = subprocess.Popen(
        [PROGRAM, "serve", "--index", folder, "--port", "0", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "serving at http://" in line, line + process.stderr.read()
    url = urlsplit(line.split("serving at ")[1].split()[0])
    assert url.hostname is not None
    assert url.port is not None
    return Served(process, folder, url.hostname, url.port)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, library_index: Searcher) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "library"
    shutil.copytree(library_index.folder.parent, folder)
    server = start(folder)
    yield server
    server.process.send_signal(signal.SIGINT)
    _, said = server.process.communicate(timeout=20)
    assert (server.process.returncode, said) == (0, "searchengine: stopped\n")  # nothing of what was asked was a fault


def ask(
    served: Served, path: str, body: bytes | None = None, method: str | None = None, **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(served.host, served.port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named.setdefault("content-type", "application/json")
    connection.request(method or ("GET" if body is None else "POST"), path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, json.loads(content) if is_json and content else content, answer.headers


def search(served: Served, **asked: object) -> tuple[int, Any]:
    return ask(served, f"/search?{urlencode(asked)}")[:2]


def test_get_and_post_answer_what_the_engine_answers(served: Served, library_index: Searcher) -> None:
    for options in ({}, {"k": 3, "mode": "dense"}, {"where": "ext:md", "fusion": "rrf"}, {"all_passages": True}):
        expected = library_index.search(QUESTION, **options)  # type: ignore[arg-type]
        status, by_url = search(served, q=QUESTION, **options)
        posted, by_body, _ = ask(served, "/search", json.dumps({"q": QUESTION, **options}).encode())
        assert (status, posted) == (200, 200)
        for answer in (by_url, by_body):
            assert told(answer["hits"]) == told([hit.as_dict() for hit in expected])


def told(hits: list[dict[str, Any]]) -> Any:
    """Return hits as JSON gives them back, without the place on disk and the snippet."""
    return json.loads(json.dumps([{key: hit[key] for key in hit if key not in ("path", "snippet")} for hit in hits]))


def test_a_snippet_marks_words_of_the_query(served: Served) -> None:
    _, answer = search(served, q="overdue books", mode="bm25", k=3)
    for hit in answer["hits"]:
        cut = hit["snippet"]
        words = {cut["text"][start:end].lower() for start, end in cut["matches"]}
        assert words
        assert all(word.startswith(("overdu", "book")) for word in words)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"q": " "}, "q is missing"),
        ({"q": "x", "k": "1e3"}, "k must be"),
        ({"q": "x", "k": 1001}, "k must be"),
        ({"q": "x" * 9000}, "8192 bytes"),
        ({"q": "x", "qq": 1}, "did you mean q?"),
        ({"q": "x", "mode": "fuzzy"}, "no mode 'fuzzy'"),
        ({"q": "x", "where": "foo:1"}, "no field 'foo'"),
        ({"q": "x", "all_passages": "perhaps"}, "true or false"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(served: Served, asked: dict[str, object], said: str) -> None:
    status, answer = search(served, **asked)
    assert status == 422
    assert said in answer["error"]


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'{"q":', b'{"q":"a","q":"b"}', b'{"q":"a","k":NaN}', b"[" * 100_000, b"\xff"]
)
def test_a_body_that_is_no_json_object_is_refused(served: Served, body: bytes) -> None:
    status, answer, _ = ask(served, "/search", body)
    assert status == 400
    assert "JSON" in answer["error"]


def test_a_large_body_is_refused(served: Served) -> None:
    assert ask(served, "/search", b" " * (1 << 20) + b"{}")[0] == 413


def test_routes_methods_and_types(served: Served) -> None:
    assert ask(served, "/nowhere")[0] == 404
    assert ask(served, "/../pyproject.toml")[0] == 404
    assert ask(served, "/search", method="DELETE")[0] == 405
    assert ask(served, "/", method="HEAD")[0] == 200
    assert ask(served, "/search", b'{"q":"x"}', content_type="text/plain")[0] == 415
    assert ask(served, "/status")[1]["documents"] > 30
    assert ask(served, "/health")[1]["status"] == "ok"


def test_the_page_names_nothing_outside(served: Served) -> None:
    status, page, headers = ask(served, "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    for path in ("/page.css", "/page.js"):
        assert path.encode() in page
        found, text, _ = ask(served, path)
        assert found == 200
        assert b"http://" not in text.replace(b"http://host:port", b"")
        assert b"https://" not in text
        assert b"innerHTML" not in text


OURS = ["127.0.0.1", "127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"]
OTHERS = [
    "evil.com",
    "127.0.0.1.evil.com",
    "localhost.",
    "0.0.0.0",
    "2130706433",
    "127.1",
    "[::]",
    "127.0.0.1:x",
    "",
    "a b",
]


def refusal(access: Access, *headers: tuple[str, str], method: str = "GET", path: str = "/search") -> int | None:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    refused = access.refusal({"type": "http", "method": method, "path": path, "headers": raw})
    return None if refused is None else refused[0]


def test_only_our_own_pages_and_programs_may_ask() -> None:
    access = access_for("127.0.0.1", (), None)
    for host in OURS:
        assert refusal(access, ("host", host)) is None
        for origin in (f"http://{host}", f"https://{host}"):
            assert refusal(access, ("host", host), ("origin", origin)) is None
        for origin in ("null", "http://evil.com", "http://127.0.0.1.evil.com", f"http://{host}0", ""):
            assert refusal(access, ("host", host), ("origin", origin)) == 403
        for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            assert refusal(access, ("host", host), ("content-type", media_type), method="POST") == 415
        assert refusal(access, ("host", host), method="POST") == 415
        assert (
            refusal(access, ("host", host), ("content-type", "Application/JSON; charset=utf-8"), method="POST") is None
        )
        assert refusal(access, ("host", host), ("host", host)) == 421
    for host in OTHERS:
        assert refusal(access, ("host", host)) == 421
    assert refusal(access) == 421
    assert refusal(access_for("127.0.0.1", ("Search.Home",), None), ("host", "search.home:80")) is None


def test_other_machines_need_a_token_and_a_name() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):
        with pytest.raises(UsageError, match="other machines"):
            access_for(host, ("search.home",), None)
    with pytest.raises(UsageError, match="--allow-host"):
        access_for("0.0.0.0", (), "secret")
    access = access_for("192.0.2.7", (), "secret")
    own = ("host", "192.0.2.7:8765")
    assert refusal(access, own) == 401
    assert refusal(access, own, ("authorization", "Bearer other")) == 401
    assert refusal(access, own, ("authorization", "Bearer secret")) is None
    assert refusal(access, own, path="/health") is None


def test_a_new_generation_answers_without_restart_while_others_ask(served: Served) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def hammer() -> None:
        while not stop.is_set():
            statuses.append(search(served, q=QUESTION, k=2)[0])

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(hammer) for _ in range(4)]
        try:
            (served.folder / "zebu.md").write_text("# Zebu\n\nA zebu is a hump-backed ox.\n")
            searchengine.index(served.folder).close()
        finally:
            stop.set()
        for each in asking:
            each.result()
    assert set(statuses) == {200}
    assert search(served, q="zebu", mode="bm25")[1]["hits"][0]["document"] == "zebu.md"


def test_an_index_that_goes_and_comes_back_is_said_and_found_again(served: Served) -> None:
    place = served.folder / ".searchengine"
    away = served.folder.with_name("away")
    place.rename(away)
    try:
        status, answer = search(served, q="honey")
        assert status == 503
        assert "removed" in answer["error"]
        assert ask(served, "/health")[0] == 503
    finally:
        away.rename(place)
    assert search(served, q="honey")[0] == 200


def test_a_server_with_a_token_ends_on_sigterm(served: Served) -> None:
    other = start(served.folder, "--timeout", "0.01", SEARCHENGINE_TOKEN="secret")
    try:
        assert search(other, q="honey")[0] == 401
        asked = f"/search?{urlencode({'q': 'honey ' * 300, 'mode': 'dense'})}"
        status, answer, headers = ask(other, asked, authorization="Bearer secret")
        assert status == 503
        assert "within 0.01 s" in answer["error"]
        assert headers["retry-after"] == "1"
        other.process.send_signal(signal.SIGTERM)
        _, said = other.process.communicate(timeout=20)
        assert (other.process.returncode, said) == (0, "searchengine: stopped\n")
    finally:
        other.process.kill()


def test_a_taken_port_is_said(served: Served) -> None:
    words = [PROGRAM, "serve", "--index", served.folder, "--port", str(served.port)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "choose another --port" in result.stderr


def test_a_silent_connection_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEADERS_S", 0.2)
    listening = serving.listen("127.0.0.1", 0)
    server = serving.server_for(_never)
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    try:
        for said in (b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-"):
            with socket.create_connection(listening.getsockname(), timeout=20) as client:
                client.sendall(said)
                assert client.recv(1) == b""
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


async def _never(scope: object, receive: object, send: object) -> None:
    pytest.fail("there was no request")


def test_the_best_are_read_again_by_what_the_server_was_started_with(library_index: Searcher) -> None:
    server = start(library_index.folder, "--rerank", "late", "--rerank-depth", "5", "--rerank-weight", "0.9")
    try:
        status, answer = search(server, q=QUESTION, k=5)
        expected = library_index.search(QUESTION, 5, rerank="late", rerank_depth=5, rerank_weight=0.9)
        assert (status, told(answer["hits"])) == (200, told([hit.as_dict() for hit in expected]))
        assert all(hit["scores"]["rerank"] > 0 for hit in answer["hits"])
        status, refused = search(server, q=QUESTION, rerank="/etc")  # which model is read is not the client's to say
        assert (status, "rerank" in refused["error"]) == (422, True)
    finally:
        server.process.send_signal(signal.SIGINT)
        server.process.communicate(timeout=20)


@given(
    st.builds(
        SearchRequest,
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=50).filter(str.strip),
        st.integers(1, 1000),
        st.sampled_from(["hybrid", "dense", "bm25"]),
        st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        st.booleans(),
    )
)
def test_a_request_means_the_same_by_url_and_by_json(request: SearchRequest) -> None:
    fields = {name: value for name in FIELDS if (value := getattr(request, name)) is not None}
    assert from_json(json.dumps(fields).encode()) == request
    assert from_url([(name, str(value)) for name, value in fields.items()]) == request


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_body_is_a_request_or_a_sentence(body: bytes) -> None:
    try:
        assert from_json(body).q.strip()
    except ValueError as error:  # UsageError is one
        assert str(error)


def test_mcp_tools_answer_what_the_engine_answers(library_index: Searcher) -> None:
    import asyncio

    from mcp import ClientSession, StdioServerParameters, stdio_client

    async def converse() -> tuple[Any, ...]:
        words = ["serve", "--mcp", "--index", str(library_index.folder)]
        server = StdioServerParameters(command=str(PROGRAM), args=words, env=dict(os.environ))
        async with stdio_client(server) as streams, ClientSession(*streams) as session:
            await session.initialize()
            tools = await session.list_tools()
            answers = [
                await session.call_tool(name, arguments)
                for name, arguments in (
                    ("search", {"query": QUESTION, "k": 2}),
                    ("status", {}),
                    ("search", {"query": "x", "k": 51}),
                    ("search", {"query": "x", "where": "foo:1"}),
                    ("search", {"query": ["x"]}),
                    ("search", {"query": "honey", "k": 1}),
                )
            ]
            return tools, *answers

    tools, hits, status, too_many, no_field, no_text, after = asyncio.run(converse())
    assert {tool.name for tool in tools.tools} == {"search", "status"}
    assert all(tool.annotations.read_only_hint for tool in tools.tools)
    expected = [(hit.document, hit.passage, hit.text) for hit in library_index.search(QUESTION, 2)]
    answered = json.loads(hits.content[0].text)["hits"]
    assert [(hit["document"], hit["passage"], hit["text"]) for hit in answered] == expected
    assert json.loads(status.content[0].text)["documents"] == library_index.count()[0]
    assert too_many.is_error
    assert no_text.is_error
    assert no_field.is_error
    assert "no field 'foo'" in no_field.content[0].text
    assert not after.is_error  # the server lives on


def test_mcp_ends_with_its_input_or_a_signal(library_index: Searcher) -> None:
    words = [PROGRAM, "serve", "--mcp", "--index", library_index.folder]
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for ends in (lambda process: process.stdin.close(), lambda process: process.terminate()):
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(hello) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == 1
            ends(process)
            assert process.wait(timeout=20) in (0, -signal.SIGTERM)
