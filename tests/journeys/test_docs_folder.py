"""Questions put to real files: chapters in Markdown, proposals in reStructuredText, PDF, DOCX, PPTX, mail."""

from __future__ import annotations

from pathlib import Path

import pytest

import searchengine
from searchengine import Searcher

# Left out so that the suite stays short; the whole folder is read in tests/indexer/readers and, with `make soak`, here.
LEFT_OUT = (
    "rust-book-print/",
    "rust-book/ch0[1-35-8]*",
    "rust-book/ch1[1-47-9]*",
    "rust-book/ch2*",
    "peps/pep-0[0135-9]*",
)

QUESTIONS = [
    ("how does the compiler know how long a reference stays valid", "ch10-03-lifetime-syntax.md"),
    ("several threads sharing data protected by a lock", "ch16-03-shared-state.md"),
    ("smart pointer that counts its owners", "ch15-04-rc.md"),
    ("named placeholders in simple string substitution with a dollar sign", "pep-0292.rst"),
    ("enumerations in the standard library", "pep-0435.rst"),
    ("Cisco bundle interface configuration", "interface-config-guide-p93.pdf"),
    ("evolution of word processors", "multi_page.pdf"),
    ("ducks swimming", "word_sample.docx"),
    ("presentation with a table of animals", "fake-power-point-table.pptx"),
    ("comments on the slides of a presentation", "powerpoint_comments.pptx"),
]


def ask_everything(searcher: Searcher) -> None:
    """Every question finds its file among the first three."""
    for question, name in QUESTIONS:
        found = [hit.path.name for hit in searcher.search(question, k=3) if hit.path is not None]
        assert name in found, (question, found)


def test_ten_questions_find_their_files(data: Path, tmp_path: Path) -> None:
    with searchengine.index(data / "docs-folder", index=tmp_path / "index", exclude=LEFT_OUT) as searcher:
        ask_everything(searcher)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_every_one_of_590_files_is_searchable_or_named(data: Path, tmp_path: Path) -> None:
    with searchengine.index(data / "docs-folder", index=tmp_path / "index") as searcher:
        ask_everything(searcher)
        report = searcher.report
        assert report is not None
        listed = (data / "docs-folder.sha256").read_text().splitlines()
        named = {path for path, _ in [*report.skipped, *report.ignored]}
        with searcher._snapshot.reading():
            named |= {path.decode() for (path,) in searcher._snapshot.rows("SELECT path FROM sources")}
        missing = {line.split("  ", 1)[1] for line in listed} - named
        assert missing == set()
