"""The README's commands and programs run as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ").partition("  #")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) >= 8
    assert len(PROGRAMS) >= 2


def test_every_command_runs_as_printed(library: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in COMMANDS:
        result = subprocess.run(
            shlex.split(command), cwd=library, env=environment, capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, (command, result.stderr)
        assert result.stdout, command


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_runs_as_printed(program: str, library: Path) -> None:
    result = subprocess.run([sys.executable, "-c", program], cwd=library, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_every_example_runs(example: Path, data: Path) -> None:
    words = [str(data / "cranfield")] if example.name == "evaluate_on_beir.py" else []
    result = subprocess.run(
        [sys.executable, example, *words], capture_output=True, text=True, timeout=250, cwd=example.parent
    )
    assert result.returncode == 0, result.stderr
    assert len(example.read_text().splitlines()) <= 30
