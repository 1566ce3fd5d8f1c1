"""Every bad input gets one line that says what, where and what next; an exit code; nothing written or lost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Command


def refused(result: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """Check that a failure is one line on stderr, nothing on stdout, and says what it must."""
    assert result.returncode == code, (result.stdout, result.stderr)
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line]
    assert lines[-1].startswith("searchengine: "), result.stderr
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """A small indexed folder that no test changes."""
    folder = tmp_path_factory.mktemp("bad") / "docs"
    folder.mkdir()
    (folder / "bees.md").write_text("# Bees\n\nHoney bees keep warm in winter.\n")
    (folder / "bread.txt").write_text("Yeast makes bread rise.\n")
    assert command("index", folder).returncode == 0
    return folder


def test_no_such_folder(command: Command, tmp_path: Path) -> None:
    refused(command("index", tmp_path / "absent"), 1, "no such file or folder")


def test_an_empty_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(command("index", tmp_path / "empty"), 1, "nothing to index")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_folder_with_nothing_readable(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(os.urandom(5000))
    refused(command("index", tmp_path), 1, "nothing readable", "a.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_hostile_files_are_named_and_the_rest_is_indexed(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "good.md").write_text("# Good\n\nA readable sentence about penguins.\n")
    (folder / "latin.txt").write_bytes(
        "Ein schöner Gruß aus der Küche, wo Äpfel liegen und Öl fließt.".encode("latin-1")
    )
    (folder / "invalid.txt").write_bytes(b"Mostly readable text \xff\xfe\xc3( with stray bytes in it.")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and then nothing")
    (folder / "fake.docx").write_bytes(b"PK\x03\x04this is no archive")
    (folder / "line.txt").write_bytes(b"word " * (11 * 2**20))  # over the limit of 50 MB, in one line
    (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "away").symlink_to("/etc/passwd")
    (folder / "dangling").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    (folder / "lines.jsonl").write_text('{"id": "1", "text": "A valid line about lanterns."}\n{"id": broken\n')
    result = command("index", folder)
    assert result.returncode == 0, result.stderr
    for name in ("broken.pdf", "fake.docx", "line.txt", "loop", "away", "dangling", "pipe"):
        assert name in result.stderr, name
    assert "lines.jsonl:2" in result.stderr
    for question, name in (("penguins", "good.md"), ("Küche", "latin.txt"), ("lanterns", "lines.jsonl#1")):
        hits = json.loads(command("query", question, "--json", "-k", "1", cwd=folder).stdout)
        assert hits[0]["document"] == name
    assert command("index", folder, "--strict").returncode == 1


def test_a_long_line_within_the_limit_is_indexed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("The quick brown fox considers gravity and relativity. " * 400)
    result = command("index", tmp_path)
    assert result.returncode == 0, result.stderr


def test_an_unreadable_file_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Open to all.")
    (tmp_path / "b.txt").write_text("Closed.")
    (tmp_path / "b.txt").chmod(0)
    if os.access(tmp_path / "b.txt", os.R_OK):
        pytest.skip("this user (root) may read every file")
    assert "b.txt" in command("index", tmp_path).stderr


@pytest.mark.parametrize("text", ["the of and", "?!... ---", "(((((((((((((((((((", '" OR 1=1 --', "*", "\x1b[31mred"])
def test_a_query_without_words_is_answered_by_meaning(command: Command, small: Path, text: str) -> None:
    result = command("query", text, "--json", cwd=small)
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)) == 2


def test_punctuation_alone_gives_bm25_nothing_and_says_why(command: Command, small: Path) -> None:
    result = command("query", "?!...", "--mode", "bm25", "--json", cwd=small)
    assert (result.returncode, json.loads(result.stdout)) == (0, [])
    assert "no word to look up" in result.stderr


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_an_empty_query(command: Command, small: Path, text: str) -> None:
    refused(command("query", text, cwd=small), 2, "the query is empty")


def test_a_query_of_a_hundred_kilobytes_is_cut_and_said(command: Command, small: Path) -> None:
    result = command("query", "bees " * 20_000, "-k", "1", "--json", cwd=small)
    assert json.loads(result.stdout)[0]["document"] == "bees.md"
    assert "cut" in result.stderr


@pytest.mark.parametrize("count", ["0", "-1", "1000000000", "1e3", "ten"])
def test_a_k_that_is_none(command: Command, small: Path, count: str) -> None:
    refused(command("query", "bees", "-k", count, cwd=small), 2, "-k")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mode", "sem"), "hybrid"),
        (("--fusion", "max"), "rrf"),
        (("--where", "extension:pdf"), "no field"),
        (("--where", "'; DROP TABLE passages"), "--where"),
        (("--where", "modified:>soon"), "no value for modified"),
        (("--nonsense",), "No such option"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(
    command: Command, small: Path, words: tuple[str, ...], said: str
) -> None:
    refused(command("query", "bees", *words, cwd=small), 2, said)


def test_a_filter_that_leaves_nothing_is_no_failure(command: Command, small: Path) -> None:
    result = command("query", "bees", "--where", "ext:pdf", "--json", cwd=small)
    assert (result.returncode, result.stdout.strip()) == (0, "[]")
    assert "leaves no passage" in result.stderr


def test_no_index_here(command: Command, tmp_path: Path) -> None:
    refused(command("query", "bees", cwd=tmp_path), 1, "no index here or above", "searchengine index")
    refused(command("status", "--index", tmp_path / "absent"), 1, "no index")


def test_an_index_that_is_none(command: Command, small: Path, tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("this is a letter, not a catalog")
    refused(command("query", "bees", "--index", tmp_path), 1, "not a catalog")
    (tmp_path / "file").write_text("a file")
    refused(command("query", "bees", "--index", tmp_path / "file"), 1, "no index")
    refused(command("index", small, "--index", tmp_path / "file"), 1, "is no index")


def test_an_index_of_a_newer_format(command: Command, small: Path, tmp_path: Path) -> None:
    from indexer.seal import write_seal

    index = tmp_path / "index"
    shutil.copytree(small / ".searchengine", index)
    connection = sqlite3.connect(index / "catalog.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    write_seal(index)  # as that newer version would have
    refused(command("query", "bees", "--index", index), 1, "newer searchengine", "format 99")
    refused(command("index", small, "--index", index), 1, "newer searchengine", "format 99")


def test_an_index_of_another_model(command: Command, small: Path, tmp_path: Path) -> None:
    from indexer.encoders.pretrained import default_folder

    other = tmp_path / "other"
    shutil.copytree(default_folder(), other)
    settings = json.loads((other / "1_Pooling" / "config.json").read_text())
    settings |= {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    (other / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    index = small / ".searchengine"
    before = sorted(
        path.name for path in index.rglob("*") if path.suffix != ".sqlite-shm" and path.suffix != ".sqlite-wal"
    )
    refused(command("index", small, "--model", other), 1, "holds vectors of", "leave --model out")
    after = sorted(
        path.name for path in index.rglob("*") if path.suffix != ".sqlite-shm" and path.suffix != ".sqlite-wal"
    )
    assert after == before


def test_a_model_that_is_none(command: Command, small: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    refused(command("index", small, "--index", tmp_path / "new", "--model", tmp_path / "model"), 1, "model")
    assert not (tmp_path / "new").exists()


def test_a_second_writer_is_told_who_writes(command: Command, small: Path) -> None:
    from indexer.lock import WriterLock

    with WriterLock(small / ".searchengine" / "write.lock"):
        refused(command("index", small), 1, "another process is writing", str(os.getpid()), "--wait")
        assert command("query", "bees", cwd=small).returncode == 0


def test_debug_shows_the_traceback(command: Command, tmp_path: Path) -> None:
    assert "Traceback" in command("--debug", "query", "bees", cwd=tmp_path).stderr


def test_an_unknown_command_and_no_command(command: Command) -> None:
    refused(command("serach", "x"), 2, "No such command")
    assert "index" in command("--help").stdout
