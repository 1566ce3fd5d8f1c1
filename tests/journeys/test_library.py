"""The sample folder's questions, which share no content word with the passages that answer them."""

from __future__ import annotations

import json

from searchengine import Searcher
from tests.conftest import LIBRARY

QUESTIONS = [json.loads(line) for line in (LIBRARY.parent / "library-questions.jsonl").read_text().splitlines()]
DEMO = {
    "why is my attic wet since we put fibreglass in?": "house/lofts.md",
    "rescue a sailor who tumbled into the waves": "sea/sailing-handbook.pdf",
    "what were seamstresses' wages during wartime?": "history/nets.docx",
}


def test_every_question_finds_its_file_among_the_first_three(library_index: Searcher) -> None:
    first = 0
    for entry in QUESTIONS:
        found = [hit.document for hit in library_index.search(entry["question"], k=3)]
        found = [name.partition("#")[0] for name in found]
        assert entry["file"] in found, (entry["question"], found)
        first += found[0] == entry["file"]
    assert first >= 0.75 * len(QUESTIONS)


def test_the_three_answers_of_the_demo_are_right(library_index: Searcher) -> None:
    script = (LIBRARY.parent / "demo.sh").read_text()
    for question, name in DEMO.items():
        assert question in script
        assert library_index.search(question, k=1)[0].document == name
