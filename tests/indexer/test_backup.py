"""A backup is one generation, whole and sealed, also when it is made while a writer runs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

import searchengine
from indexer.backup import backup
from indexer.errors import DamagedIndex, StorageError, UsageError
from indexer.format import CATALOG
from indexer.verify import verify
from searchengine import Document, Searcher
from tests.conftest import Command
from tests.indexer.damage import DAMAGES, Sample, answers, copy_of, kinds

ROOT = Path(__file__).parent.parent.parent


def test_a_backup_is_sound_and_answers_alike(sample: Sample, tmp_path: Path) -> None:
    made = backup(sample.folder, tmp_path / "deep" / "copy")
    assert verify(made.place) == []
    assert answers(made.place) == sample.answers
    assert made.documents == 8
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["copy"]
    searchengine.index_documents([Document("new", "Something new.")], made.place).close()
    assert verify(made.place) == []


def test_a_backup_shares_no_file_with_its_index(sample: Sample, tmp_path: Path) -> None:
    made = backup(sample.folder, tmp_path / "copy")
    ours = {path.stat().st_ino for path in sample.folder.rglob("*") if path.is_file()}
    assert not ours & {path.stat().st_ino for path in made.place.rglob("*") if path.is_file()}


def test_a_backup_elsewhere_still_names_the_files_it_was_made_from(library: Path, tmp_path: Path) -> None:
    searcher = searchengine.index(library)
    searcher.close()
    made = backup(searcher.folder, tmp_path / "copy")
    with Searcher(made.place) as copy:
        hit = copy.search("bread", 1)[0]
        assert hit.path is not None and hit.path.is_relative_to(library) and hit.path.is_file()
    again = searchengine.index(library, index=made.place)
    again.close()
    assert again.report is not None and again.report.files_deleted == again.report.passages_encoded == 0


def test_each_backup_of_an_index_that_is_written_to_is_one_generation(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from indexer.staging import Prepared; from indexer.merge import merge_segments\n"
        "from indexer.writer import Writer\n"
        "from indexer.documents import Document, Location, Passage\n"
        "with Writer(Path(sys.argv[1])) as writer:\n"
        "    vector = np.eye(1, 384, dtype=np.float32); print('ready', flush=True)\n"
        "    for turn in range(10_000):\n"
        "        text = f'generation {turn}'\n"
        "        documents = [Document(f'd{n}', text) for n in range(3)]\n"
        "        passages = [Passage(0, text, Location(0, len(text)))]\n"
        "        writer.put(None, [Prepared(document, passages, vector) for document in documents])\n"
        "        writer.commit(); merge_segments(writer)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(index)], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        if writer.stdout is None:
            raise TypeError
        writer.stdout.readline()
        generations = set()
        try:
            for turn in range(12):
                made = backup(index, tmp_path / str(turn))
                assert verify(made.place) == []
                assert verify(index) == []  # nor is what the writer moves on from meanwhile taken for damage
                generations.add(made.generation)
                with Searcher(made.place) as searcher:
                    hits = searcher.search("generation", 10, mode="bm25")
                texts = [hit.text for hit in hits if hit.document.startswith("d") and hit.text.startswith("generation")]
                assert len(set(texts)) <= 1 and len(texts) in (0, 3)
            assert writer.poll() is None
        finally:
            writer.kill()
    assert len(generations) > 3


def test_a_damaged_index_is_not_backed_up(sample: Sample, tmp_path: Path) -> None:
    for kind in ("vectors.faiss", "term", CATALOG):
        index = copy_of(sample, tmp_path / kind)
        DAMAGES["one bit"](index / kinds(index)[kind], random.Random(1))
        with pytest.raises(DamagedIndex, match=r"no backup was made|mends"):
            backup(index, tmp_path / "copy")
        (index / kinds(index)["idx"]).unlink()
        with pytest.raises(DamagedIndex):
            backup(index, tmp_path / "copy")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("copy")]


def test_nothing_is_overwritten(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "full", tmp_path / "file", sample.folder / "inside"):
        with pytest.raises(UsageError):
            backup(sample.folder, target)
    (tmp_path / "empty").mkdir()
    assert verify(backup(sample.folder, tmp_path / "empty").place) == []
    with pytest.raises(StorageError):
        backup(sample.folder, Path("/proc/none/copy"))


def test_the_command_copies_and_says_what(sample: Sample, tmp_path: Path, command: Command) -> None:
    run = command("backup", tmp_path / "copy", "--index", sample.folder, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["documents"] == 8
    again = command("backup", tmp_path / "copy", "--index", sample.folder)
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (2, "", 1)
    assert command("verify", "--index", tmp_path / "copy").returncode == 0
