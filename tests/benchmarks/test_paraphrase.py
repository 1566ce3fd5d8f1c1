"""Paraphrases by an endpoint, against a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.paraphrase import KEY, Endpoint, paraphrase
from indexer.errors import DataError, UsageError


class Stub(BaseHTTPRequestHandler):
    """Answers each query with its words turned round; what it was asked is kept."""

    asked: list[tuple[str, dict[str, object], str | None]]
    answer: object = None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body, self.headers.get("Authorization")))
        if body["model"] == "missing":
            self.send_error(404, "no such model")
            return
        text = " ".join(reversed(body["messages"][-1]["content"].split()))
        answer = {"choices": [{"message": {"role": "assistant", "content": f'"{text}"\n'}}]}
        content = json.dumps(answer if self.answer is None else self.answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@contextmanager
def serving() -> Iterator[tuple[str, type[Stub]]]:
    """Serve on a port of this machine: the endpoint's address, and the handler that keeps what it was asked."""
    handler = type("OneStub", (Stub,), {"asked": [], "answer": None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", handler
        server.shutdown()
        thread.join()


@pytest.fixture
def stub() -> Iterator[tuple[str, type[Stub]]]:
    with serving() as served:
        yield served


def test_each_query_is_sent_once_and_answered_in_order(stub, monkeypatch) -> None:
    url, handler = stub
    monkeypatch.setenv(KEY, "secret")
    said = paraphrase({"q1": "warm hive", "q2": "lofts that drip"}, Endpoint(f"{url}/", "small"))
    assert said == {"q1": "hive warm", "q2": "drip that lofts"}
    paths, bodies, keys = zip(*handler.asked, strict=True)
    assert set(paths) == {"/v1/chat/completions"}
    assert [body["messages"][-1]["content"] for body in bodies] == ["warm hive", "lofts that drip"]
    assert all(body["model"] == "small" and body["temperature"] == 0 for body in bodies)
    assert set(keys) == {"Bearer secret"}


def test_without_a_key_none_is_sent(stub, monkeypatch) -> None:
    url, handler = stub
    monkeypatch.delenv(KEY, raising=False)
    paraphrase({"q": "bees"}, Endpoint(url, "small"))
    assert handler.asked[0][2] is None


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, [1]])
def test_what_is_no_answer_is_one_line(stub, answer) -> None:
    url, handler = stub
    handler.answer = answer
    with pytest.raises(DataError, match="no chat completion") as caught:
        paraphrase({"q": "bees"}, Endpoint(url, "small"))
    assert "\n" not in str(caught.value)


def test_an_endpoint_that_fails_or_says_nothing_is_named(stub) -> None:
    url, handler = stub
    with pytest.raises(DataError, match="404"):
        paraphrase({"q": "bees"}, Endpoint(url, "missing"))
    with pytest.raises(DataError, match="no answer"):
        paraphrase({"q": "bees"}, Endpoint("http://127.0.0.1:9/v1", "small", timeout_s=2))
    handler.answer = {"choices": [{"message": {"content": " "}}]}
    with pytest.raises(DataError, match="empty answer"):
        paraphrase({"q": "bees"}, Endpoint(url, "small"))


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "http://", ""])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        Endpoint(url, "small")
    with pytest.raises(UsageError, match="--paraphrase-model"):
        Endpoint("http://localhost/v1", "")
