"""Hits → terminal or JSON. All that knows of width, colour and what a terminal must not be sent."""

from __future__ import annotations

import json as json_library
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from searchengine.hits import Answer, Hit
from searchengine.snippets import snippet

_BOLD, _DIM, _CYAN, _YELLOW, _OFF = "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[1;33m", "\x1b[0m"
_JOINERS = "\u200c\u200d"  # not printable to Python, but words and emoji are written with them


@dataclass(frozen=True, slots=True)
class Style:
    """What the output may use: colours, clickable links, so many columns."""

    colour: bool = False
    links: bool = False
    width: int = 100

    def paint(self, code: str, text: str) -> str:
        """Colour a text where colours are wanted."""
        return f"{code}{text}{_OFF}" if self.colour and text else text


def style_of(stream: TextIO) -> Style:
    """Choose a style for a stream: plain unless it is a terminal; NO_COLOR is honoured."""
    if not stream.isatty():
        return Style()
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    return Style(colour=not dumb and "NO_COLOR" not in os.environ, links=not dumb, width=width)


def clean(text: str) -> str:
    """Replace every character that could steer a terminal or turn text around; newlines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" or c in _JOINERS else "\ufffd" for c in text)


def json(value: Any) -> str:
    """Write one JSON document, with the true characters of what it holds."""
    if isinstance(value, list):
        value = [item.as_dict() if isinstance(item, Hit) else item for item in value]
    # A lone surrogate (an undecodable byte of a file's name) cannot be written as UTF-8: it stays an escape.
    text = json_library.dumps(value, ensure_ascii=False, indent=2)
    return text if text.isascii() or _encodable(text) else json_library.dumps(value, indent=2)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def hits(answer: Answer, analyse: Callable[[str], list[str]], style: Style, *, explain: bool = False) -> str:
    """Draw the hits of an answer, each with its place and the words around what was found."""
    return "\n\n".join(_hit(hit, set(answer.terms), analyse, style, explain) for hit in answer.hits)


def _hit(hit: Hit, terms: set[str], analyse: Callable[[str], list[str]], style: Style, explain: bool) -> str:
    place = style.paint(_CYAN, _place(hit, style))
    titles = [hit.title] if hit.title else []
    if hit.location.heading and hit.location.heading != hit.title:
        titles.append(hit.location.heading.removeprefix(f"{hit.title} > "))
    named = textwrap.shorten(clean(" > ".join(titles)), style.width - 4, placeholder=" …")
    name = style.paint(_BOLD, named)
    head = f"{hit.rank:>2}  {place}  {style.paint(_DIM, f'{hit.score:.3f}')}"
    lines = [head, *([f"    {name}"] if name else [])]
    if explain:
        legs = (f"{leg} {'-' if value is None else f'{value:.3f}'}" for leg, value in hit.scores.items())
        lines.append(style.paint(_DIM, "    " + "   ".join(legs) + f"   passage {hit.passage}"))
    lines += _snippet_lines(hit.text, terms, analyse, style)
    return "\n".join(lines)


def _place(hit: Hit, style: Style) -> str:
    if hit.path is None:
        return clean(hit.document)
    shown = _relative(hit.path)
    if hit.line is not None:
        shown += f":{hit.line}"
    if hit.page is not None:
        shown += f" (page {hit.page})"
    shown = clean(shown).replace("\n", "\ufffd").replace("\t", "\ufffd")
    if not style.links:
        return shown
    return f"\x1b]8;;{hit.path.as_uri()}\x1b\\{shown}\x1b]8;;\x1b\\"


def _relative(path: Path) -> str:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the current folder was deleted
        return str(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _snippet_lines(text: str, terms: set[str], analyse: Callable[[str], list[str]], style: Style) -> list[str]:
    flat = " ".join(clean(text).split())
    cut = snippet(flat, terms, analyse, width=3 * (style.width - 4))
    # Matches are marked by characters that clean() never lets through, so that wrapping counts them as nothing else.
    marked, at = "", 0
    for start, end in cut.matches:
        marked += cut.text[at:start] + "\x02" + cut.text[start:end] + "\x03"
        at = end
    marked += cut.text[at:]
    marked = ("… " if cut.cut_before else "") + marked + (" …" if cut.cut_after else "")
    wrapped = textwrap.wrap(marked, style.width - 4) or [""]
    on, off = (_YELLOW, _OFF) if style.colour else ("", "")
    return ["    " + line.replace("\x02", on).replace("\x03", off) for line in wrapped]


def table(rows: list[tuple[str, str]]) -> str:
    """Align names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {clean(value)}" for name, value in rows)


def size(count: int) -> str:
    """Write a number of bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 file, 2 files, 0 files."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def note(message: str) -> None:
    """Say one line on stderr."""
    print(f"searchengine: {clean(message)}", file=sys.stderr)
