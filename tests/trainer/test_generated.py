"""Questions of a language model: asked once each, kept as they come, and learnt from by adapt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import searchengine
from benchmarks.endpoint import Endpoint
from indexer.errors import DataError, ModelError, UsageError
from searchengine import Document
from trainer.adapt import adapt
from trainer.generated import ANSWERS, LONGEST, ask_for, worded

TEXTS = {3: "Bees warm the hive.", 5: "Lofts drip in winter.", 8: "The tide turns twice."}
QUESTIONS = {
    3: "hive. the warm Bees",
    5: "winter. in drip Lofts",
    8: "twice. turns tide The",
}  # the stub turns words round


def test_each_passage_is_asked_for_once_and_the_answers_are_kept(stub, tmp_path) -> None:
    url, handler = stub
    endpoint = Endpoint(url, "small")
    assert ask_for(TEXTS, endpoint, tmp_path) == QUESTIONS
    assert len(handler.asked) == 3
    more = {**TEXTS, 9: "Bread rises by yeast."}
    assert ask_for(more, endpoint, tmp_path) == {**QUESTIONS, 9: "yeast. by rises Bread"}
    assert len(handler.asked) == 4
    ask_for(TEXTS, Endpoint(url, "another"), tmp_path)  # another model has other questions
    assert len(handler.asked) == 7


def test_what_a_crash_cut_short_is_asked_again_and_nothing_else(stub, tmp_path) -> None:
    url, handler = stub
    ask_for(TEXTS, Endpoint(url, "small"), tmp_path)
    place = tmp_path / ANSWERS
    place.write_bytes(place.read_bytes()[:-9])
    assert ask_for(TEXTS, Endpoint(url, "small"), tmp_path) == QUESTIONS
    assert len(handler.asked) == 4
    assert ask_for(TEXTS, Endpoint(url, "small"), tmp_path) == QUESTIONS
    assert len(handler.asked) == 4


def test_an_endpoint_that_fails_is_one_line_and_what_it_answered_is_kept(stub, tmp_path) -> None:
    url, handler = stub
    ask_for({3: TEXTS[3]}, Endpoint(url, "small"), tmp_path)
    handler.answer = {"choices": []}
    with pytest.raises(DataError, match=r"no chat completion.*; 1 questions lie in .*--resume") as caught:
        ask_for(TEXTS, Endpoint(url, "small"), tmp_path)
    assert "\n" not in str(caught.value)
    handler.answer = None
    assert ask_for(TEXTS, Endpoint(url, "small"), tmp_path) == QUESTIONS


def test_a_passage_without_an_answer_is_left_out_and_a_long_one_is_cut(stub, tmp_path) -> None:
    url, handler = stub
    handler.answer = {"choices": [{"message": {"content": ' "" \n'}}]}
    assert ask_for({1: "x" * (LONGEST + 50)}, Endpoint(url, "small"), tmp_path) == {}
    assert len(handler.asked[0][1]["messages"][-1]["content"]) == LONGEST


@given(st.text())
def test_a_query_is_one_line_without_quotes_around_it(answer: str) -> None:
    query = worded(answer)
    assert len(query.splitlines()) <= 1
    assert query == worded(f'"{query}"')
    assert query in " ".join(answer.split())


@pytest.fixture(scope="module")
def pumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of sixty documents without a title of their own: nothing but a question can ask for them."""
    place = tmp_path_factory.mktemp("pumps") / "index"
    sentence = (
        "Pump {0} in hall {1} stands still when its water is cold. A mechanic warms valve {2}, and notes the hour."
    )
    documents = [
        Document(key=str(number), title="Pumps", text=sentence.format(number, number % 7, number * 31))
        for number in range(60)
    ]
    searchengine.index_documents(documents, place).close()
    return place


def test_adapt_learns_from_questions_and_is_judged_by_them(stub, pumps, tmp_path) -> None:
    url, handler = stub
    changes = ("run.steps=1", "run.batch=8", "view.longest=48", "view.fewest=10", "view.found=60")
    report = adapt(tmp_path / "model", index=pumps, changes=changes, generator=Endpoint(url, "small"), device="cpu")
    asked = [body["messages"][-1]["content"] for _, body, _ in handler.asked]
    assert len(asked) == len(set(asked)) == 60  # those to learn from and those to be judged by
    assert all(text.startswith("Pumps\nPump ") for text in asked)
    lines = (tmp_path / "model" / "training" / ANSWERS).read_text().split("\n")
    assert {json.loads(line)["query"].split()[-1] for line in lines if line} == {"Pumps"}  # turned round by the stub
    assert report.training.evaluated == "pseudo queries"
    assert report.training.before["nDCG@10"] > 0


def test_who_is_not_there_to_be_asked_is_said_before_anything_is_made(pumps, tmp_path) -> None:
    with pytest.raises(UsageError, match="--generator"):
        adapt(tmp_path / "model", index=pumps, changes=("view.generated=1",), device="cpu")
    with pytest.raises(ModelError, match="no-such-model"):
        adapt(tmp_path / "model", index=pumps, teacher=str(tmp_path / "no-such-model"), device="cpu")
    assert not (tmp_path / "model").exists()
