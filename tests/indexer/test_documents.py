"""Lines, pages and heading paths of an offset."""

from __future__ import annotations

import pytest

from indexer.documents import Document, Heading, Location, Locator, looked_up, searchable

TEXT = "# A\none\n## B\ntwo\n# C\nthree"
HEADINGS = (Heading(0, 1, "A"), Heading(8, 2, "B"), Heading(17, 1, "C"))


@pytest.mark.parametrize(
    ("start", "line"), [(0, 1), (3, 1), (4, 2), (7, 2), (8, 3), (len(TEXT) - 1, 6), (len(TEXT), 6)]
)
def test_a_line_is_counted_from_the_newlines_before_it(start, line):
    assert Locator(Document("", TEXT, first_line=1, lined=True)).locate(start, len(TEXT)).line == line


def test_lines_count_on_from_where_the_text_starts_in_its_file():
    locator = Locator(Document("", "a\r\nb\n", first_line=10, lined=True))
    assert [locator.locate(start, 5).line for start in (0, 3, 5)] == [10, 11, 12]


def test_text_that_is_not_lined_stands_on_its_first_line():
    assert Locator(Document("", "a\nb", first_line=7)).locate(2, 3).line == 7


def test_no_line_where_lines_mean_nothing():
    assert Locator(Document("", "a\nb")).locate(2, 3) == Location(2, 3)


@pytest.mark.parametrize(("start", "page"), [(0, 1), (4, 1), (5, 3), (8, 3), (9, 4), (99, 4)])
def test_a_page_is_the_last_that_starts_here_or_before(start, page):
    locator = Locator(Document("", "x" * 20, pages=(0, 5, 5, 9)))  # page 2 is empty
    assert locator.locate(start, 20).page == page


@pytest.mark.parametrize(("start", "path"), [(0, "A"), (7, "A"), (8, "A > B"), (16, "A > B"), (17, "C"), (25, "C")])
def test_a_heading_closes_all_of_its_level_and_below(start, path):
    assert Locator(Document("", TEXT, headings=HEADINGS)).locate(start, len(TEXT)).heading == path


def test_nothing_stands_above_the_first_heading():
    locator = Locator(Document("", "intro\n# A\n", headings=(Heading(6, 1, "A"),)))
    assert locator.locate(0, 5).heading is None


def test_levels_may_be_skipped():
    headings = (Heading(0, 3, "deep"), Heading(10, 1, "top"), Heading(20, 4, "deeper"), Heading(30, 2, "middle"))
    locator = Locator(Document("", "x" * 40, headings=headings))
    assert [locator.locate(start, 40).heading for start in (0, 10, 20, 30)] == [
        "deep",
        "top",
        "top > deeper",
        "top > middle",
    ]


def test_a_title_counts_twice_for_words_and_once_for_meaning() -> None:
    assert searchable("Bees", "Bees > Wax", "Combs.") == "Bees Wax Combs."
    assert looked_up("Bees", "Bees > Wax", "Combs.") == "Bees Bees Wax Combs."
    assert looked_up("", None, "Combs.") == searchable("", None, "Combs.") == "Combs."
