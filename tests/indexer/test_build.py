"""What a run of `index` does to an index: only what changed is read, only what is new is encoded, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexer.build
import searchengine
from indexer.build import BuildReport
from indexer.documents import Passage
from indexer.encoders import Encoder
from indexer.errors import IncompatibleIndex, MassDeletion, NothingToIndex, UsageError
from indexer.verify import verify
from indexer.work import LocalWork
from indexer.writer import Writer
from searchengine import Document, SearchEngineError, Searcher

TOPICS = {
    "bees.md": "# Bees\n\nA colony of honey bees keeps its brood nest at thirty-five degrees.\n",
    "bread.txt": "Sourdough rises because wild yeast turns sugar into gas.\n",
    "tides/spring.md": "# Spring tides\n\nWhen sun and moon pull in one line the water rises highest.\n",
    "tides/neap.md": "# Neap tides\n\nAt half moon the two pulls cross and the range is smallest.\n",
    "code/tyre.py": 'def pressure(w):\n    """Guess the pressure of a bicycle tyre in bar."""\n    return 200 / w\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small tree of files of several kinds."""
    for name, text in TOPICS.items():
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "docs"


def build(*paths: Path, **options: object) -> BuildReport:
    """Index, check the result whole, and return the report."""
    searcher = searchengine.index(list(paths), **options)  # type: ignore[arg-type]
    assert verify(searcher.folder) == []
    searcher.close()
    assert searcher.report is not None
    return searcher.report


def top(folder: Path, question: str, **options: object) -> str:
    """Ask, and name the first document."""
    with searchengine.open(folder) as searcher:
        hits = searcher.search(question, **options)  # type: ignore[arg-type]
        return hits[0].document if hits else ""


def test_every_file_is_found_by_its_meaning(folder: Path) -> None:
    report = build(folder)
    assert (report.documents, report.files_added, report.skipped) == (5, 5, [])
    assert top(folder, "how warm is it inside a hive?") == "bees.md"
    assert top(folder, "why does dough get bigger") == "bread.txt"
    assert top(folder, "air in the wheel of a bike") == "code/tyre.py"


def test_a_second_run_reads_and_encodes_nothing(folder: Path) -> None:
    first = build(folder)
    # Files younger than two seconds are hashed again: a second edit within a clock tick would not show otherwise.
    second = build(folder)
    assert (second.files_unchanged, second.passages_encoded, second.files_changed) == (5, 0, 0)
    assert second.documents == first.documents


def test_only_what_changed_is_encoded_and_queries_show_it(folder: Path) -> None:
    build(folder)
    (folder / "bread.txt").write_text("Flat bread needs no leavening at all, says the desert baker.\n")
    (folder / "tides/neap.md").unlink()
    (folder / "bees.md").rename(folder / "hive.md")
    (folder / "new.txt").write_text("A cello has four strings tuned in fifths.\n")
    report = build(folder)
    assert (report.files_added, report.files_changed, report.files_deleted, report.files_renamed) == (1, 1, 1, 1)
    assert report.passages_encoded == 2
    assert top(folder, "unleavened dough in arid lands") == "bread.txt"
    assert top(folder, "how warm is it inside a hive?") == "hive.md"
    assert top(folder, "musical instrument") == "new.txt"
    with searchengine.open(folder) as searcher:
        assert "tides/neap.md" not in {hit.document for hit in searcher.search("half moon smallest range", k=10)}
        assert searcher.search("sourdough yeast", mode="bm25") == []


def test_a_renamed_folder_keeps_all_its_vectors(folder: Path) -> None:
    build(folder)
    (folder / "tides").rename(folder / "sea")
    report = build(folder)
    assert (report.files_renamed, report.passages_encoded) == (2, 0)
    assert top(folder, "when is the water highest") == "sea/spring.md"


def test_the_same_text_under_two_names_is_encoded_once_and_found_twice(folder: Path) -> None:
    shutil.copy(folder / "bees.md", folder / "copy.md")
    report = build(folder)
    assert (report.documents, report.passages_encoded, report.passages_reused) == (6, 5, 1)
    with searchengine.open(folder) as searcher:
        assert {hit.document for hit in searcher.search("honey bees brood", k=2)} == {"bees.md", "copy.md"}


def test_an_edit_of_equal_size_within_one_clock_tick_is_seen(folder: Path) -> None:
    build(folder)
    path = folder / "bread.txt"
    before = path.stat()
    text = path.read_text().replace("Sourdough", "Pizzadogh")
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert build(folder).files_changed == 1
    assert top(folder, "Pizzadogh", mode="bm25") == "bread.txt"


def test_indexing_a_part_touches_only_that_part(folder: Path) -> None:
    build(folder)
    (folder / "bread.txt").unlink()
    (folder / "tides/neap.md").unlink()
    report = build(folder / "tides")
    assert report.index == folder / ".searchengine"
    assert searchengine.status(folder)["roots"] == [str(folder)]
    assert report.files_deleted == 1
    assert top(folder, "why does dough get bigger") == "bread.txt"


def test_a_disk_that_is_gone_is_not_taken_for_deletion(folder: Path) -> None:
    for number in range(40):
        (folder / f"note{number}.txt").write_text(f"Note {number} says that the number is {number}.")
    build(folder)
    for path in folder.glob("note*"):
        path.unlink()
    with pytest.raises(MassDeletion, match=r"40 of 45 .* --allow-mass-delete"):
        build(folder)
    assert top(folder, "note 17", mode="bm25") == "note17.txt"
    assert build(folder, allow_mass_delete=True).documents == 5


def test_a_missing_folder_deletes_nothing(folder: Path, tmp_path: Path) -> None:
    build(folder, index=tmp_path / "index")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(NothingToIndex, match="no such file or folder"):
        build(folder, index=tmp_path / "index")
    with searchengine.open(tmp_path / "index") as searcher:
        assert searcher.count()[0] == 5


def test_a_folder_moved_with_its_index_still_answers_and_is_unchanged(folder: Path, tmp_path: Path) -> None:
    build(folder)
    moved = folder.rename(tmp_path / "moved")
    with searchengine.open(moved) as searcher:
        assert searcher.search("hive temperature")[0].path == moved / "bees.md"
    assert build(moved).passages_encoded == 0


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01\x02" * 500])
def test_nothing_readable_is_said_and_leaves_nothing_behind(tmp_path: Path, content: bytes | None) -> None:
    root = tmp_path / "docs"
    root.mkdir()
    if content is not None:
        (root / "a.txt").write_bytes(content)
    with pytest.raises(NothingToIndex, match="nothing"):
        searchengine.index(root)
    assert not (root / ".searchengine").exists()


def test_a_file_that_cannot_be_read_stops_nothing_and_is_named_again(folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing that follows is one")
    (folder / "fake.docx").write_bytes(b"PK\x03\x04 not a zip")
    for _ in range(2):
        report = build(folder)
        assert {path for path, _ in report.skipped} == {"broken.pdf", "fake.docx"}
        assert all(reason for _, reason in report.skipped)
        assert report.documents == 5


def test_a_skipped_file_that_was_mended_is_indexed(folder: Path) -> None:
    (folder / "late.txt").write_bytes(b"")
    assert [path for path, _ in build(folder).skipped] == ["late.txt"]
    (folder / "late.txt").write_text("Now there is a word about penguins.")
    report = build(folder)
    assert report.skipped == []
    assert top(folder, "penguins") == "late.txt"


def test_a_document_that_became_unreadable_is_no_longer_found(folder: Path) -> None:
    build(folder)
    (folder / "bread.txt").write_bytes(b"")
    report = build(folder)
    assert (report.files_changed, report.documents) == (1, 4)
    with searchengine.open(folder) as searcher:
        assert "bread.txt" not in {hit.document for hit in searcher.search("sourdough yeast")}


def test_an_interrupted_run_keeps_what_it_committed_and_the_next_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.work.LocalWork.block", 1)
    monkeypatch.setattr("indexer.build._COMMIT_DOCUMENTS", 1)

    class Interrupting:
        """Raise at the third file."""

        files = 0

        def start(self, task: str, total: int | None, unit: str) -> None: ...
        def finish(self) -> None: ...
        def note(self, message: str) -> None: ...
        def advance(self, amount: int = 1, detail: str = "") -> None:
            self.files += detail.endswith((".md", ".txt", ".py"))
            if self.files == 5 + 3:  # five were walked before the first was read
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searchengine.index(folder, progress=Interrupting())
    with searchengine.open(folder) as searcher:
        kept = searcher.count()[0]
    assert 2 <= kept < 5
    report = build(folder)
    assert report.passages_encoded == 5 - kept
    assert report.documents == 5


def test_a_small_change_is_encoded_by_the_indexs_own_graph(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(folder)
    loaded: list[str | None] = []
    load = indexer.build.load_encoder

    def counted(model: str | None, **options: Any) -> Encoder:
        loaded.append(model)
        return load(model, **options)

    monkeypatch.setattr("indexer.build.load_encoder", counted)
    (folder / "bread.txt").write_text("A glacier grinds the rock beneath it to flour.\n")
    report = build(folder)
    assert (report.passages_encoded, report.backend, loaded) == (1, "onnx", [])
    assert top(folder, "ice that wears stone away") == "bread.txt"
    (folder / "long.txt").write_text("".join(f"Line {number} tells of a {number}th river.\n" for number in range(999)))
    assert build(folder).passages_encoded > 10
    assert loaded == [None]


def test_a_large_file_is_encoded_while_it_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    encode, split = LocalWork.encode, LocalWork.split

    def encoding(self: LocalWork, texts: Sequence[str]) -> Callable[[], np.ndarray]:
        steps.append(f"encode {len(texts)}")
        return encode(self, texts)

    def splitting(self: LocalWork, document: Document) -> list[Passage]:
        steps.append("split")
        return split(self, document)

    monkeypatch.setattr(LocalWork, "block", 4)
    monkeypatch.setattr(LocalWork, "encode", encoding)
    monkeypatch.setattr(LocalWork, "split", splitting)
    lines = [json.dumps({"_id": f"d{number}", "text": f"Bird number {number} sings."}) for number in range(10)]
    path = tmp_path / "docs" / "corpus.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join([*lines, lines[0].replace("d0", "again")]) + "\n")
    report = build(path.parent)
    assert steps == [*["split"] * 4, "encode 4", *["split"] * 4, "encode 4", *["split"] * 3, "encode 2"]
    assert (report.documents, report.passages_encoded, report.passages_reused, report.files_encoded) == (11, 10, 1, 1)


def test_documents_handed_over_are_updated_by_their_keys(tmp_path: Path) -> None:
    documents = [Document("a", "Apples ripen in autumn."), Document("b", "Boats float on water.")]
    index = tmp_path / "index"

    def store(several: list[Document], **options: bool) -> Searcher:
        return searchengine.index_documents(several, index, passages="whole", **options)

    assert store(documents).report.passages_encoded == 2  # type: ignore[union-attr]
    assert store(documents).report.passages_encoded == 0  # type: ignore[union-attr]
    changed = [Document("a", "Apricots ripen in summer."), Document("c", "Cats sleep all day.")]
    searcher = store(changed)
    assert searcher.count() == (3, 3)
    assert searcher.rank("fruit").documents[0] == "a"
    assert searcher.search("fruit")[0].text == "Apricots ripen in summer."
    assert store(changed, prune=True).count() == (2, 2)
    assert verify(index) == []


def test_the_last_of_documents_with_one_key_counts(tmp_path: Path) -> None:
    twice = [Document("a", "First version about whales."), Document("a", "Second version about trains.")]
    searcher = searchengine.index_documents(twice, tmp_path / "index")
    assert searcher.count()[0] == 1
    assert searcher.search("anything")[0].text.startswith("Second")
    there_and_back = [Document("a", "Third version about lamps."), twice[1]]
    again = searchengine.index_documents(there_and_back, tmp_path / "index")
    assert again.search("anything")[0].text.startswith("Second")


def test_an_index_is_not_made_where_something_else_lives(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"jpg")
    with pytest.raises(IncompatibleIndex, match="is no index"):
        searchengine.index(folder, index=tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]


def test_sizes_that_no_splitter_could_keep_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="at least 16 tokens"):
        searchengine.index(folder, passage_tokens=20, overlap=20)
    assert not (folder / ".searchengine").exists()


def test_a_file_that_was_old_at_the_last_look_is_not_opened_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(folder)
    time.sleep(2.1)  # a clock tick that could hide an edit
    build(folder)
    monkeypatch.setattr("indexer.work.ReaderPool", None)  # calling it would fail
    assert build(folder).files_unchanged == 5


def test_a_root_given_through_a_link_is_the_same_root(folder: Path, tmp_path: Path) -> None:
    build(folder)
    (tmp_path / "link").symlink_to(folder)
    report = build(tmp_path / "link")
    assert (report.index, report.files_unchanged, report.files_deleted) == (folder / ".searchengine", 5, 0)
    assert build(Path(f"{folder}/tides/..")).files_unchanged == 5


def test_two_folders_get_one_index_beside_them(folder: Path) -> None:
    report = build(folder / "tides", folder / "code")
    assert report.index == folder / ".searchengine"
    assert report.documents == 3
    assert top(folder / "code", "when is the water highest") == "tides/spring.md"


def test_a_rebuild_takes_the_place_of_the_old_index_under_an_open_reader(folder: Path) -> None:
    build(folder)
    with searchengine.open(folder) as reader:
        assert reader.search("hive temperature")[0].document == "bees.md"
        (folder / "bees.md").write_text("# Bees\n\n" + "Honey bees warm their hive by trembling. " * 40)
        report = build(folder, rebuild=True, passage_tokens=32)
        assert report.passages_encoded + report.passages_reused == report.passages > 5
        assert reader.settings()["splitting"]["tokens"] == 32
        assert "trembling" in reader.search("hive temperature")[0].text
    assert [path.name for path in folder.parent.iterdir()] == ["docs"]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".searchengine"]


def test_a_rebuild_that_fails_leaves_the_old_index_as_it_was(folder: Path, tmp_path: Path) -> None:
    build(folder)
    (tmp_path / "model").mkdir()
    with pytest.raises(SearchEngineError):
        searchengine.index(folder, rebuild=True, model=str(tmp_path / "model"))
    assert top(folder, "how warm is it inside a hive?") == "bees.md"
    assert not (folder / ".searchengine.rebuild").exists()


def test_an_index_that_no_file_gives_again_is_not_rebuilt(folder: Path, tmp_path: Path) -> None:
    searchengine.index_documents([Document("a", "Apples ripen in autumn.")], tmp_path / "index")
    with pytest.raises(NothingToIndex, match="handed over"):
        searchengine.index(folder, index=tmp_path / "index", rebuild=True)


def test_an_index_goes_on_splitting_as_it_began(folder: Path, tmp_path: Path) -> None:
    build(folder, passage_tokens=64)
    assert build(folder).files_unchanged == 5
    with pytest.raises(IncompatibleIndex, match=r"64 tokens.*--rebuild"):
        build(folder, passage_tokens=100)
    searchengine.index_documents([Document("a", "Apples.")], tmp_path / "index", passages="whole").close()
    with pytest.raises(IncompatibleIndex, match="by 'whole'"):
        searchengine.index_documents([Document("b", "Boats.")], tmp_path / "index", passages="structure")


def test_a_log_that_came_back_with_the_power_is_folded_in_again(folder: Path) -> None:
    build(folder)
    index = folder / ".searchengine"
    log = index / "catalog.sqlite-wal"
    with Writer(index) as writer:
        writer.add_root(b"elsewhere")
        writer.commit()
        kept = log.read_bytes()
    assert len(kept) > 0 == log.stat().st_size
    log.write_bytes(kept)  # as if emptying it had not reached the disk
    assert verify(index) == []
    assert top(folder, "how warm is it inside a hive?") == "bees.md"
    with Writer(index):
        pass
    assert log.stat().st_size == 0
    assert verify(index) == []


def test_whole_documents_are_one_passage_each(folder: Path) -> None:
    (folder / "bread.txt").write_text("Sourdough rises because wild yeast turns sugar into gas.\n\n" * 60)
    assert build(folder).passages > 5
    assert build(folder, rebuild=True, passages="whole").passages == 5
    assert top(folder, "why does dough get bigger") == "bread.txt"
