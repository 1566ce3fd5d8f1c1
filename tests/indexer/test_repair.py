"""Repair makes every part again from the nearest sound one, destroys nothing, and may be killed anywhere."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import searchengine
from indexer.errors import DamagedIndex
from indexer.format import CATALOG, DAMAGED
from indexer.repair import repair
from indexer.seal import SEAL, write_seal
from indexer.verify import verify
from searchengine import Document, Searcher
from tests.indexer.damage import DAMAGES, DOCUMENTS, KINDS, QUESTIONS, Sample, answers, copy_of, kinds

ROOT = Path(__file__).parent.parent.parent


def test_a_sound_index_is_left_alone(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
    assert repair(index) == []
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not (index / DAMAGED).exists()


@pytest.mark.parametrize("damage", ["one bit", "deleted", "an extra file beside"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != CATALOG])
def test_every_part_but_the_catalog_is_made_again(sample: Sample, kind: str, damage: str, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    path = kinds(index)[kind]
    DAMAGES[damage](index / path, random.Random(3))
    done = repair(index)
    assert len(done) == 1
    assert verify(index) == []
    if kind == "vectors.faiss":
        assert_found_again(index, sample)
    else:
        assert answers(index) == sample.answers
    if damage == "one bit":
        kept = list((index / DAMAGED).glob(f"*/{path}"))
        assert len(kept) == 1 and kept[0].read_bytes() != (sample.folder / path).read_bytes()
    elif damage.startswith("an extra"):
        assert next((index / DAMAGED).rglob("extra")).read_bytes() == b"what is this"


def test_segments_postings_and_encoder_are_made_again_together(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    for name in ("segments", "lexical", "encoder"):
        shutil.rmtree(index / name)
        (index / name).mkdir()
    (index / SEAL).unlink()
    done = repair(index)
    assert {sentence.split(":")[0].split()[0] for sentence in done} == {"seal", "encoder", "segment", "postings"}
    assert verify(index) == []
    assert_found_again(index, sample)


def assert_found_again(index: Path, sample: Sample) -> None:
    """Assert that every passage's cosine and the first answers come out again after some were encoded again.

    A repair encodes by the fastest graph of the machine, an update by the index's own: their cosines differ by less
    than .01, by which answers that have next to nothing to do with the question change places.
    """
    found, right = answers(index), sample.answers
    by_meaning = len(QUESTIONS)
    assert [hits[:1] for hits in found[:by_meaning]] == [hits[:1] for hits in right[:by_meaning]]
    assert found[by_meaning:] == right[by_meaning:]
    again, before = cosines(index), cosines(sample.folder)
    assert again.keys() == before.keys()
    assert all(abs(again[place] - before[place]) < 0.01 for place in before)


def cosines(index: Path) -> dict[tuple[str, str, int], float]:
    """Give every passage's cosine with every question."""
    with Searcher(index) as searcher:
        return {
            (question, hit.document, hit.passage): hit.score
            for question in QUESTIONS
            for hit in searcher.search(question, 50, mode="dense", all_passages=True)
        }


def test_vectors_that_are_not_of_unit_length_are_encoded_again(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    path = kinds(index)["vectors.faiss"]
    content = bytearray((index / path).read_bytes())
    content[-768:] = np.full(384, np.nan, np.float16).tobytes()
    (index / path).unlink()
    (index / path).write_bytes(content)
    _say(index, "UPDATE files SET checksum = ? WHERE path = ?", _checksum(index / path), str(path))
    assert ["unit length" in finding.what for finding in verify(index)] == [True]
    repair(index)
    assert verify(index) == []
    assert_found_again(index, sample)


def test_slack_in_the_catalog_costs_nothing(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    content = bytearray((index / CATALOG).read_bytes())
    at = content.rindex(bytes(200)) + 100
    content[at] ^= 1
    (index / CATALOG).write_bytes(content)
    done = repair(index)
    assert done[0].startswith("catalog: made anew") and not [line for line in done if line.startswith("lost")]
    assert verify(index) == []
    assert answers(index) == sample.answers


def test_a_document_whose_text_is_damaged_is_named_and_kept_aside(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    content = (index / CATALOG).read_bytes()
    assert content.count(b"bowline") == 1
    (index / CATALOG).write_bytes(content.replace(b"bowline", b"bowlime"))
    done = repair(index)
    assert "lost with the catalog: knots" in done
    assert verify(index) == []
    with Searcher(index) as searcher:
        assert searcher.count()[0] == len(DOCUMENTS) - 1
        assert [hit.document for hit in searcher.search("bread", 1)] == ["bread"]
    assert b"bowlime" in next((index / DAMAGED).rglob(CATALOG)).read_bytes()
    report = searchengine.index_documents([Document(name, text, title=name) for name, text in DOCUMENTS.items()], index)
    report.close()
    assert verify(index) == []
    assert report.report is not None and report.report.passages_encoded <= 2  # the lost one, and the older bees


def test_after_a_salvage_every_file_is_read_again_and_nothing_unchanged_encoded(library: Path) -> None:
    first = searchengine.index(library)
    first.close()
    index = first.folder
    content = bytearray((index / CATALOG).read_bytes())
    content[content.rindex(bytes(200)) + 100] ^= 1
    (index / CATALOG).write_bytes(content)
    repair(index)
    again = searchengine.index(library)
    again.close()
    assert first.report is not None and again.report is not None
    assert again.report.documents == first.report.documents
    assert (again.report.files_unchanged, again.report.passages_encoded) == (0, 0)
    assert verify(index) == []


def test_a_catalog_that_went_back_in_time_is_the_new_truth_until_the_files_are_read(
    sample: Sample, tmp_path: Path
) -> None:
    index = copy_of(sample, tmp_path / "index")
    (index / CATALOG).write_bytes(sample.older_catalog)
    repair(index)
    assert verify(index) == []
    with Searcher(index) as searcher:
        assert not any("Ice helps" in hit.text for hit in searcher.search("bee sting", 8))
        assert searcher.count()[0] == len(DOCUMENTS)


@pytest.mark.parametrize("damage", ["cut to half", "cut to nothing", "deleted"])
def test_a_catalog_that_cannot_be_read_is_left_alone_with_a_sentence(
    sample: Sample, damage: str, tmp_path: Path
) -> None:
    index = copy_of(sample, tmp_path / "index")
    DAMAGES[damage](index / CATALOG, random.Random(1))
    before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
    with pytest.raises(DamagedIndex, match="searchengine index FOLDER"):
        repair(index)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_an_encoder_whose_model_is_gone_is_a_sentence(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    _say(index, """UPDATE settings SET value = json_set(value, '$.model', '/no/such/model') WHERE key = 'encoder'""")
    (index / kinds(index)["query.onnx"]).unlink()
    with pytest.raises(DamagedIndex, match="repair again"):
        repair(index)


def test_a_repair_that_is_killed_anywhere_is_finished_by_the_next(sample: Sample, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from indexer import durable, repair, seal\n"
        "left = int(sys.argv[2])\n"
        "def dying(call):\n"
        "    def maybe(*values, **named):\n"
        "        global left; left -= 1\n"
        "        if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return call(*values, **named)\n"
        "    return maybe\n"
        "for name in ('rename', 'replace', 'fsync', 'unlink'): setattr(os, name, dying(getattr(os, name)))\n"
        "repair.repair(Path(sys.argv[1]))\n"
    )
    damaged = copy_of(sample, tmp_path / "damaged")
    for kind in (CATALOG, "rows.i64", "term"):
        DAMAGES["one bit"](damaged / kinds(damaged)[kind], random.Random(11))
    killed = 0
    for point in (1, 4, 7, 11, 16, 22, 30, 40, 52):
        index = tmp_path / f"point {point}"
        shutil.copytree(damaged, index)
        run = subprocess.run(
            [sys.executable, "-c", program, str(index), str(point)], capture_output=True, text=True, cwd=ROOT
        )
        killed += run.returncode == -signal.SIGKILL
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, run.stderr[-2000:]
        repair(index)
        assert verify(index) == [], f"point {point}"
        assert_found_again(index, sample)
        assert (index / DAMAGED).is_dir()
    assert killed >= 6


def _say(index: Path, statement: str, *values: str) -> None:
    connection = sqlite3.connect(index / CATALOG)
    connection.execute(statement, values)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    write_seal(index)


def _checksum(path: Path) -> str:
    from indexer.durable import checksum_of

    return checksum_of(path)[1]
