"""Every damage is found, verify itself never fails, and a query on a damaged index answers right or in a sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import searchengine
from indexer.documents import Document
from indexer.errors import DamagedIndex, IncompatibleIndex, SearchEngineError
from indexer.format import CATALOG, FORMAT
from indexer.seal import SEAL, write_seal
from indexer.snapshot import Snapshot
from indexer.verify import REPAIR, verify
from indexer.writer import Writer
from searchengine import Searcher
from tests.conftest import Command
from tests.indexer.damage import DAMAGES, KINDS, Sample, copy_of, kinds, outcome


def test_a_sound_index_is_sound(sample: Sample, tmp_path: Path) -> None:
    assert verify(sample.folder) == []
    assert verify(sample.folder, quick=True) == []
    assert verify(copy_of(sample, tmp_path / "copy")) == []


def test_the_table_holds_every_kind_of_file(sample: Sample) -> None:
    assert set(KINDS) == set(kinds(sample.folder))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_to_every_kind_of_file_is_found(sample: Sample, kind: str, damage: str, tmp_path: Path) -> None:
    for seed in range(3 if damage.startswith("one") else 1):
        index = copy_of(sample, tmp_path / str(seed))
        path = index / kinds(index)[kind]
        DAMAGES[damage](path, random.Random(f"{kind} {damage} {seed}"))
        findings = verify(index)
        assert findings, f"seed {seed}"
        named = {finding.where for finding in findings}
        expected = path.with_name("extra") if damage.startswith("an extra") else path
        assert named & {str(expected), str(index / SEAL)}, named
        assert all(finding.what and "searchengine" in finding.mend for finding in findings)


def test_queries_on_a_damaged_index_are_right_or_a_sentence_and_kill_no_interpreter(
    sample: Sample, tmp_path: Path
) -> None:
    cases = {}
    for kind in KINDS:
        for damage, apply in DAMAGES.items():
            index = copy_of(sample, tmp_path / f"{kind} {damage}")
            apply(index / kinds(index)[kind], random.Random(f"{kind} {damage}"))
            cases[f"{kind} {damage}"] = str(index)
    program = (
        "import json, sys; from pathlib import Path; from tests.indexer.damage import outcome\n"
        "cases, right = json.load(sys.stdin)\n"
        "for name, folder in cases.items():\n"
        "    print(name, '|', flush=True, end=' ')\n"
        "    print(outcome(Path(folder), [[tuple(hit) for hit in hits] for hits in right]), flush=True)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([cases, sample.answers]),
        capture_output=True,
        text=True,
        timeout=200,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert run.returncode == 0, (run.stdout.splitlines()[-1:], run.stderr[-2000:])
    outcomes = dict(line.split(" | ") for line in run.stdout.splitlines())
    assert len(outcomes) == len(KINDS) * len(DAMAGES)
    assert {name: said for name, said in outcomes.items() if said not in ("right", "sentence")} == {}
    assert all(said == "right" for name, said in outcomes.items() if name.endswith("an extra file beside"))
    assert all(said == "sentence" for name, said in outcomes.items() if name.startswith("vectors") and "one" in name)


def test_a_catalog_that_went_back_in_time_is_found(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    (index / CATALOG).write_bytes(sample.older_catalog)
    assert "went back in time" in verify(index)[0].what
    with pytest.raises(DamagedIndex, match="went back in time"), Searcher(index) as searcher:
        searcher.search("bread")
    with pytest.raises(DamagedIndex, match=REPAIR), Writer(index):
        pass


def test_a_log_that_was_lost_is_found(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    crashed, robbed = tmp_path / "crashed", tmp_path / "robbed"
    with Writer(index) as writer:
        writer.drop_documents(["bread"])
        writer.commit()
        shutil.copytree(index, crashed)  # as a kill would leave it: committed, in the log, the seal open
    shutil.copytree(crashed, robbed)
    (robbed / f"{CATALOG}-wal").unlink()
    assert verify(crashed) == []
    assert outcome(crashed, []) == "WRONG"  # it answers, without the bread
    assert "went back in time" in verify(robbed)[0].what
    assert outcome(robbed, sample.answers) == "sentence"


def test_a_run_that_was_killed_before_its_seal_is_sealed_by_the_next(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    crashed = tmp_path / "crashed"
    with Writer(index) as writer:
        writer.drop_documents(["bread"])
        writer.commit()
        writer.catalog.checkpoint()
        shutil.copytree(index, crashed)
    assert verify(crashed) == []
    with Writer(crashed):
        pass
    content = bytearray((crashed / CATALOG).read_bytes())
    content[-1] ^= 1
    (crashed / CATALOG).write_bytes(content)
    assert verify(crashed)


def test_a_damaged_catalog_is_never_sealed_again(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    DAMAGES["one bit"](index / CATALOG, random.Random(4))
    before = {path: path.read_bytes() for path in (index / CATALOG, index / SEAL)}
    with pytest.raises(DamagedIndex, match=REPAIR):
        searchengine.index_documents([Document("new", "A new document.")], index)
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("kind", ["vectors.faiss", "rows.i64", "term", "fieldnorm"])
def test_nothing_is_built_on_a_damaged_file(sample: Sample, kind: str, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    for path in index.rglob("*"):
        if path.name == kind or path.suffix == f".{kind}":
            DAMAGES["one bit"](path, random.Random(5))
    from indexer.merge import optimize

    with pytest.raises(DamagedIndex, match=REPAIR):
        if kind in ("vectors.faiss", "rows.i64"):
            optimize(index)
        else:
            searchengine.index_documents([Document("new", "A new document.")], index)
    assert verify(index)


def test_verify_survives_whatever_lies_in_the_folder(sample: Sample, tmp_path: Path) -> None:
    seed = 20261121
    chance = random.Random(seed)
    for turn in range(60):
        index = copy_of(sample, tmp_path / str(turn))
        files = [path for path in sorted(index.rglob("*")) if path.is_file()]
        for _ in range(chance.randrange(1, 4)):
            path = chance.choice(files)
            if path.is_dir():
                continue
            path.unlink(missing_ok=True)
            match chance.randrange(6):
                case 0:
                    path.write_bytes(chance.randbytes(chance.choice((0, 3, 100, 5000))))
                case 1:
                    path.mkdir()
                case 2:
                    path.symlink_to("/dev/zero")
                case 3:
                    os.mkfifo(path)
                case 4:
                    path.symlink_to(path)
                case _:
                    pass
        try:
            assert verify(index), f"seed {seed}, turn {turn}"
        except SearchEngineError as error:
            assert "\n" not in str(error)


def test_verify_survives_whatever_a_sealed_catalog_says(sample: Sample, tmp_path: Path) -> None:
    chance = random.Random(7)
    values = (None, -1, 2**62, "../../etc", "x" * 5000, b"\xff\x00", 0.5, "", "[]", '{"fingerprint": 1}', "9" * 400)
    columns = [
        (table, column)
        for table in ("settings", "state", "documents", "passages", "segments", "tombstones", "files", "sources")
        for column in _columns(sample.folder, table)
    ]
    for turn, (table, column) in enumerate(columns):
        index = copy_of(sample, tmp_path / str(turn))
        with sqlite3.connect(index / CATALOG) as connection:
            try:
                connection.execute(f'UPDATE {table} SET "{column}" = ?', (chance.choice(values),))
                connection.commit()
            except sqlite3.IntegrityError:
                continue
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        try:
            write_seal(index)
        except (TypeError, ValueError):
            continue
        for check in (lambda index=index: verify(index), lambda index=index: outcome(index, sample.answers)):
            try:
                check()
            except SearchEngineError as error:
                assert "\n" not in str(error)


def _columns(folder: Path, table: str) -> list[str]:
    connection = sqlite3.connect(f"{(folder / CATALOG).as_uri()}?mode=ro", uri=True)
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    return names


def _newer(index: Path, statement: str) -> None:
    connection = sqlite3.connect(index / CATALOG)
    connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    write_seal(index)


@pytest.mark.parametrize(
    "statement",
    [f"PRAGMA user_version={FORMAT + 1}", "UPDATE settings SET value = '[\"telepathy\"]' WHERE key = 'requires'"],
)
def test_an_index_of_a_newer_version_is_refused_in_words_and_left_alone(
    sample: Sample, statement: str, tmp_path: Path, command: Command
) -> None:
    index = copy_of(sample, tmp_path / "index")
    _newer(index, statement)
    before = (index / CATALOG).read_bytes()
    with pytest.raises(IncompatibleIndex, match="upgrade it"):
        verify(index)
    with pytest.raises(IncompatibleIndex, match="upgrade it"), Searcher(index) as searcher:
        searcher.search("bread")
    with pytest.raises(IncompatibleIndex, match="upgrade it"):
        searchengine.index_documents([Document("new", "A new document.")], index)
    run = command("query", "bread", "--index", index)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert (index / CATALOG).read_bytes() == before


def test_an_index_that_may_only_be_read_is_queried_and_verified(sample: Sample, tmp_path: Path) -> None:
    index = copy_of(sample, tmp_path / "index")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    for path in (index, *index.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    program = (
        "import os, sys; from pathlib import Path; from indexer.verify import verify\n"
        "from tests.indexer.damage import answers\n"
        "answers(Path(sys.argv[2]))\n"  # all modules are loaded, wherever they lie
        "os.geteuid() == 0 and (os.setgid(65534), os.setuid(65534))\n"  # nothing stops root
        "index = Path(sys.argv[1]); print(verify(index), len(answers(index)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(index), str(sample.folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    for path in (index, *index.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert (run.stdout.split(), run.returncode) == (["[]", "8"], 0), run.stderr[-1000:]


def test_a_large_index_is_checked_by_size_unless_asked(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = copy_of(sample, tmp_path / "index")
    DAMAGES["one bit"](index / kinds(index)["vectors.faiss"], random.Random(1))
    monkeypatch.setattr("indexer.snapshot._CHECKED_BYTES", 100)
    snapshot = Snapshot(index)
    with snapshot.reading():
        pass
    snapshot.close()
    snapshot = Snapshot(index, check=True)
    with pytest.raises(DamagedIndex, match="checksum"), snapshot.reading():
        pass
    snapshot.close()


def test_the_command_names_what_is_wrong_and_how_to_mend_it(sample: Sample, tmp_path: Path, command: Command) -> None:
    index = copy_of(sample, tmp_path / "index")
    sound = command("verify", "--index", index)
    assert (sound.returncode, sound.stderr) == (0, "")
    path = index / kinds(index)["term"]
    DAMAGES["one bit"](path, random.Random(2))
    damaged = command("verify", "--index", index)
    assert damaged.returncode == 1
    assert f"{path}: altered" in damaged.stderr and "verify --repair" in damaged.stderr
    listed = command("verify", "--index", index, "--json")
    assert json.loads(listed.stdout)["findings"][0]["where"] == str(path)
    mended = command("verify", "--index", index, "--repair")
    assert mended.returncode == 0, mended.stderr
    assert "postings: written again" in mended.stdout
    assert command("verify", "--index", index).returncode == 0
