"""Three hundred mutated files; `make soak` reads ten thousand."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import LIBRARY
from tests.crash.fuzz import fuzz, seeds


def test_mutated_files_are_read_or_named(data: Path, tmp_path: Path) -> None:
    folders = [LIBRARY, data / "docs-folder"]
    assert {".pdf", ".docx", ".pptx", ".xlsx", ".odt", ".eml", ".html", ".md", ".jsonl"} <= {
        path.suffix for path in seeds(folders)
    }
    result = fuzz(tmp_path, folders, seed=20261121, count=300)
    assert result.failures == []
    assert result.files == 300
    assert result.read > 100
    assert result.named > 20
