"""A local Ray cluster of two workers gives what one process gives, whatever becomes of its workers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import searchengine
from benchmarks.cluster import TASKS, Killer, contents, vectors
from indexer.build import index_paths
from indexer.cluster import Cluster, ClusterWork, _refuse_unshared, import_ray
from indexer.errors import ClusterError
from indexer.index import Splitting
from indexer.options import Options
from indexer.progress import Silent
from indexer.readers.source import VANISHED
from indexer.readers.wire import FileResult
from indexer.snapshot import Snapshot
from indexer.vectors import Segment
from indexer.work import Read
from searchengine import Searcher
from searchengine.shards import Shards, _shares
from tests.conftest import LIBRARY, Command

QUERIES = ("why is my attic wet?", "rescue a sailor who tumbled into the waves", "overdue books", "honey")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two workers on this machine, for all tests of this file."""
    ray = import_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=1 << 27)
    yield Cluster()
    ray.shutdown()


def copy_half(folder: Path) -> None:
    """Copy half of the sample folder: fourteen files, some with several documents, of seven formats."""
    for part in ("bees", "desk", "house", "programs", "sea"):
        shutil.copytree(LIBRARY / part, folder / part)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The same for a test that changes it."""
    copy_half(tmp_path / "library")
    return tmp_path / "library"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """Sample files, indexed by one process, in blocks so small that there are many."""
    folder = tmp_path_factory.mktemp("alone") / "library"
    copy_half(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.work.LocalWork.block", 8)
        return searchengine.index(folder, backend="onnx")


def assert_same(one: Searcher, other: Searcher) -> None:
    assert contents(one) == contents(other)
    assert np.array_equal(vectors(one), vectors(other))
    for text in QUERIES:
        for mode in ("hybrid", "dense", "bm25"):
            assert one.search(text, 10, mode=mode, all_passages=True) == [
                replace(hit, path=one_path(hit.path, other, one))
                for hit in other.search(text, 10, mode=mode, all_passages=True)
            ]


def one_path(path: Path | None, there: Searcher, here: Searcher) -> Path | None:
    """The same file below another index's folder."""
    return None if path is None else here.folder.parent / path.relative_to(there.folder.parent)


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_workers_killed_amid_an_index_lose_and_double_nothing(
    cluster: Cluster,
    alone: Searcher,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ClusterWork, "block", 8)
    killer = Killer(*TASKS)
    killer.start()
    together = searchengine.index(library, backend="onnx", ray=True)
    killer.done.set()
    assert killer.to_kill == []
    assert capsys.readouterr().out == ""  # Ray has much to say of a lost worker
    assert_same(together, alone)
    assert together.report is not None
    assert alone.report is not None
    for counted in ("documents", "passages", "files_added", "passages_encoded", "passages_reused", "skipped"):
        assert getattr(together.report, counted) == getattr(alone.report, counted), counted


def test_an_update_on_a_cluster_encodes_what_is_new_alone(cluster: Cluster, alone: Searcher, library: Path) -> None:
    shutil.copytree(alone.folder, library / ".searchengine")
    note = library / "sea" / "new.md"
    note.write_text("# Knots\n\nA bowline does not slip.\n")
    (library / "copy.md").write_text(note.read_text())
    shutil.copytree(library, library.with_name("beside"))
    together = searchengine.index(library, backend="onnx", ray=True)
    single = searchengine.index(library.with_name("beside"), backend="onnx")
    assert together.report is not None
    assert (together.report.passages_encoded, together.report.passages_reused) == (1, 1)
    assert_same(together, single)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """An index of several segments, some of their rows dead."""
    folder = tmp_path_factory.mktemp("several") / "library"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.build._COMMIT_DOCUMENTS", 6)
        patch.setattr("indexer.work.LocalWork.block", 8)
        copy_half(folder)
        patch.setattr("indexer.merge.DEAD_SHARE", 1.0)  # leave them dead
        searchengine.index(folder, backend="onnx").close()
        (folder / "house" / "lofts.md").unlink()
        searcher = searchengine.index(folder, backend="onnx")
    with Snapshot(searcher.folder).reading() as generation:
        assert len(generation.segments) > 2
        assert any(len(segment.dead) for segment in generation.segments)
    return searcher


def answers(searcher: Searcher, text: str) -> list[tuple[list[tuple[str, int]], list[float]]]:
    """What it finds in each mode, with and without a filter."""
    found = []
    for mode in ("hybrid", "dense"):
        for where in (None, "path:sea/**", "ext:none"):
            hits = searcher.search(text, 10, mode=mode, where=where)
            found.append(([(hit.document, hit.passage) for hit in hits], [hit.score for hit in hits]))
    return found


def assert_same_answers(one: Searcher, other: Searcher) -> None:
    for text in QUERIES:
        for (hits, scores), (hits_beside, scores_beside) in zip(answers(one, text), answers(other, text), strict=True):
            assert hits == hits_beside
            assert scores == pytest.approx(scores_beside, abs=2e-5)  # cosines are rounded to six decimals


def test_a_scattered_query_finds_what_one_process_finds(cluster: Cluster, several: Searcher, library: Path) -> None:
    said = Notes()
    shards = Shards(several.folder, cluster, progress=said)
    scattered = Searcher(several.folder, nearest=shards.nearest)
    assert_same_answers(scattered, several)
    assert said.notes == []
    # A dead shard: its segments are searched here, and that is said.
    cluster.kill(shards.actors[0])
    assert_same_answers(scattered, several)
    assert [note.split(",")[0] for note in said.notes] == ["shard 0 does not answer"]
    # A new generation is answered from without more ado.
    (several.folder.parent / "zebu.md").write_text("# Zebu\n\nA zebu is a hump-backed ox.\n")
    searchengine.index(several.folder.parent, backend="onnx").close()
    assert scattered.search("hump-backed ox", 1, mode="dense")[0].document == "zebu.md"
    assert_same_answers(scattered, several)


def test_segments_are_dealt_out_whole_and_evenly() -> None:
    rows = [5, 1, 1, 1, 9, 3]
    segments = [Segment(Path(), *(np.zeros(count, np.int64) for _ in range(4))) for count in rows]
    shares = _shares(segments, 3)
    assert sorted(at for share in shares for at in share) == list(range(6))
    assert sorted(sum(rows[at] for at in share) for share in shares) == [5, 6, 9]


def test_an_index_that_is_up_to_date_needs_no_cluster(alone: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.cluster.Cluster.__init__", lambda *_: pytest.fail("a cluster was joined"))
    written = max(path.stat().st_mtime for path in alone.folder.parent.rglob("*"))
    time.sleep(max(0, written + 2.1 - time.time()))
    searchengine.index(alone.folder.parent, backend="onnx").close()  # reads again what was too young to be sure of
    again = searchengine.index(alone.folder.parent, ray=True)
    assert again.report is not None
    assert again.report.files_unchanged == len(contents(alone)["sources"])


def test_work_that_kills_its_worker_ends_in_a_sentence(cluster: Cluster) -> None:
    deadly = cluster.remote(_die, num_cpus=0.25, max_retries=0)
    with pytest.raises(ClusterError, match="worker died"):
        cluster.get(deadly.remote())


def test_what_a_task_says_reaches_the_user_as_it_was_said(cluster: Cluster) -> None:
    failing = cluster.remote(_fail, num_cpus=0.25)
    with pytest.raises(ClusterError) as raised:
        cluster.get(failing.remote())
    assert str(raised.value) == "no such model"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise ClusterError("no such model")


def test_a_file_that_only_the_driver_sees_is_not_believed_gone(tmp_path: Path) -> None:
    (tmp_path / "here.md").write_text("here")
    _refuse_unshared(Read(FileResult(str(tmp_path / "gone.md"), skipped=VANISHED), ()))
    with pytest.raises(ClusterError, match=r"here\.md: a Ray worker does not see it"):
        _refuse_unshared(Read(FileResult(str(tmp_path / "here.md"), skipped=VANISHED), ()))


def test_without_ray_the_user_is_told_what_to_install(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.cluster.find_spec", lambda name: None)
    with pytest.raises(ClusterError, match="pip install"):
        index_paths([library], library / ".searchengine", Options(ray="local"))
    assert not (library / ".searchengine").exists()


def test_a_folder_is_no_address(library: Path, command: Command) -> None:
    result = command("index", library, "--ray", library)
    assert result.returncode == 2
    assert "write the folder before --ray" in result.stderr


class Recorder(Cluster):
    """A cluster of two nodes that keeps what it is asked to start."""

    def __init__(self, gpus: int) -> None:
        self.node_cpus, self.gpus, self.actors = [8, 4], gpus, []
        self.started: list[tuple[dict[str, object], tuple[object, ...]]] = []

    def remote(self, work: Callable[..., object], **options: object) -> object:
        return SimpleNamespace(remote=lambda *given: self.started.append((options, given)))


@pytest.mark.parametrize(
    ("gpus", "device", "count", "share", "place"),
    [
        (2, "auto", 2, {"num_gpus": 1, "num_cpus": 0}, ("auto", "cuda", None)),
        (2, "cpu", 6, {"num_cpus": 1.75}, ("onnx", "cpu", 2)),
        (0, "auto", 6, {"num_cpus": 1.75}, ("onnx", "cpu", 2)),
    ],
)
def test_encoders_take_the_gpus_or_leave_room_for_readers(
    gpus: int, device: str, count: int, share: dict[str, float], place: tuple[object, ...]
) -> None:
    own = SimpleNamespace(backend="onnx", fingerprint="f")
    encoders = SimpleNamespace(model="named", get=lambda: own)
    work = ClusterWork(encoders, Splitting(), Options(device=device), Silent())  # type: ignore[arg-type]
    cluster = Recorder(gpus)
    work._start_encoders(cluster)
    assert len(cluster.started) == count
    for options, (model, backend, where, threads, fingerprint) in cluster.started:
        assert {name: options[name] for name in options if name.startswith("num_")} == share
        assert (model, backend, where, threads, fingerprint) == ("named", *place, "f")
