"""What comes from documents, names and models is data: it is never run, never steers a terminal, and goes nowhere."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import select
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import searchengine
from tests.conftest import LIBRARY, ROOT, Command

PACKAGES = ("indexer", "searchengine", "benchmarks", "trainer")
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "os.system", "os.popen", "torch.hub.load", "yaml.load", "yaml.unsafe_load",
    "pickle.load", "pickle.loads", "dill.load", "joblib.load", "marshal.loads", "marshal.load", "shelve.open",
    "pandas.read_pickle", "numpy.core.multiarray.fromstring", "tempfile.mktemp",
}  # fmt: skip
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "_pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
HOSTILE = {
    "ESC": "\x1b[2J\x1b[31mred",
    "C1": "\x9b31m\x85",
    "OSC 8": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "OSC 52": "\x1b]52;c;ZXZpbA==\x07",
    "BEL": "\x07",
    "BS": "safe\x08\x08\x08\x08evil",
    "bidi": "\u202egnp.exe\u202c \u2066isolated\u2069 \u061c",
    "CR": "shown\rhidden",
    "DEL": "\x7f",
    "markup": "[/bold] [red]not red[/red] <img src=x onerror=alert(1)> </script>",
    "formula": "=cmd|' /C calc'!A0",
}
# The program's own: colours and links, as render.py writes them.
_OWN = re.compile(r"\x1b\[(0|1|2|36|1;33)m|\x1b\]8;;(file:///[!-~]*)?\x1b\\")


def _sources() -> Iterator[tuple[Path, ast.AST]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def offences(tree: ast.AST) -> list[str]:
    """Find what would run foreign code, or checks that ``python -O`` removes."""
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Assert):
            found.append(f"{line}: assert (checks are raise)")
        if isinstance(node, ast.Import):
            found += [f"{line}: import {a.name}" for a in node.names if a.name.split(".")[0] in FORBIDDEN_IMPORTS]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_IMPORTS:
            found.append(f"{line}: import {node.module}")
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func).replace("np.", "numpy.")
        said = {keyword.arg: keyword.value for keyword in node.keywords}
        truth = {key: value.value if isinstance(value, ast.Constant) else "?" for key, value in said.items()}
        if name in FORBIDDEN_CALLS:
            found.append(f"{line}: {name}")
        if name == "torch.load" and truth.get("weights_only") is not True:
            found.append(f"{line}: torch.load without weights_only=True")
        if truth.get("allow_pickle", False) is not False:
            found.append(f"{line}: allow_pickle")
        if truth.get("trust_remote_code", False) is not False:
            found.append(f"{line}: trust_remote_code")
        if truth.get("shell", False) is not False:
            found.append(f"{line}: shell")
        if (
            name in ("XMLParser", "etree.XMLParser", "lxml.etree.XMLParser")
            and truth.get("resolve_entities") is not False
        ):
            found.append(f"{line}: an XML parser that resolves entities")
    return found


def test_no_line_of_the_program_runs_what_it_reads() -> None:
    found = [f"{path.relative_to(ROOT)}:{offence}" for path, tree in _sources() for offence in offences(tree)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "eval(text)", "exec(text)", "assert x", "yaml.load(file)",
        "torch.load(path)", "torch.load(path, weights_only=False)", "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)", "load(path, trust_remote_code=True)", "load(path, trust_remote_code=flag)",
        "subprocess.run(command, shell=True)", "etree.XMLParser(huge_tree=True)",
    ],
)  # fmt: skip
def test_the_lint_sees(line: str) -> None:
    assert offences(ast.parse(line))


@pytest.mark.parametrize("line", ["torch.load(path, weights_only=True)", "np.load(path)", "model.eval()"])
def test_the_lint_lets_pass(line: str) -> None:
    assert offences(ast.parse(line)) == []


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """A folder whose texts, titles and names try to steer a terminal, indexed by the installed command."""
    folder = tmp_path_factory.mktemp("hostile") / "docs"
    folder.mkdir()
    lines = []
    for name, attack in HOSTILE.items():
        lines.append(
            json.dumps({"_id": f"{name}{attack}", "title": f"Title {attack}", "text": f"orchard {attack} end"})
        )
        (folder / f"{name}.md").write_text(f"# Heading {attack}\n\nAn orchard of {attack} trees.\n", encoding="utf-8")
    (folder / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "na\x1b[31mme\x07\u202e.txt").write_text("orchard by a hostile name")
    (folder / "new\nline.txt").write_text("orchard by a name of two lines")
    (folder / "empty\x1b]0;title\x07.txt").write_bytes(b"")
    run = command("index", folder, "--verbose")
    assert run.returncode == 0, run.stderr
    assert steering(run.stdout) == steering(run.stderr) == set()
    return folder


def steering(text: str) -> set[str]:
    """Find the characters that could steer a terminal or turn text around."""
    bidi = {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
    return {
        c for c in text if (unicodedata.category(c) == "Cc" and c not in "\n\t") or unicodedata.bidirectional(c) in bidi
    }


def _asked(folder: Path) -> list[list[str | Path]]:
    return [
        ["query", "orchard", "--index", folder / ".searchengine", "-k", "50"],
        ["query", "orchard", "--index", folder / ".searchengine", "-k", "50", "--explain", "--all-passages"],
        ["query", "\x1b[31m\u202eorchard\x07", "--index", folder / ".searchengine"],
        ["query", "orchard", "--where", "\x1b[31mcolour:red\x07", "--index", folder / ".searchengine"],
        ["query", "orchard", "--mode", "\x1b[31m", "--index", folder / ".searchengine"],
        ["query", "orchard", "--index", folder / "no\x1b[31mwhere\x07"],
        ["status", "--skipped", "--index", folder / ".searchengine"],
        ["verify", "--index", folder / ".searchengine"],
        ["index", folder / "no\x1b[31mwhere\x07"],
        ["\x1b[31mcommand\x07"],
    ]


def test_nothing_that_steers_a_terminal_is_printed(hostile: Path, command: Command) -> None:
    for words in _asked(hostile):
        run = command(*words)
        assert steering(run.stdout) == set(), words
        assert steering(run.stderr) == set(), words
        assert "Traceback" not in run.stderr, words


def test_a_terminal_is_sent_the_programs_own_sequences_only(hostile: Path) -> None:
    for words in _asked(hostile)[:4]:
        shown = _on_a_terminal([str(Path(sys.executable).with_name("searchengine")), *map(str, words)])
        assert steering(_OWN.sub("", shown.replace("\r\n", "\n"))) == set(), words
    shown = _on_a_terminal([str(Path(sys.executable).with_name("searchengine")), *map(str, _asked(hostile)[0])])
    assert "\x1b]8;;file:///" in shown and "orchard" in shown and "[/bold]" in shown


def _on_a_terminal(words: list[str]) -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    process.wait(60)
    return shown.decode()


def test_json_keeps_the_true_characters(hostile: Path, command: Command) -> None:
    run = command("query", "orchard", "--index", hostile / ".searchengine", "-k", "100", "--all-passages", "--json")
    texts = " ".join(hit["text"] for hit in json.loads(run.stdout))
    for name in ("BEL", "bidi", "markup", "formula", "OSC 52"):
        assert HOSTILE[name] in texts, name
    assert {c for c in run.stdout if ord(c) < 0x20} <= {"\n"}


def test_no_connection_is_made(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "connections"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "def hook(event, values):\n"
        "    if event in ('socket.connect', 'socket.sendto', 'socket.sendmsg', 'socket.bind', 'socket.getaddrinfo'):\n"
        f"        open({str(log)!r}, 'a').write(f'{{event}} {{values}}\\n')\n"
        "sys.addaudithook(hook)\n"
        f"open({str(tmp_path / 'hooked')!r}, 'a').write('x')\n"
    )
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Apples\n\nAn orchard of apples.\n")
    settings = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for words in (["index", folder], ["query", "apples", "--index", folder / ".searchengine"]):
        run = command(*words, env=settings)
        assert run.returncode == 0, run.stderr
    assert len((tmp_path / "hooked").read_text()) >= 3  # the commands, and the process that reads files
    assert not log.exists(), log.read_text()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_follow_the_umask(tmp_path: Path, umask: int, command: Command) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Apples\n\nAn orchard of apples.\n")
    index = folder / ".searchengine"
    commands = [["index", folder], ["optimize", "--index", index], ["backup", tmp_path / "copy", "--index", index]]
    for words in (*commands, ["query", "apples", "--index", index]):
        run = command(*words, umask=umask)
        assert run.returncode == 0, run.stderr
    made = [path for place in (index, tmp_path / "copy") for path in (place, *place.rglob("*"))]
    linked = {"query.onnx", "tokenizer.json"}  # to the cache, whose mode they share
    loose = [path for path in made if path.name not in linked and path.stat().st_mode & umask]
    assert loose == []
    assert not [path for path in made if path.stat().st_mode & 0o002]


def test_every_check_holds_without_asserts(tmp_path: Path) -> None:
    """The whole way under ``python -O``, wrong widths and damage included."""
    program = (
        "import sys, shutil, numpy as np; from pathlib import Path\n"
        "import searchengine; from indexer.vectors import nearest, open_segment, write_segment\n"
        "from indexer.verify import verify; from indexer.repair import repair\n"
        "def refused(call):\n"
        "    try: call()\n"
        "    except (searchengine.SearchEngineError, ValueError) as error: return bool(str(error))\n"
        "    return False\n"
        "def true(value):\n"
        "    if not value: raise SystemExit('not so')\n"
        "if __debug__: raise SystemExit('not under -O')\n"
        "here = Path(sys.argv[1]); searcher = searchengine.index(here / 'docs')\n"
        "true(searcher.search('bread', 3)); true(verify(searcher.folder) == [])\n"
        "with searcher._snapshot.reading() as generation:\n"
        "    true(refused(lambda: nearest(generation.segments, np.ones(2, np.float32), 5)))\n"
        "for bad in (np.zeros((1, 4), np.float32), np.full((1, 4), np.nan, np.float32)):\n"
        "    one = np.ones(1, np.int64); true(refused(lambda: write_segment(here / 'segment', bad, one, one)))\n"
        "true(refused(lambda: searcher.search('', 3))); true(refused(lambda: searcher.search('bread', 0)))\n"
        "searcher.close(); path = next(searcher.folder.rglob('vectors.faiss'))\n"
        "content = bytearray(path.read_bytes())\n"
        "content[-1] ^= 64; path.write_bytes(content)\n"
        "true(refused(lambda: searchengine.open(searcher.folder).search('bread'))); true(verify(searcher.folder))\n"
        "true(repair(searcher.folder)); true(verify(searcher.folder) == [])\n"
    )
    (tmp_path / "docs").mkdir()
    for source in sorted(LIBRARY.glob("bread/*.md"))[:3]:
        (tmp_path / "docs" / source.name).write_bytes(source.read_bytes())
    run = subprocess.run(
        [sys.executable, "-O", "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert run.returncode == 0, (run.stdout, run.stderr[-2000:])


def test_names_and_questions_reach_sql_as_values_only(tmp_path: Path) -> None:
    documents = [searchengine.Document("a'; DROP TABLE passages; --", "An orchard of apples.", title="'\"`;")]
    with searchengine.index_documents(documents, tmp_path / "index") as searcher:
        for text in ("'; DROP TABLE passages; --", '" OR 1=1', "apples*", "body:[* TO", "-x", "a^1e38", "(" * 5000):
            searcher.search(text)
        assert searcher.search("apples", 1)[0].document == documents[0].key
