"""The reader pool against hostile readers: each costs its own file, nothing else, and leaves no process behind."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.readers.worker import FileRequest, FileResult, ReaderPool, digest

HOSTILE = """
import ctypes, os, signal, sys, time
import indexer.readers as readers

usual = readers.READERS["text"]

def hostile(data, name, note):
    word = data.split()[0].decode()
    if word == "abort": os.abort()
    if word == "segv": os.kill(os.getpid(), signal.SIGSEGV)
    if word == "null": ctypes.string_at(0)
    if word == "exit": os._exit(3)
    if word == "sleep": time.sleep(60)
    if word == "spin":
        while True: pass
    if word == "allocate": return bytearray(8 * 2**30)
    if word == "recurse": return hostile_recursion()
    if word == "raise": raise KeyError("odd \\x1b[31m")
    if word == "print":
        for stream in (sys.stdout, sys.stderr):
            for _ in range(200): print("x" * 100_000, file=stream)
        os.write(1, b"garbage"); os.write(2, b"garbage"); input_is = sys.stdin.read()
    if word == "fork" and os.fork() == 0 and data.split()[1] == b"sleep": time.sleep(60)
    if word == "spawn": os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    if word == "interrupt": os.kill(os.getpid(), signal.SIGINT)
    return read_text(data, name, note)

def hostile_recursion():
    return hostile_recursion()

from indexer.readers.text import read_text
import indexer.readers.text
indexer.readers.text.read_text = hostile
from indexer.readers.serve import main
main()
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A worker whose text reader does what the text's first word says."""
    script = tmp_path_factory.mktemp("hostile") / "worker.py"
    script.write_text(HOSTILE)
    return sys.executable, str(script)


def write(folder: Path, **texts: str) -> list[FileRequest]:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return [FileRequest(str(folder / f"{name}.txt")) for name in texts]


def children() -> set[int]:
    done = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in done.stdout.splitlines())
    return {int(pid) for pid, parent, name, *_ in rows if int(parent) == os.getpid() and name != "ps"}


def reasons(results: list[FileResult]) -> dict[str, str]:
    return {Path(result.path).stem: result.skipped for result in results}


def test_files_are_read_in_order(tmp_path: Path) -> None:
    requests = write(tmp_path, **{f"f{number:03}": f"words of {number}" for number in range(50)})
    with ReaderPool(2) as pool:
        results = list(pool.read(requests))
        again = list(pool.read(FileRequest(r.path, r.digest) for r in results))
    assert [result.path for result in results] == [request.path for request in requests]
    assert [result.documents[0].text for result in results] == [f"words of {number}" for number in range(50)]
    status = os.stat(requests[0].path)
    assert (results[0].size, results[0].mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert results[0].digest == hashlib.sha256(b"words of 0").hexdigest() == digest(requests[0].path)
    assert all(result.unchanged and not result.documents for result in again)


def test_hostile_readers_cost_their_own_file_only(tmp_path: Path, hostile: tuple[str, str]) -> None:
    deeds = ("abort", "segv", "null", "exit", "sleep", "spin", "allocate", "recurse", "raise", "print", "interrupt")
    requests = write(tmp_path, first="good", **{deed: deed for deed in deeds}, spawn="spawn", forked="fork sleep")
    requests += write(tmp_path, last="good", twice="fork return", end="good")
    with ReaderPool(2, timeout_s=3, command=hostile) as pool:
        results = list(pool.read(requests))
    assert reasons(results) == {
        "first": "",
        "abort": "the reader crashed (signal 6)",
        "segv": "the reader crashed (signal 11)",
        "null": "the reader crashed (signal 11)",
        "exit": "the reader ended early (exit code 3)",
        "sleep": "took longer than 3 s",
        "spin": "took longer than 3 s",
        "allocate": "takes more than 2 GB of memory",
        "recurse": "nested too deeply",
        "raise": "cannot be parsed (KeyError: \"'odd \\\\x1b[31m'\")",
        "print": "",
        "interrupt": "",
        "spawn": "",
        "forked": "",
        "last": "",
        "twice": "",
        "end": "",
    }
    assert [result.documents[0].text for result in results if not result.skipped][-1] == "good"


def test_no_process_is_left_behind(tmp_path: Path, hostile: tuple[str, str]) -> None:
    before = children()
    with ReaderPool(2, command=hostile) as pool:
        stream = pool.read(write(tmp_path, a="good", b="spawn", c="sleep", d="sleep"))
        next(stream)
        assert children() - before
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert children() <= before
    stream.close()


def test_requests_are_taken_only_a_little_ahead(tmp_path: Path) -> None:
    requests = write(tmp_path, a="words")
    taken = 0

    def endless() -> Iterator[FileRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield requests[0]

    with ReaderPool(1) as pool:
        for _, _ in zip(range(20), pool.read(endless()), strict=False):
            pass
    assert taken < 30


def test_what_is_no_regular_file_is_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "real.txt").write_text("words")
    (tmp_path / "link.txt").symlink_to("real.txt")
    (tmp_path / "big.txt").write_bytes(b"x" * 2000)
    names = ["pipe.txt", "link.txt", "gone.txt", "big.txt", ".", "nul\0.txt"]
    requests = [FileRequest(str(tmp_path / name)) for name in names]
    requests.append(FileRequest(str(tmp_path / "link.txt"), target=str(tmp_path / "real.txt")))
    with ReaderPool(1, max_bytes=1000) as pool:
        results = list(pool.read(requests))
    assert [result.skipped for result in results] == [
        "not a regular file",
        "is a link now",
        "vanished before it could be read",
        "larger than 0.000953674 MB",
        "not a regular file",
        "cannot be read",
        "",
    ]
    assert results[-1].documents[0].text == "words"
    assert digest(requests[0].path) is None


def test_a_path_that_is_not_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9\n.txt"
    with open(path, "wb") as file:
        file.write(b"words")
    with ReaderPool(1) as pool:
        (result,) = pool.read([FileRequest(os.fsdecode(path))])
    assert os.fsencode(result.path) == path
    assert result.documents[0].text == "words"


def test_a_file_that_changes_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from indexer.errors import Unreadable
    from indexer.readers import source

    path = tmp_path / "a.txt"
    path.write_text("old")
    read, writes = os.read, ["newer"]

    def read_after_a_write(descriptor: int, count: int) -> bytes:
        if writes:
            path.write_text(writes.pop())
        return read(descriptor, count)

    monkeypatch.setattr(source.os, "read", read_after_a_write)
    assert source.load(str(path), 1000).data == b"newer"
    writes += ["x" * length for length in range(10)]
    with pytest.raises(Unreadable, match="changes while it is read"):
        source.load(str(path), 1000)


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from indexer.readers.worker import *\n"
        "pool = ReaderPool(1)\n"
        "next(pool.read([FileRequest(sys.argv[1])]))\n"
        "print(next(iter(pool._all))._process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    (request,) = write(tmp_path, a="words")
    done = subprocess.run([sys.executable, "-c", program, request.path], capture_output=True, text=True, check=True)
    worker = int(done.stdout)
    for _ in range(50):
        state = Path(f"/proc/{worker}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by five seconds")


def test_a_worker_imports_no_numpy() -> None:
    program = "import sys, indexer.readers.serve; print({'numpy', 'torch', 'lxml', 'selectolax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_worker_that_does_not_start_is_an_error_not_a_skipped_file(tmp_path: Path) -> None:
    with ReaderPool(1, command=[sys.executable, "-c", "raise SystemExit(4)"]) as pool, pytest.raises(RuntimeError):
        list(pool.read(write(tmp_path, a="words")))


def test_the_real_folder(data: Path) -> None:
    from indexer.walk import WalkedFile, walk

    folder = data / "docs-folder"
    if not folder.is_dir():
        pytest.skip(f"no docs-folder in {data}")
    requests = [FileRequest(entry.path) for entry in walk(folder) if isinstance(entry, WalkedFile)]
    with ReaderPool(2) as pool:
        skipped = {r.path.rpartition("/")[2]: r.skipped for r in pool.read(requests) if r.skipped}
    assert sorted(skipped) == [
        "empty.eml",
        "empty.txt",
        "empty.xlsx",
        "fake-encrypted.eml",
        "fake-text-all-whitespace.txt",
        "ocr_test.pdf",
        "ocr_test_rotated_180.pdf",
        "ocr_test_rotated_270.pdf",
        "ocr_test_rotated_90.pdf",
        "password.pdf",
        "password_protected.xlsx",
        "single_table.pdf",
    ]
