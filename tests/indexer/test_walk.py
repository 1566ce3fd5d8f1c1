"""The walk: every kind of entry a folder may hold, each found or left out with its reason."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from indexer.errors import NothingToIndex, UsageError
from indexer.walk import SkippedFile, WalkedFile, walk


def tree(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}\n")
    return root


def found(root: Path, **options: object) -> list[str]:
    real = os.path.realpath(root)
    entries = walk(root, **options)  # type: ignore[arg-type]
    return [os.path.relpath(entry.path, real) for entry in entries if isinstance(entry, WalkedFile)]


def skipped(root: Path, **options: object) -> dict[str, tuple[str, bool]]:
    real = os.path.realpath(root)
    entries = walk(root, **options)  # type: ignore[arg-type]
    return {
        os.path.relpath(entry.path, real): (entry.reason, entry.expected)
        for entry in entries
        if isinstance(entry, SkippedFile)
    }


def test_files_come_in_order_with_what_stat_says(tmp_path: Path) -> None:
    tree(tmp_path, "b.txt", "a/z.txt", "a/b/c.txt", "c.txt")
    assert found(tmp_path) == ["a/b/c.txt", "a/z.txt", "b.txt", "c.txt"]
    entry = next(iter(walk(tmp_path / "b.txt")))
    status = (tmp_path / "b.txt").stat()
    assert isinstance(entry, WalkedFile)
    assert (entry.size, entry.mtime_ns, entry.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)


def test_ignore_files_nest_and_the_deeper_has_the_last_word(tmp_path: Path) -> None:
    tree(tmp_path, "keep.txt", "x.log", "sub/x.log", "sub/y.log", "build/deep/file.txt", "sub/build", "anchored.txt")
    tree(tmp_path, "sub/anchored.txt")
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n/anchored.txt\n")
    (tmp_path / "sub" / ".gitignore").write_text("!y.log\n")
    assert found(tmp_path) == ["keep.txt", "sub/anchored.txt", "sub/build", "sub/y.log"]
    left_out = skipped(tmp_path)
    assert left_out["build"] == ("ignored", True)
    assert not any(name.startswith("build/") for name in left_out)


def test_own_ignore_file_and_git_info_exclude_count(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b.txt", "c.txt", ".git/info/exclude", ".git/config")
    (tmp_path / ".git/info/exclude").write_text("c.txt\n")
    (tmp_path / ".gitignore").write_text("a.txt\n")
    (tmp_path / ".searchengineignore").write_text("!a.txt\nb.txt\n")
    assert found(tmp_path) == ["a.txt"]
    assert skipped(tmp_path)[".git"] == ("version control", True)
    assert ".git" in skipped(tmp_path, hidden=True)


def test_an_invalid_pattern_is_named_with_its_line_and_costs_only_itself(tmp_path: Path) -> None:
    tree(tmp_path, "a.log", "b.txt")
    (tmp_path / ".gitignore").write_text("# comment\n!\n[z-a]\n*.log\n")
    assert found(tmp_path) == ["b.txt"]
    left_out = skipped(tmp_path)
    assert left_out[".gitignore:2"] == ("not an ignore pattern: '!'", False)
    assert ".gitignore:3" in left_out


def test_an_ignore_file_that_is_a_pipe_is_not_opened_for_ever(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    os.mkfifo(tmp_path / ".gitignore")
    assert found(tmp_path) == ["a.txt"]
    assert skipped(tmp_path)[".gitignore"][1] in (True, False)


def test_excluded_globs(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", "a.txt", "drafts/b.md")
    assert found(tmp_path, exclude=["*.txt", "drafts/"]) == ["a.md"]
    with pytest.raises(UsageError, match="not a glob"):
        walk(tmp_path, exclude=["!"])


def test_hidden_files_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    tree(tmp_path, ".hidden/a.txt", ".b.txt", "c.txt")
    assert found(tmp_path) == ["c.txt"]
    assert skipped(tmp_path) == {".hidden": ("hidden", True), ".b.txt": ("hidden", True)}
    assert found(tmp_path, hidden=True) == [".b.txt", ".hidden/a.txt", "c.txt"]


def test_an_index_is_never_indexed(tmp_path: Path) -> None:
    tree(tmp_path, ".searchengine/catalog.sqlite", "other/catalog.sqlite", "other/write.lock", "a.txt")
    tree(tmp_path, "mine/catalog.sqlite")  # a file of that name alone makes no index
    assert found(tmp_path, hidden=True) == ["a.txt", "mine/catalog.sqlite"]
    assert skipped(tmp_path)["other"] == ("an index", True)
    with pytest.raises(NothingToIndex, match="an index"):
        walk(tmp_path / "other")


def test_links(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "secret.txt", "more/deep.txt")
    root = tree(tmp_path / "root", "a.txt", "sub/b.txt", ".hidden/c.txt")
    (root / "same.txt").symlink_to("a.txt")
    (root / "unhidden.txt").symlink_to(".hidden/c.txt")
    (root / "again.txt").symlink_to(".hidden/c.txt")
    (root / "out.txt").symlink_to(outside / "secret.txt")
    (root / "outdir").symlink_to(outside)
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    (root / "sub" / "up").symlink_to(root)
    assert found(root) == ["a.txt", "sub/b.txt", "again.txt"]
    left_out = skipped(root)
    assert "own name" in left_out["same.txt"][0]
    assert left_out["out.txt"] == ("a link out of the folder (--follow allows it)", False)
    assert left_out["dangling"] == ("a link to nothing", False)
    assert "cannot be followed" in left_out["loop"][0]
    assert "sub/up" in left_out
    assert found(root, follow=True) == [
        "a.txt",
        "out.txt",
        "outdir/more/deep.txt",
        "outdir/secret.txt",
        "sub/b.txt",
        "again.txt",
    ]
    linked = next(entry for entry in walk(root, follow=True) if entry.path.endswith("out.txt"))
    assert isinstance(linked, WalkedFile)
    assert linked.target == os.path.realpath(outside / "secret.txt")


def test_followed_links_do_not_loop(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "a.txt")
    root = tree(tmp_path / "root", "b.txt")
    (root / "one").symlink_to(outside)
    (root / "two").symlink_to(outside)
    (outside / "back").symlink_to(root)
    (outside / "self").symlink_to(outside)
    (root / "above").symlink_to(tmp_path)
    assert found(root, follow=True) == ["b.txt", "one/a.txt"]


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket may have 100 bytes only
        listener.bind("socket")
        os.chdir(here)
        assert found(tmp_path) == ["a.txt"]
        assert skipped(tmp_path) == {"pipe": ("a named pipe", False), "socket": ("a socket", False)}
    with pytest.raises(NothingToIndex, match="neither a file nor a folder"):
        walk(Path("/dev/null"))


def test_a_file_over_the_limit_is_named_and_not_read(tmp_path: Path) -> None:
    tree(tmp_path, "small.txt")
    with open(tmp_path / "sparse.txt", "wb") as file:
        file.truncate(10**12)
    assert found(tmp_path) == ["small.txt"]
    assert skipped(tmp_path) == {"sparse.txt": ("larger than 50 MB", False)}
    assert found(tmp_path, max_bytes=5) == []


def test_the_root_may_be_a_file_or_be_spelled_otherwise(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "a.txt")
    (tmp_path / "link").symlink_to(root)
    expected = os.path.realpath(root / "a.txt")
    for spelling in (root, root / "a.txt", tmp_path / "link", root / ".." / "root", tmp_path / "link" / "a.txt"):
        assert [entry.path for entry in walk(spelling)] == [expected]


def test_a_root_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NothingToIndex, match=r"no such file or folder \(check the path"):
        walk(tmp_path / "nowhere")


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.txt", "locked/b.txt")
    listdir = os.listdir

    def refuse(path: str) -> list[str]:  # permissions do not bind root, who runs this in containers
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert found(tmp_path) == ["a.txt"]
    assert skipped(tmp_path) == {"locked": ("folder cannot be read: Permission denied", False)}
    with pytest.raises(NothingToIndex, match="check its permissions"):
        walk(tmp_path / "locked")


def test_names_that_are_not_text(tmp_path: Path) -> None:
    for name in (b"caf\xe9.txt", b"new\nline.txt", b"esc\x1b[31m.txt", b"n" * 251 + b".txt"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(b"text")
    names = {os.fsencode(os.path.basename(entry.path)) for entry in walk(tmp_path)}
    assert b"caf\xe9.txt" in names
    assert len(names) == 4


def test_deep_folders(tmp_path: Path) -> None:
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(2500):  # deeper than recursion goes, and than a path may be long
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    tree(tmp_path, "d/" * 200 + "deep.txt")
    assert found(tmp_path) == ["d/" * 200 + "deep.txt"]
    reasons = skipped(tmp_path)
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own clean-up recurses
    assert len(reasons) == 1
    assert next(iter(reasons.values())) == ("File name too long", False)


def test_a_file_that_vanishes_during_the_walk_costs_only_itself(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b.txt", "c.txt")
    entries = walk(tmp_path)
    assert os.path.basename(next(entries).path) == "a.txt"
    (tmp_path / "b.txt").unlink()
    rest = list(entries)
    assert [type(entry) for entry in rest] == [SkippedFile, WalkedFile]


def test_the_real_folder(data: Path) -> None:
    folder = data / "docs-folder"
    if not folder.is_dir():
        pytest.skip(f"no docs-folder in {data}")
    assert len(found(folder)) >= 590
    assert all(expected for _, expected in skipped(folder).values())
