"""Hybrid retrieval where one of its halves has little or nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

import searchengine
from indexer.documents import Document
from searchengine import Searcher
from searchengine.fusion import FUSIONS

QUESTION = "why is my attic wet since we put fibreglass in?"


def named(searcher: Searcher, text: str, k: int = 10, **options: object) -> list[tuple[str, int]]:
    return [(hit.document, hit.passage) for hit in searcher.search(text, k, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("fusion", ["feedback", "standard"])
def test_words_that_no_passage_has_leave_the_ranking_to_meaning(library_index: Searcher, fusion: str) -> None:
    text = "zzyxq vvkpw"
    assert named(library_index, text, fusion=fusion) == named(library_index, text, mode="dense")


@pytest.mark.parametrize("text", ["the of and", "?!", "honey"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_any_query_gets_an_answer_twice_the_same(library_index: Searcher, text: str, fusion: str) -> None:
    first = library_index.search(text, fusion=fusion)
    assert [hit.score for hit in first] == sorted((hit.score for hit in first), reverse=True)
    assert first
    assert library_index.search(text, fusion=fusion) == first


def test_a_longer_list_begins_with_the_shorter_one(library_index: Searcher) -> None:
    assert named(library_index, QUESTION, 700)[:10] == named(library_index, QUESTION)


def test_a_filter_shows_the_scores_that_the_whole_list_shows(library_index: Searcher) -> None:
    whole = {(hit.document, hit.passage): hit.scores for hit in library_index.search(QUESTION, 500, all_passages=True)}
    kept = library_index.search(QUESTION, 500, where="path:house/**", all_passages=True)
    assert kept
    for hit in kept:
        assert hit.document.startswith("house/")
        assert hit.scores == pytest.approx(whole[hit.document, hit.passage], abs=2e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_index_of_one_passage_finds_it(tmp_path: Path, fusion: str) -> None:
    document = Document(key="only", title="", text="Bees gather nectar.")
    with searchengine.index_documents([document], index=tmp_path / "index") as searcher:
        assert named(searcher, "nectar", fusion=fusion) == named(searcher, "unrelated", fusion=fusion) == [("only", 0)]


def test_the_language_of_what_a_program_hands_over_is_told(tmp_path: Path) -> None:
    documents = [
        Document(key="de", text="In den Häusern der alten Stadt brennt noch spät am Abend helles Licht."),
        Document(key="en", text="Bees gather nectar from the flowers and make honey of it."),
        Document(key="code", text="def make(honey): return honey.from_flowers(nectar)", kind="code"),
    ]
    with searchengine.index_documents(documents, index=tmp_path / "index") as searcher:
        assert named(searcher, "light", where="lang:de") == [("de", 0)]
        assert named(searcher, "light", where="lang:en") == [("en", 0)]
        assert named(searcher, "Haus", mode="bm25") == [("de", 0)]
        assert "haus" in searcher.analyse("Häuser")
    again = searchengine.index_documents(documents, index=tmp_path / "index")
    again.close()
    assert again.report is not None and again.report.passages_encoded + again.report.passages_reused == 0


def test_a_query_that_the_encoder_cannot_read_is_answered_by_its_words(tmp_path: Path) -> None:
    texts = {
        "bees": "Пчёлы собирают нектар с цветов и делают из него мёд.",
        "roof": "Крыша протекает весной, когда тает снег.",
        "bread": "Хлеб пекут из муки, воды и соли.",
        "english": "Bees gather nectar from the flowers and make honey of it.",
    }
    documents = [Document(key=key, text=text) for key, text in texts.items()]
    with searchengine.index_documents(documents, index=tmp_path / "index") as searcher:
        for text, found in (("из чего пекут хлеб", "bread"), ("нектар пчёл", "bees"), ("весенняя крыша", "roof")):
            answer = searcher.answer(text)
            assert answer.hits[0].document == found
            assert [note for note in answer.notes if "encoder reads" in note]
        nowhere = "автомобильная промышленность"
        assert len(named(searcher, nowhere)) == len(texts)
        assert named(searcher, nowhere) == named(searcher, nowhere, mode="dense")
        assert not searcher.answer("where do bees find their food?").notes
