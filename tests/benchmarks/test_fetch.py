"""BEIR sets from a server on this machine: whole, broken, resumed, altered, and archives that mean harm."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks import download, fetch, unpack
from benchmarks.beir import open_dataset
from benchmarks.download import size_of
from benchmarks.fetch import has_corpus, main
from indexer.errors import DataError, StorageError, UsageError

from .conftest import DOCUMENTS, QRELS, QUERIES, jsonl

FILES = {
    "scifact/corpus.jsonl": jsonl(DOCUMENTS),
    "scifact/queries.jsonl": jsonl(QUERIES),
    "scifact/qrels/test.tsv": QRELS,
}


def zipped(files: dict[str, Any]) -> bytes:
    """Write a zip; a key may be a name or a ZipInfo."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return buffer.getvalue()


@dataclass
class Site:
    """What the server holds and how it behaves; ``asked`` lists the Range header of each request."""

    content: bytes
    breaks_after: list[int] = field(default_factory=list)  # a number for each request that ends early
    statuses: list[int] = field(default_factory=list)  # a number for each request that is refused
    knows_ranges: bool = True
    range_shift: int = 0
    asked: list[str | None] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    """Serve a small SciFact at ``site.address``, with its checksum published."""
    served = Site(zipped(FILES))
    monkeypatch.setattr("benchmarks.download.PAUSE_S", 0)
    publish(monkeypatch, served.content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.asked.append(wanted)
            if served.statuses:
                self.send_error(served.statuses.pop(0))
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and served.knows_ranges else 0
            if start >= len(served.content):
                self.send_error(416)
                return
            body = served.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                begins = start + served.range_shift
                self.send_header("Content-Range", f"bytes {begins}-{len(served.content) - 1}/{len(served.content)}")
            self.end_headers()
            self.wfile.write(body[: served.breaks_after.pop(0)] if served.breaks_after else body)

        def log_message(self, format: str, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def publish(monkeypatch, content: bytes) -> None:
    monkeypatch.setitem(fetch.SETS, "scifact", hashlib.md5(content).hexdigest())


def get(site: Site, to: Path) -> Path:
    return fetch.fetch("scifact", to, address=site.address)


def test_a_set_becomes_a_folder_that_bench_reads(site, tmp_path):
    folder = get(site, tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data" / "scifact"
    assert list(open_dataset(folder).queries) == ["q1", "q2", "q3"]
    assert [path.name for path in folder.parent.iterdir()] == ["scifact"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert site.asked == [None]


def test_a_broken_download_goes_on_where_it_ended(site, tmp_path):
    site.breaks_after = [100, 50]
    assert has_corpus(get(site, tmp_path))
    assert site.asked == [None, "bytes=100-", "bytes=150-"]


def test_a_later_run_goes_on_where_an_earlier_one_ended(site, tmp_path):
    site.breaks_after = [100] + [0] * download.ATTEMPTS
    with pytest.raises(DataError, match=r"ended after 100 of .*100 bytes are kept; run the same command again"):
        get(site, tmp_path)
    assert not (tmp_path / "scifact").exists()
    site.asked.clear()
    assert has_corpus(get(site, tmp_path))
    assert site.asked == ["bytes=100-"]


def test_a_server_without_ranges_sends_all_of_it_anew(site, tmp_path):
    site.knows_ranges = False
    site.breaks_after = [100]
    assert has_corpus(get(site, tmp_path))
    assert site.asked == [None, "bytes=100-"]


def test_a_part_that_begins_elsewhere_is_not_appended(site, tmp_path):
    site.breaks_after = [100]
    site.range_shift = 7
    with pytest.raises(DataError, match="a part that begins at byte 107, not 100"):
        get(site, tmp_path)
    assert size_of(tmp_path / ".scifact.zip.part") == 100


def test_what_is_whole_already_is_not_fetched_again(site, tmp_path):
    (tmp_path / ".scifact.zip.part").write_bytes(site.content)
    assert has_corpus(get(site, tmp_path))
    assert site.asked == [f"bytes={len(site.content)}-"]


def test_what_belongs_to_another_file_is_fetched_from_its_start(site, tmp_path):
    (tmp_path / ".scifact.zip.part").write_bytes(b"x" * 100)
    assert has_corpus(get(site, tmp_path))
    assert site.asked == ["bytes=100-", None]


def test_a_wrong_checksum_is_refused_and_nothing_kept(site, tmp_path):
    site.content = zipped(FILES | {"scifact/extra": "x"})
    with pytest.raises(DataError, match="not the published file"):
        get(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(site, tmp_path):
    site.statuses = [503, 429]
    assert has_corpus(get(site, tmp_path / "a"))
    assert len(site.asked) == 3
    site.statuses = [404]
    with pytest.raises(DataError, match="the server answers 404 Not Found"):
        get(site, tmp_path / "b")
    assert len(site.asked) == 4


def test_without_a_server_the_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.download.PAUSE_S", 0)
    with pytest.raises(DataError, match=r"no connection: Connection refused \(0 bytes are kept"):
        fetch.fetch("scifact", tmp_path, address="http://127.0.0.1:9")


def test_more_than_any_set_is_cut_off(site, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.download.LIMIT_BYTES", 50)
    with pytest.raises(DataError, match="no data set"):
        get(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_sentence(site, tmp_path):
    (tmp_path / ".scifact.zip.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"No space left on device \(what came is kept"):
        get(site, tmp_path)


def test_a_disk_full_while_unpacking_keeps_the_archive_alone(site, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchmarks.unpack.shutil.copyfileobj", refuse)
    with pytest.raises(StorageError, match="scifact: cannot be unpacked: No space left on device"):
        get(site, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".scifact.zip.part"]
    monkeypatch.undo()
    publish(monkeypatch, site.content)
    assert has_corpus(get(site, tmp_path))


def test_a_folder_that_cannot_be_made_is_one_sentence(site, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="no folder can be made there"):
        get(site, tmp_path / "file")


def test_a_set_that_is_there_is_left_alone(site, tmp_path):
    (tmp_path / "scifact").mkdir()
    with pytest.raises(DataError, match="in the way, and no BEIR folder"):
        get(site, tmp_path)
    (tmp_path / "scifact" / "corpus.jsonl").write_text("mine")
    assert get(site, tmp_path) == tmp_path / "scifact"
    assert (tmp_path / "scifact" / "corpus.jsonl").read_text() == "mine"
    assert site.asked == []


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(UsageError, match="did you mean scifact"):
        fetch.fetch("scifacts", tmp_path)
    with pytest.raises(UsageError, match="choose from arguana, climate-fever"):
        fetch.fetch("../etc", tmp_path)


# archives that mean harm


def linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/evil",
        "scifact/../../evil",
        "other/corpus.jsonl",
        "scifact\\..\\evil",
        "C:/evil",
        "..",
        "scifact/a:b",
    ],
)
def test_an_entry_that_lies_outside_is_refused(tmp_path, name):
    refused(tmp_path, FILES | {name: "x"}, "lies outside scifact/")


def test_a_link_is_refused(tmp_path):
    refused(tmp_path, {linked("scifact/corpus.jsonl"): "/etc/passwd"}, "is no plain file")


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    refused(tmp_path, {"scifact": "x"}, "scifact is a file in it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    refused(tmp_path, {zipfile.ZipInfo("scifact/a"): "x", "scifact/a": "y"}, "is there twice")
    refused(tmp_path, {"scifact/a": "x", "scifact/a/b": "y"}, "is there twice")


def test_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.unpack.LIMIT_BYTES", 10)
    refused(tmp_path, FILES, "too large for a data set")
    monkeypatch.undo()
    monkeypatch.setattr("benchmarks.unpack.LIMIT_ENTRIES", 2)
    refused(tmp_path, FILES, "3 entries")


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="damaged archive"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "scifact")
    content = zipped(FILES)
    (tmp_path / "a.zip").write_bytes(content.replace(b"Apples grow", b"Apples grew"))
    with pytest.raises(DataError, match="damaged archive: Bad CRC-32"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "scifact")
    assert os.listdir(tmp_path) == ["a.zip"]


def test_an_archive_that_is_refused_is_not_kept(site, tmp_path, monkeypatch):
    site.content = zipped({"../evil": "x"})
    publish(monkeypatch, site.content)
    with pytest.raises(DataError, match="lies outside"):
        get(site, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_what_macos_adds_is_left_out(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(FILES | {"__MACOSX/scifact/._corpus.jsonl": "x", "scifact/qrels/": ""}))
    unpack.unpack(tmp_path / "a.zip", tmp_path / "scifact")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "a.zip", "corpus.jsonl", "queries.jsonl", "test.tsv"
    ]  # fmt: skip


def refused(tmp_path: Path, files: dict[Any, str], what: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(files))
    with pytest.raises(DataError, match=what):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "scifact")
    assert os.listdir(tmp_path) == ["a.zip"]


# the command


def test_the_command_names_what_it_made_and_what_to_do_next(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.fetch.fetch", partial(fetch.fetch, address=site.address))
    assert main(["scifact", "--to", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'scifact'}\n"
    assert f"next: searchengine bench {tmp_path / 'scifact'}" in captured.err


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    assert main(["scifacts", "--to", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
