"""Adapting to an index that nobody has judged: it switches over in one commit, or stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import searchengine
from indexer.documents import searchable
from indexer.encoders import load_cross_encoder, load_encoder
from indexer.errors import UsageError
from indexer.format import ENCODER, FUSION
from indexer.snapshot import Snapshot
from indexer.writer import Writer
from searchengine import Document
from trainer import unlabelled
from trainer.adapt import adapt
from trainer.gate import Verdict
from trainer.taught import PseudoExamples

FEW = ("view.queries=60", "view.opening=1.0", "view.fewest=1")
SMALL = ("run.steps=2", "run.batch=8", "view.longest=48", "run.learning_rate=5e-4", *FEW)
QUESTION = "how do I keep damp out of the roof space?"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, library_index) -> tuple[Path, Path]:
    """An index of handed-over documents, adapted once: (index, model)."""
    place = tmp_path_factory.mktemp("adapted")
    files = sorted({hit.path for text in ("bread", "roof", "sea", "bees") for hit in library_index.search(text, k=9)})
    documents = [
        Document(key=path.name, title=path.stem, text=path.read_text()) for path in files if path.suffix == ".md"
    ]
    searchengine.index_documents(documents, place / "index").close()
    with Writer(place / "index") as writer:
        writer.store_setting(FUSION, {"span": 2.0, "feedback": 1.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.training.judge_gain", lambda *_: Verdict(True, "kept for the test"))
        report = adapt(place / "model", index=place / "index", changes=SMALL, device="cpu")
    assert report.switched is not None
    assert report.training.evaluated == "pseudo queries"
    return place / "index", place / "model"


def test_every_passage_has_the_new_encoders_vector_and_queries_are_encoded_by_it(adapted):
    index, model = adapted
    encoder = load_encoder(model)
    with searchengine.open(index) as searcher:
        assert searcher.fingerprint == encoder.fingerprint
        (vector,) = encoder.encode_queries([QUESTION])
        (hit,) = searcher.search(QUESTION, k=1, mode="dense")
    snapshot = Snapshot(index)
    with snapshot.reading() as generation:
        (segment,) = generation.segments
        rows = snapshot.rows(
            "SELECT p.row, d.title, p.heading, p.text FROM passages p JOIN documents d ON d.id = p.document"
        )
        encoded = encoder.encode_passages([searchable(title, heading, text) for _, title, heading, text in rows])
        stored = segment.vectors(np.array([row for row, *_ in rows]))
        assert np.all((stored * encoded).sum(axis=1) > 0.999)
        # the query's own 8-bit encoder may differ from the passages' by this much
        assert hit.scores["dense"] == pytest.approx(float((encoded @ vector).max()), abs=0.02)
        assert FUSION not in generation.settings  # learnt weights belonged to the old encoder
    snapshot.close()


def test_the_switched_index_is_sound_and_goes_on_being_updated(adapted, command):
    index, model = adapted
    assert command("verify", "--index", index).returncode == 0
    more = [Document(key="tides", title="Tides", text="Sun and moon pull the oceans twice a day.")]
    with searchengine.index_documents(more, index) as searcher:
        assert searcher.rank("moon and oceans", k=1).documents == ["tides"]
    assert [path.name for path in (index / ENCODER).iterdir()] == [load_encoder(model).fingerprint]


def test_a_model_that_does_not_help_leaves_everything_as_it_was(library, tmp_path):
    searchengine.index(library).close()
    index = library / ".searchengine"
    before = (index / "catalog.sqlite").read_bytes()
    # a rate at which nothing can change: no gain, so no model and no switch
    changes = ("run.steps=1", "run.batch=8", "view.longest=32", "run.learning_rate=1e-12", *FEW)
    report = adapt(tmp_path / "model", index=index, changes=changes, device="cpu")
    assert not report.training.kept
    assert report.switched is None
    assert (index / "catalog.sqlite").read_bytes() == before
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_text_without_titles_is_refused_before_anything_is_trained(tmp_path):
    sentence = (
        "The valve of pump {0} sticks when its water is cold. A mechanic of shift {0} warms it, and notes the hour."
    )
    documents = [Document(key=str(number), title="Pumps", text=sentence.format(number)) for number in range(120)]
    searchengine.index_documents(documents, tmp_path / "index").close()
    before = (tmp_path / "index" / "catalog.sqlite").read_bytes()
    with pytest.raises(UsageError, match="0 pseudo queries come of 120 passages"):
        adapt(tmp_path / "model", index=tmp_path / "index", device="cpu")
    assert (tmp_path / "index" / "catalog.sqlite").read_bytes() == before


def test_it_needs_either_an_index_or_data(tmp_path):
    with pytest.raises(UsageError, match="either --index or --data"):
        adapt(tmp_path / "model")
    with pytest.raises(UsageError, match="pseudo"):
        adapt(tmp_path / "model", data=[tmp_path], recipe="contriever")
    with pytest.raises(UsageError, match="queue, whose keys have no words"):
        adapt(tmp_path / "model", data=[tmp_path], changes=("view.words=1", "negatives.kind=queue"))


def test_a_cross_encoder_reads_what_is_found_and_its_scores_are_what_is_learnt(
    library, small_cross_encoder, tmp_path, monkeypatch
):
    searchengine.index(library).close()
    scorer = load_cross_encoder(small_cross_encoder)
    read: list[tuple[str, list[str]]] = []
    learnt: list[PseudoExamples] = []

    class Recorder:
        def scores(self, query: str, passages: list[str]) -> np.ndarray:
            read.append((query, passages))
            return scorer.scores(query, passages)

    class Kept(PseudoExamples):
        def __init__(self, *given) -> None:
            super().__init__(*given)
            learnt.append(self)

    monkeypatch.setattr(unlabelled, "load_cross_encoder", lambda *_, **__: Recorder())
    monkeypatch.setattr(unlabelled, "PseudoExamples", Kept)
    report = adapt(
        tmp_path / "model",
        index=library / ".searchengine",
        changes=(*SMALL, "view.judged=5", "view.found=1000"),
        teacher=str(small_cross_encoder),
        switch=False,
        device="cpu",
    )
    assert report.training.steps == 2
    (examples,) = learnt
    assert len(read) == len(examples) > 10
    assert {query.kind for query in examples.queries} == {"title", "opening"}
    for at, (query, passages) in enumerate(read):
        assert 1 <= len(passages) <= 5
        given = scorer.scores(query, passages)
        batch_scores = examples.taught.of(at, examples.taught.passages[at])
        assert sorted(batch_scores) == pytest.approx(sorted(given), abs=1e-4)
        if examples.queries[at].kind == "opening":  # what asks has been taken out of what it must find
            assert not any(letters(text).startswith(letters(query)) for text in passages)


def letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
