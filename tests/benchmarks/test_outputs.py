"""A result file is there whole or not at all, and a place that takes none is known beforehand."""

from __future__ import annotations

import os
import stat

import pytest

from benchmarks.outputs import check_file, make_folder, write_text, write_whole
from indexer.errors import StorageError


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "result.json"
    with write_whole(path) as part:
        part.write_text("figures")
        assert not path.exists()
    assert path.read_text() == "figures"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_older_file_alone(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), write_whole(path) as part:
        part.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "result", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_to_and_stays_a_device(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_file(pipe)
        write_text(pipe, "figures")
        assert os.read(reader, 100) == b"figures"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("check", [check_file, lambda path: write_text(path, "x")])
@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("", "a folder; a file's name is expected"),
        ("nowhere/result", "No such file"),
        ("file/result", "Not a directory"),
    ],
)
def test_a_place_that_takes_no_file_is_refused(tmp_path, place, what, check):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=what):
        check(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_checking_leaves_nothing_behind_and_changes_nothing(tmp_path):
    (tmp_path / "result").write_text("old")
    check_file(tmp_path / "result")
    check_file(tmp_path / "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("result", "old")]


def test_a_folder_is_made_with_its_parents(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="no folder can be made there"):
            make_folder(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        make_folder(tmp_path)
