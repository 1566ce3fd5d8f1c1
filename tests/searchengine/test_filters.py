"""The --where grammar: what it lets through, and that nothing in it reaches SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from searchengine.filters import Filter, _Row, parse

GUIDE = _Row("docs/guide/retries.md", "markdown", "en", "Retries and back-off", 2048, 1_711_929_600.0)  # 2024-04-01
HANDED = _Row("PMC-17", "text", "", "", None, None)


def passes(expression: str, row: _Row = GUIDE) -> bool:
    """Apply an expression to one row."""
    parsed: Filter = parse(expression)
    return all(condition(row) for condition in parsed.conditions)


@pytest.mark.parametrize(
    "expression",
    [
        "path:docs/**",
        "path:docs/",
        "path:docs",
        "path:*.md",
        "path:docs/*/retries.md",
        "path:**/retries.md",
        "path:retries.??",
        "ext:md",
        "ext:.MD",
        "ext:pdf,md",
        "kind:markdown",
        "lang:en",
        "title:BACK-OFF",
        "'title:retries and'",
        "modified:2024",
        "modified:2024-04",
        "modified:2024-04-01",
        "modified:>2024-03-31",
        "modified:>=2024-04-01",
        "modified:<2024-04-02",
        "modified:<=2024-04",
        "size:2kb",
        "size:>1kb",
        "size:<=2048",
        "-ext:pdf",
        "ext:md lang:en -path:drafts/**",
    ],
)
def test_a_condition_that_holds_lets_the_document_through(expression: str) -> None:
    assert passes(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "path:guide/*",  # a pattern with a slash begins at the top
        "path:docs/*.md",  # one star stays within a folder
        "path:doc",
        "ext:m",
        "lang:de",
        "-ext:md",
        "-ext:pdf,md",
        "modified:>2024",
        "modified:>2024-04-01",
        "modified:<2024-04-01",
        "size:>2kb",
        "ext:md lang:de",
    ],
)
def test_a_condition_that_fails_keeps_the_document_out(expression: str) -> None:
    assert not passes(expression)


@pytest.mark.parametrize("expression", ["modified:>2000", "modified:<2100", "size:>0", "size:<1gb", "ext:md"])
def test_a_document_without_a_file_has_no_date_or_size(expression: str) -> None:
    assert not passes(expression, HANDED)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "nothing to filter by"),
        ("extension:pdf", "no field 'extension'"),
        ("extt:pdf", "did you mean ext"),
        ("pdf", "no condition"),
        ("ext:", "no condition"),
        ("ext:,", "names no value"),
        ("modified:>yesterday", "no value for modified"),
        ("modified:2024-13", "no value for modified"),
        ("modified:2024-02-30", "no value for modified"),
        ("size:>big", "no value for size"),
        ("size:99999999999999999999", "no value for size"),
        ("path:" + "*" * 300, "at most 256"),
        ("ext:a " * 65, "at most 64 conditions"),
        ("'ext:pdf", "No closing quotation"),
    ],
)
def test_what_is_not_understood_is_named(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(expression)


@given(st.text(max_size=300))
def test_any_text_is_either_a_filter_or_a_usage_error(expression: str) -> None:
    try:
        parsed = parse(expression)
    except UsageError:
        return
    assert isinstance(all(condition(GUIDE) for condition in parsed.conditions), bool)


def test_a_pattern_with_many_stars_is_matched_in_time() -> None:
    row = _Row("a" * 200 + "/b.md", "text", "", "", 1, 0.0)
    assert not passes("path:" + "*a" * 100 + "c", row)
