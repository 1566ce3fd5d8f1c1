"""Jupyter notebooks: Markdown cells as they are, code cells fenced; outputs are left out."""

from __future__ import annotations

import json

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.decode import Note, decode
from indexer.readers.markdown import headings_of


def read_notebook(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a notebook as one Markdown text."""
    try:
        notebook = json.loads(decode(data, note))
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]  # before format 4
        grammar = str(notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python"))
        blocks = [_block(cell, grammar) for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise Unreadable(f"a damaged notebook ({type(error).__name__})") from error
    text = "\n\n".join(block for block in blocks if block)
    if not text:
        raise Unreadable("empty: no cell has text")
    headings = headings_of(text)
    title = next((heading.text for heading in headings if heading.level == 1), "")
    return [Document("", text, title=title, kind="markdown", headings=headings)]


def _block(cell: dict[str, object], grammar: str) -> str:
    source = cell.get("source", cell.get("input", ""))
    text = ("".join(map(str, source)) if isinstance(source, list) else str(source)).replace("\r\n", "\n").strip()
    if not text:
        return ""
    if cell["cell_type"] == "code":
        fence = "```" if "```" not in text else "~~~~"
        return f"{fence}{grammar}\n{text}\n{fence}"
    if cell["cell_type"] == "heading":  # before format 4
        level = cell.get("level", 1)
        return f"{'#' * (level if isinstance(level, int) else 1)} {text}"
    return text
