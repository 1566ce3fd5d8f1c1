"""Paraphrases by an endpoint, against a server on this machine."""

from __future__ import annotations

import pytest

from benchmarks.endpoint import KEY, Endpoint
from benchmarks.paraphrase import paraphrase
from indexer.errors import DataError, UsageError


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
