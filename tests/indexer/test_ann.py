"""A derived structure spares a scan and changes no score; whatever becomes of it, the vectors answer."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexer.derive
import indexer.merge
import indexer.vectors
import searchengine
from indexer.ann import DESCRIPTION, INDEX, Ann, read_description
from indexer.backup import backup
from indexer.derive import derive, set_wish
from indexer.documents import Document, Location, Passage
from indexer.encoders import load_encoder
from indexer.errors import UsageError
from indexer.index import Splitting, create_index
from indexer.kinds import BYTES, Wish, check, choose
from indexer.merge import merge_segments, optimize
from indexer.progress import SILENT
from indexer.repair import repair
from indexer.snapshot import Snapshot
from indexer.staging import Prepared
from indexer.status import describe
from indexer.vectors import Segment, nearest, open_segment, write_segment
from indexer.verify import verify
from indexer.writer import Writer
from searchengine import SearchEngineError
from tests.indexer.test_vectors import unit_rows

ROWS, DIMENSION = 1500, 32
FACTORIES = (BYTES, f"IVF32,{BYTES}", "HNSW8,SQ8", "IVF16,RaBitQ", "PCA16,IVF16,SQ8", "IVF16,PQ8x4fs")


def clustered(count: int, dimension: int, seed: int) -> np.ndarray:
    """Make unit rows that lie in thirty clumps, some of them equal: what an encoder makes of texts, and of copies."""
    chance = np.random.default_rng(seed)
    rows = unit_rows(30, dimension, 1)[chance.integers(0, 30, count)] + 0.7 * unit_rows(count, dimension, seed)
    rows[5::50] = rows[4::50]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(ROWS, DIMENSION, 2)


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> dict[str, Segment]:
    """The same rows behind each structure, a seventh of them dead."""
    folder = tmp_path_factory.mktemp("structures")
    write_segment(folder / "s", vectors, np.arange(ROWS) * 2 + 5, np.arange(ROWS) // 3)
    plain = open_segment(folder / "s", ROWS, DIMENSION, range(0, ROWS, 7))
    made = {}
    for factory in FACTORIES:
        target = folder / factory.replace(",", "-")
        target.mkdir()
        description = indexer.derive.derive_segment(plain, target, factory, Wish(factory, 0.9), SILENT)
        assert read_description(target) == description
        made[factory] = open_segment(folder / "s", ROWS, DIMENSION, plain.dead.tolist(), Ann(target, description))
    return made


@pytest.mark.parametrize("factory", FACTORIES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), k=st.integers(1, 300), share=st.none() | st.floats(0, 1), at=st.integers(0, 29))
def test_no_row_is_dead_or_filtered_and_each_score_is_the_exact_cosine(
    segments: dict[str, Segment], vectors: np.ndarray, factory: str, seed: int, k: int, share: float | None, at: int
) -> None:
    segment = segments[factory]
    query = unit_rows(30, DIMENSION, 1)[at] + unit_rows(1, DIMENSION, seed)[0]
    query /= np.linalg.norm(query)
    mask = None if share is None else np.random.default_rng(seed).random(ROWS) < share
    left = segment.alive() if mask is None else segment.alive() & mask
    found, scores = nearest([segment], query, k, None if mask is None else [mask])
    rows = (found - 5) // 2
    assert left[rows].all()
    assert len(np.unique(found)) == len(found) == min(k, np.count_nonzero(left))
    stored = vectors[rows].astype(np.float16).astype(np.float64)
    assert np.allclose(scores, stored @ query, atol=2e-6)
    assert np.array_equal(np.lexsort((found, -scores)), np.arange(len(found)))
    if factory == BYTES or np.count_nonzero(left) * 8 < ROWS:  # scanned whole, or a narrow filter
        best = np.sort(vectors[left].astype(np.float16).astype(np.float64) @ query)[::-1][:k]
        assert np.allclose(scores, best, atol=2e-6)


@pytest.mark.parametrize("factory", FACTORIES[1:])
def test_the_recall_that_was_promised_is_there_for_other_questions(
    segments: dict[str, Segment], vectors: np.ndarray, factory: str
) -> None:
    segment = segments[factory]
    assert segment.ann is not None
    assert segment.ann.description.recall >= 0.9
    questions = clustered(200, DIMENSION, 77)
    shares = []
    for question in questions:
        exact = nearest([segment], question, 10, exact=True)[0]
        shares.append(np.isin(exact, nearest([segment], question, 10)[0]).mean())
    assert np.mean(shares) >= 0.9 - 0.01


def test_a_filter_that_leaves_ten_gets_ten(segments: dict[str, Segment]) -> None:
    mask = np.zeros(ROWS, bool)
    mask[1:71:7] = True
    for segment in segments.values():
        found, _ = nearest([segment], unit_rows(1, DIMENSION, 3)[0], 10, [mask])
        assert sorted((found - 5) // 2) == list(range(1, 71, 7))


def test_without_its_file_a_shard_is_scanned(segments: dict[str, Segment], tmp_path: Path) -> None:
    segment = segments[FACTORIES[1]]
    assert segment.ann is not None
    removed = replace_ann(segment, Ann(tmp_path / "removed by a writer", segment.ann.description))
    query = unit_rows(1, DIMENSION, 4)[0]
    assert nearest([removed], query, 50)[0].tolist() == nearest([segment], query, 50, exact=True)[0].tolist()


def replace_ann(segment: Segment, ann: Ann) -> Segment:
    return open_segment(segment.folder, ROWS, DIMENSION, segment.dead.tolist(), ann)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("IVF", "no factory string"),
        ("nonsense", "no factory string"),
        ("PQ7", "no factory string"),
        ("LSH", "no factory string"),
        ("NSG32", "not supported"),
        ("IVF16,Flat,RFlat", "not supported"),
    ],
)
def test_what_is_no_kind_is_refused_in_one_line(kind: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        check(kind, DIMENSION)
    assert "\n" not in str(refused.value)


def test_auto_builds_nothing_for_few_rows_and_lists_for_many() -> None:
    assert [choose("auto", rows, 384) for rows in (0, 1000, 50_000)] == [None] * 3
    assert choose("auto", 100_000, 384) == BYTES
    assert choose("auto", 1_000_000, 384) == f"IVF4096,{BYTES}"
    assert choose("ivf", 100, 384) is None
    for kind in ("ivf", "hnsw", "ivfpq", "rabitq"):
        check(choose(kind, 1000, 384) or "", 384)
        check(choose(kind, 1000, 50) or "", 50)  # a width that four does not divide


# In an index -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of two segments whose vectors come from no model, and its real encoder."""
    folder = tmp_path_factory.mktemp("made") / "index"
    encoder = load_encoder(backend="onnx")
    create_index(folder, encoder, Splitting(mode="whole"), str(folder), None)
    rows = clustered(900, encoder.dimension, 6)
    with Writer(folder) as writer:
        for begin, end in ((0, 500), (500, 900)):
            documents = [(f"d{row}", f"text number {row}") for row in range(begin, end)]
            writer.put(
                None,
                [
                    Prepared(
                        Document(key, text, title=""),
                        [Passage(0, text, Location(0, len(text)))],
                        rows[[begin + at]],
                    )
                    for at, (key, text) in enumerate(documents)
                ],
            )
            writer.commit()
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index", copy_function=shutil.copy))


def structures(folder: Path) -> list[Path]:
    return sorted((folder / "ann").iterdir()) if (folder / "ann").is_dir() else []


def nearest_in(folder: Path, exact: bool) -> list[tuple[list[int], list[float]]]:
    snapshot = Snapshot(folder)
    try:
        with snapshot.reading() as generation:
            found = [nearest(generation.segments, row, 20, exact=exact) for row in clustered(20, 384, 8)]
    finally:
        snapshot.close()
    return [(passages.tolist(), scores.tolist()) for passages, scores in found]


@pytest.fixture
def built(index: Path) -> Path:
    with Writer(index) as writer:
        set_wish(writer, f"IVF16,{BYTES}", 0.9)
        assert derive(writer) == 2
    return index


def test_what_was_built_is_verified_backed_up_and_shown(built: Path, tmp_path: Path) -> None:
    assert len(structures(built)) == 2
    assert verify(built) == []
    shards = describe(built)["search"]["shards"]
    assert [shard["factory"] for shard in shards] == [f"IVF16,{BYTES}"] * 2
    assert all(shard["recall"] >= 0.9 and shard["effort"]["nprobe"] >= 1 for shard in shards)
    backup(built, tmp_path / "copy")
    assert verify(tmp_path / "copy") == []
    assert nearest_in(tmp_path / "copy", exact=False) == nearest_in(built, exact=False)
    with Writer(built) as writer:
        assert derive(writer) == 0  # nothing to do twice


@pytest.mark.parametrize("file", [INDEX, DESCRIPTION])
def test_a_damaged_structure_is_named_and_built_again(built: Path, file: str) -> None:
    before = nearest_in(built, exact=False)
    place = structures(built)[0]
    content = bytearray((place / file).read_bytes())
    content[len(content) // 2] ^= 1
    (place / file).write_bytes(bytes(content))
    assert [finding.where for finding in verify(built)] == [str(place / file)]
    with pytest.raises(SearchEngineError, match="checksum"):
        nearest_in(built, exact=False)
    assert repair(built) == ["search structures: 1 built again from the vectors"]
    assert verify(built) == []
    assert place not in structures(built)
    assert nearest_in(built, exact=False) == before


def test_a_missing_structure_is_built_again(built: Path) -> None:
    shutil.rmtree(structures(built)[1])
    assert {finding.what for finding in verify(built)} == {"missing"}
    assert repair(built)
    assert len(structures(built)) == 2
    assert verify(built) == []


@pytest.mark.parametrize("where", ["_calibrated", "sealed", "_state_need"])
@pytest.mark.parametrize("what", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_build_that_is_stopped_leaves_the_scan(
    index: Path, monkeypatch: pytest.MonkeyPatch, where: str, what: type[BaseException] | BaseException
) -> None:
    exact = nearest_in(index, exact=True)

    def stop(*_: object) -> None:
        raise what

    monkeypatch.setattr(indexer.derive, where, stop)
    with pytest.raises((KeyboardInterrupt, SearchEngineError)):
        optimize(index, ann=f"IVF16,{BYTES}", recall=0.9)
    assert nearest_in(index, exact=False) == exact
    monkeypatch.undo()
    assert verify(index) == []
    with Writer(index) as writer:
        assert structures(index) == []  # what was half made is gone
        assert derive(writer) == 1


def test_what_faiss_cannot_build_is_noted_and_scanned(index: Path) -> None:
    notes: list[str] = []
    progress = type("Progress", (type(SILENT),), {"note": lambda _, text: notes.append(text)})()
    with Writer(index) as writer:
        set_wish(writer, "IVF600,Flat", None)
        assert derive(writer, progress) == 0
    assert len(notes) == 2
    assert all("600 lists" in note and "\n" not in note for note in notes)
    assert nearest_in(index, exact=False) == nearest_in(index, exact=True)


def test_merging_takes_structures_along_and_changing_the_kind_replaces_them(built: Path) -> None:
    old = structures(built)
    assert optimize(built) == 2
    (one,) = structures(built)
    assert one not in old
    assert verify(built) == []
    with Writer(built) as writer:
        merge_segments(writer)
        set_wish(writer, "HNSW8,SQ8", None)
        assert derive(writer) == 1
    (other,) = structures(built)
    assert read_description(other).factory == "HNSW8,SQ8"
    optimize(built, ann="auto")
    assert structures(built) == []
    assert verify(built) == []


def test_a_reader_that_knows_nothing_of_structures_refuses_in_words(built: Path) -> None:
    with sqlite3.connect(built / "catalog.sqlite") as connection:
        (requires,) = connection.execute("SELECT value FROM settings WHERE key = 'requires'").fetchone()
    assert json.loads(requires) == ["ann"]
    optimize(built, ann="flat")
    with sqlite3.connect(built / "catalog.sqlite") as connection:
        (requires,) = connection.execute("SELECT value FROM settings WHERE key = 'requires'").fetchone()
    assert json.loads(requires) == []


def test_single_rows_of_a_large_segment_are_read_and_not_mapped(
    segments: dict[str, Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = segments[BYTES]
    monkeypatch.setattr(indexer.vectors, "_READ_FROM_BYTES", 0)
    read = open_segment(mapped.folder, ROWS, DIMENSION)
    rows = np.random.default_rng(0).permutation(ROWS)[:400]
    assert np.array_equal(read.vectors(rows), mapped.codes[rows].astype(np.float32))
    assert np.array_equal(read.block(1400, 3000), mapped.codes[1400:])
    assert read.vectors(rows[:0]).shape == (0, DIMENSION)


@pytest.mark.parametrize("block", [100, 16_384])
def test_a_merge_writes_the_file_that_faiss_writes(index: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    import faiss

    monkeypatch.setattr(indexer.merge, "_BLOCK_ROWS", block)
    optimize(index)
    assert verify(index) == []
    snapshot = Snapshot(index)
    with snapshot.reading() as generation:
        (segment,) = generation.segments
    snapshot.close()
    again = faiss.IndexScalarQuantizer(384, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    again.is_trained = True
    again.add_sa_codes(clustered(900, 384, 6).astype(np.float16).view(np.uint8))
    assert (segment.folder / "vectors.faiss").read_bytes() == faiss.serialize_index(again).tobytes()


def test_the_command_builds_says_and_refuses(built: Path, command: Iterator[object]) -> None:
    said = command("status", "--index", built)  # type: ignore[operator]
    assert f"IVF16,{BYTES}" in said.stdout
    refused = command("optimize", "--index", built, "--ann", "IVF0,Nonsense")  # type: ignore[operator]
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert len(structures(built)) == 2
    with searchengine.open(built) as searcher:
        assert [hit.document for hit in searcher.search("text number 17", 3, where="path:nothing/**")] == []
        assert searcher.search("text number 17", 1, mode="bm25")[0].document == "d17"
        assert len(searcher.search("text number 17", 30)) == 30
