"""Rules of the house that no linter knows: what is documented, what a query may import, how files are kept."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import searchengine
from indexer.catalog import TABLES
from searchengine.cli import COMMANDS, commands
from tests.conftest import ROOT

PACKAGES = ("searchengine", "indexer", "benchmarks", "trainer")
FORBIDDEN = (
    "torch",
    "transformers",
    "sentence_transformers",
    "sqlalchemy",
    "openvino",
    "onnx",
    "rich",
    "scipy",
    "numpy.ma",
)
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_each_command_says_of_itself_what_the_table_says() -> None:
    import click

    context = click.Context(commands)
    for name, (_, line) in COMMANDS.items():
        command = commands.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(200).rstrip(".") == line.rstrip("."), name


def test_every_command_and_table_is_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    for name in COMMANDS:
        assert f"searchengine {name}" in readme, name
    for table in TABLES.tables:
        assert f"| `{table}` |" in architecture, table


def test_a_query_imports_nothing_heavy(library_index: searchengine.Searcher) -> None:
    program = (
        "import sys, searchengine\n"
        "assert 'numpy' not in sys.modules, 'importing searchengine must cost nothing'\n"
        f"hits = searchengine.open({str(library_index.folder)!r}).search('warm hive', where='ext:md')\n"
        "assert hits\n"
        f"print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stderr


def test_help_imports_no_command() -> None:
    program = (
        "import sys\nfrom searchengine.cli import commands\n"
        "try:\n    commands.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'benchmarks', 'tantivy', 'onnxruntime') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a file opens with what it is"
    assert len(text.splitlines()) <= 480, "a file owns one concept"
    assert path.stem not in {"utils", "helpers", "common", "manager", "misc", "base"}


def test_the_public_names_are_there_and_documented() -> None:
    for name in searchengine.__all__:
        value = getattr(searchengine, name)
        assert name == "__version__" or value.__doc__, name
