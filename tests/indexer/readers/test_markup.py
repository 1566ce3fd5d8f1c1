"""Markdown, reStructuredText, Org, notebooks and HTML: headings stand where they say, boilerplate is gone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from indexer.documents import Document, Locator

ReadOne = Callable[[bytes, str], Document]


def outline(document: Document) -> list[tuple[int, str, str]]:
    """Return (level, words, the line of the text it stands on)."""
    return [
        (heading.level, heading.text, document.text[heading.offset :].partition("\n")[0])
        for heading in document.headings
    ]


def test_markdown(one: ReadOne) -> None:
    text = (
        "Intro\n\n# The *big* `title`\n\nwords\n\n```\n# no heading\n```\n\n"
        "Under [lined](x)\n---\n\n> # quoted\n\n## End ##\n"
    )
    document = one(text.encode(), "a.md")
    assert document.text == text
    assert (document.kind, document.title) == ("markdown", "The big title")
    assert outline(document) == [
        (1, "The big title", "# The *big* `title`"),
        (2, "Under lined", "Under [lined](x)"),
        (2, "End", "## End ##"),
    ]
    assert Locator(document).locate(text.index("words"), 0).heading == "The big title"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: 'Of matters'\ndate: 1\n---\n# Other\n", "Of matters"),
        ('+++\ntitle = "Toml"\n+++\nwords', "Toml"),
        ("## Chapter\n\nwords", "Chapter"),
        ("words\n\n## Not a title", ""),
        ("<h1 align=center>A <b>README</b></h1>\n\nwords", "A README"),
    ],
)
def test_markdown_titles(text: str, title: str, one: ReadOne) -> None:
    document = one(text.encode(), "a.md")
    assert document.title == title
    assert document.text == text
    assert all("title:" not in heading.text for heading in document.headings)


def test_markdown_of_a_hundred_thousand_quotes_and_brackets_ends(one: ReadOne) -> None:
    assert one(b">" * 20_000 + b" deep\n\n" + b"[" * 100_000, "a.md").headings == ()


def test_rst(one: ReadOne) -> None:
    text = (
        "=====\nTitle\n=====\n\nwords\n\nFirst ``code``\n--------------\n\n::\n\n    Not one\n    -------\n\n"
        "Below\n~~~~~\n\nSecond\n------\n"
    )
    document = one(text.encode(), "a.rst")
    assert document.title == "Title"
    assert [(level, words) for level, words, _ in outline(document)] == [
        (1, "Title"),
        (2, "First code"),
        (3, "Below"),
        (2, "Second"),
    ]
    assert outline(document)[0][2] == "Title"
    assert (document.first_line, document.lined) == (1, True)


def test_a_pep_is_titled_by_its_field(one: ReadOne) -> None:
    document = one(b"PEP: 8\nTitle: Style Guide\nAuthor: G\n\n\nIntroduction\n============\n\nwords\n", "pep.rst")
    assert document.title == "Style Guide"
    assert outline(document) == [(1, "Introduction", "Introduction")]


def test_org(one: ReadOne) -> None:
    text = "#+TITLE: Plans\n* TODO [#A] First :tag:\nwords\n#+BEGIN_SRC c\n* no heading\n#+END_SRC\n** Second\n*bold*\n"
    document = one(text.encode(), "a.org")
    assert document.title == "Plans"
    assert [(level, words) for level, words, _ in outline(document)] == [(1, "First"), (2, "Second")]


def test_notebook(one: ReadOne, refused: Callable[[bytes, str], str]) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Study\n", "words"]},
        {"cell_type": "code", "source": "x = 1", "outputs": [{"text": "noise"}]},
        {"cell_type": "raw", "source": ""},
    ]
    document = one(json.dumps({"cells": cells, "metadata": {}}).encode(), "a.ipynb")
    assert document.text == "# Study\nwords\n\n```python\nx = 1\n```"
    assert (document.title, document.kind) == ("Study", "markdown")
    assert "damaged" in refused(b'{"cells": [1]}', "a.ipynb")
    assert "damaged" in refused(b"[", "a.ipynb")


def test_html_shows_what_a_person_sees(one: ReadOne) -> None:
    page = """<!doctype html><html><head><title>The
      Page</title><style>p {}</style></head><body><nav><a>Home</a></nav>
      <h1>Big <i>news</i></h1><p>One<b>two</b> three<br>four</p><script>alert(1)</script>
      <ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><div hidden>unseen</div>
      <table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td></td><td><p>3</p><p>4</p></td></tr></table>
      <pre>  x = 1\n  y</pre>last"""
    document = one(page.encode(), "a.html")
    assert document.title == "The Page"
    assert document.text == (
        "Big news\n\nOnetwo three\nfour\n\n- a\n- b\n- c\n\nA | B\n1 | | 3 4\n\nx = 1\n  y\n\nlast"
    )
    assert outline(document) == [(1, "Big news", "Big news")]
    assert document.first_line is None


def test_html_that_is_all_menu_is_read_all_the_same(one: ReadOne, refused: Callable[[bytes, str], str]) -> None:
    assert one(b"<nav>Home</nav>", "a.html").text == "Home"
    assert refused(b"<html><script>x</script></html>", "a.html") == "empty: no visible text"


def test_html_encodings(one: ReadOne) -> None:
    page = '<meta charset="{}"><p>Übermäßig schöne Größe</p>'
    for encoding in ("iso-8859-1", "utf-8"):
        assert one(page.format(encoding).encode(encoding), "a.html").text == "Übermäßig schöne Größe"
    assert one(page.format("iso-8859-1").encode(), "a.html").text == "Übermäßig schöne Größe"  # the page lies
    assert one(page.format("hex").encode("cp1252"), "a.html").text == "Übermäßig schöne Größe"
    japanese = '<meta charset="iso-2022-jp"><p>日本語の文書</p>'
    assert one(japanese.encode("iso-2022-jp"), "a.html").text == "日本語の文書"


def test_html_nested_ten_thousand_deep(one: ReadOne) -> None:
    assert one(b"<div>" * 10_000 + b"deep", "a.html").text == "deep"
