"""What a person does with a folder, through the installed command."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from searchengine.fusion import FUSIONS
from tests.conftest import Command

KINDS = {
    ".md": "# Note {n}\n\nThe {animal} number {n} lives in the {place}.\n",
    ".txt": "Entry {n}: the {animal} was seen near the {place}.\n",
    ".html": "<html><title>Page {n}</title><body><h1>Page {n}</h1><p>A {animal} in a {place}.</p></body></html>",
    ".py": 'def animal_{n}():\n    """Return the {animal} of the {place}."""\n    return "{animal} {n}"\n',
    ".jsonl": '{{"id": "r{n}", "title": "Record {n}", "text": "One {animal} came to the {place}."}}\n',
}
ANIMALS = ("otter", "heron", "badger", "lynx", "viper", "bison", "raven", "toad")
PLACES = ("marsh", "quarry", "orchard", "harbour", "canyon", "meadow", "attic")


def grow(folder: Path, count: int) -> None:
    """Write a tree of small files of five kinds."""
    for number in range(count):
        suffix, template = list(KINDS.items())[number % len(KINDS)]
        path = folder / f"d{number % 20}" / f"file{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = {"n": number, "animal": ANIMALS[number % len(ANIMALS)], "place": PLACES[number % len(PLACES)]}
        path.write_text(template.format(**words))


def asked(command: Command, folder: Path, question: str, *options: str) -> list[dict[str, object]]:
    """Ask in JSON."""
    result = command("query", question, "--json", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    hits: list[dict[str, object]] = json.loads(result.stdout)
    return hits


def test_two_thousand_files_then_one_of_each_change(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    grow(folder, 2000)
    first = command("index", folder, "--json", timeout_s=280)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["documents"] == 2000
    (folder / "d1" / "file1.txt").write_text("The lighthouse keeper polishes a brass telescope.\n")
    (folder / "d2" / "file2.html").unlink()
    (folder / "d3" / "file3.py").rename(folder / "d3" / "moved.py")
    second = json.loads(command("index", folder, "--json").stdout)
    assert second["files_encoded"] == 1
    assert second["passages_encoded"] == 1
    changes = (second["files_changed"], second["files_deleted"], second["files_renamed"], second["files_added"])
    assert changes == (1, 1, 1, 0)
    assert asked(command, folder, "optical instrument on the coast")[0]["document"] == "d1/file1.txt"
    assert asked(command, folder, "anything", "--where", "path:d2/file2.html") == []
    assert asked(command, folder, "animal_3 lynx", "--where", "path:moved.py")[0]["document"] == "d3/moved.py"
    assert asked(command, folder, "animal_3 lynx", "--where", "path:file3.py") == []


def test_a_hit_says_everything_that_the_contract_names(command: Command, library: Path) -> None:
    assert command("index", library).returncode == 0
    hits = asked(command, library, "how do I repair a flat tyre", "-k", "3")
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    for hit in hits:
        assert set(hit) >= {"rank", "score", "document", "title", "passage", "text", "location", "scores"}
        assert set(hit["location"]) == {"start", "end", "line", "page", "heading"}  # type: ignore[call-overload]
        assert set(hit["scores"]) == {"dense", "bm25"}  # type: ignore[call-overload]
        assert Path(str(hit["path"])).is_file()
    assert len({hit["document"] for hit in hits}) == 3
    passages = asked(command, library, "how do I repair a flat tyre", "-k", "30", "--all-passages")
    assert len({hit["document"] for hit in passages}) < len(passages)


def test_lines_and_pages_lead_to_the_text(command: Command, library: Path) -> None:
    command("index", library)
    lined = paged = 0
    for hit in asked(command, library, "advice for beginners", "-k", "1000", "--all-passages"):
        location = hit["location"]
        assert isinstance(location, dict)
        path = Path(str(hit["path"]))
        if path.suffix in {".md", ".txt", ".py"}:
            text = str(hit["text"])
            lines = path.read_text().splitlines()
            assert lines[location["line"] - 1].strip().endswith(text.splitlines()[0].strip())
            lined += 1
        if path.suffix == ".pdf":
            assert location["page"] >= 1
            paged += 1
    assert lined > 20
    assert paged > 3


def test_filters_leave_what_they_say(command: Command, library: Path) -> None:
    command("index", library)
    assert all(str(hit["document"]).endswith(".pdf") for hit in asked(command, library, "water", "--where", "ext:pdf"))
    for mode in ("dense", "bm25", "hybrid"):
        hits = asked(command, library, "water", "--where", "path:sea/**", "--mode", mode)
        assert hits
        assert all(str(hit["document"]).startswith("sea/") for hit in hits)


def test_the_three_modes_and_every_fusion_answer(command: Command, library: Path) -> None:
    command("index", library)
    question = "why does dough rise"
    bm25 = asked(command, library, question, "--mode", "bm25")
    dense = asked(command, library, question, "--mode", "dense")
    assert all(hit["scores"]["dense"] is None for hit in bm25)  # type: ignore[index]
    assert all(hit["scores"]["bm25"] is None for hit in dense)  # type: ignore[index]
    fused = {name: asked(command, library, question, "--fusion", name) for name in FUSIONS}
    assert len({hits[0]["document"] for hits in fused.values()}) == 1
    assert asked(command, library, question) == fused["neighbours"]
    assert all(None not in hit["scores"].values() for hit in fused["neighbours"])  # type: ignore[attr-defined]
    assert float(str(fused["rrf"][0]["score"])) < 0.04 < float(str(fused["convex"][0]["score"]))


def test_stdout_holds_results_and_stderr_the_rest(command: Command, library: Path) -> None:
    indexed = command("index", library)
    assert "passages encoded" in indexed.stdout
    assert "\x1b" not in indexed.stdout + indexed.stderr
    assert "searchengine query" in indexed.stderr
    status = json.loads(command("status", "--json", cwd=library / "bees").stdout)
    assert status["documents"] > 25
    assert status["encoder"]["dimension"] == 384
    assert "sound" in command("verify", cwd=library).stdout
    assert command("optimize", cwd=library).returncode == 0
    assert "sound" in command("verify", cwd=library).stdout


def test_a_terminal_gets_colour_links_and_marked_words(command: Command, library: Path) -> None:
    command("index", library)
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90"}
    environment.pop("NO_COLOR", None)
    program = Path(sys.executable).with_name("searchengine")
    process = subprocess.Popen(
        [program, "query", "honey bees in winter", "-k", "2"], cwd=library, stdout=child, stderr=child, env=environment
    )
    os.close(child)
    shown = b""
    while True:
        try:
            block = os.read(parent, 65536)
        except OSError:  # the child has closed its end
            break
        if not block:
            break
        shown += block
    os.close(parent)
    assert process.wait() == 0
    text = shown.decode()
    assert "\x1b]8;;file:///" in text
    assert re.search(r"\x1b\[1;33m(honey|bees|winter)", text, re.IGNORECASE)
    assert re.search(r"\.md:\d+", text)


def test_a_reader_of_our_output_may_leave_early(command: Command, library: Path) -> None:
    command("index", library)
    program = Path(sys.executable).with_name("searchengine")
    pipeline = f"'{program}' query water -k 20 --json | head -c 10"
    result = subprocess.run(["bash", "-c", f"set -o pipefail; {pipeline}"], cwd=library, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("variable", [{"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_poor_locale_is_no_failure(command: Command, library: Path, variable: dict[str, str]) -> None:
    (library / "note.txt").write_text("Crème brûlée, naïve façade, 東京 and 🐝 are characters.", encoding="utf-8")
    environment = {**os.environ, **variable}
    assert command("index", library, env=environment).returncode == 0
    result = command(
        "query", "crème brûlée", "-k", "1", cwd=library, env=environment, encoding="utf-8", errors="replace"
    )
    assert result.returncode == 0
    assert "note.txt" in result.stdout
