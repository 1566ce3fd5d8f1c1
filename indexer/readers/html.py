"""HTML: what a person would see, block by block, by selectolax's lexbor parser; scripts, styles and menus left out."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.compose import CELL_SEPARATOR, Composer
from indexer.readers.decode import Note, decode

UNSEEN_TAGS = (
    "head script style noscript template svg math iframe object embed audio video canvas select textarea button "
    "datalist dialog map"
)
BLOCK_TAGS = (
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form header "
    "hr html legend li main ol p pre section summary table tbody tfoot thead tr ul caption hgroup search"
)
UNSEEN = frozenset(UNSEEN_TAGS.split())
MENUS = frozenset({"nav"})
BLOCKS = frozenset(BLOCK_TAGS.split())
HEADINGS = {f"h{level}": level for level in range(1, 7)}
LINES = frozenset({"li", "tr", "dt", "dd"})  # close together, where paragraphs stand apart
MAX_ROW_CHARACTERS = 1000  # a longer row is no record but the layout of a page: its lines stay apart
CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)
XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]+)""")
SPACE = re.compile(r"[ \t\n\r\f\v]+")  # not the no-break space: it is a character


def read_html(data: bytes, name: str, note: Note) -> list[Document]:
    """Read an HTML page."""
    declared = CHARSET.search(data[:4096]) or XML_ENCODING.search(data[:200])
    markup = decode(data, note, declared=declared[1].decode("ascii") if declared else "")
    composer = Composer()
    title = append_html(composer, markup)
    if not composer.length:
        raise Unreadable("empty: no visible text")
    return [composer.document(title)]


def append_html(composer: Composer, markup: str) -> str:
    """Append a page's visible text to a composer and return its <title>, "" without one."""
    parser = LexborHTMLParser(markup)
    body = parser.body or parser.root
    if body is not None:
        before = composer.length
        _Page(composer, UNSEEN | MENUS).append(body)
        if composer.length == before:  # a page that is nothing but its menu
            _Page(composer, UNSEEN).append(body)
    title = parser.css_first("title")
    return " ".join(title.text().split()) if title is not None else ""


class _Page:
    """The walk over one page. Iterative: pages nest deeper than Python recurses."""

    def __init__(self, composer: Composer, unseen: frozenset[str]):
        self._composer = composer
        self._unseen = unseen
        self._inline: list[str] = []
        self._heading = 0
        self._cell_depth = 0
        self._preformatted = 0
        self._line_depth = 0

    def append(self, body: LexborNode) -> None:
        """Enter and leave each element in document order."""
        node: LexborNode | None = body
        while node is not None:
            child = self._enter(node)
            if child is not None:
                node = child
                continue
            while node is not None:
                if node.mem_id == body.mem_id:
                    self._flush()
                    return
                following = node.next
                parent = node.parent
                if following is not None:
                    node = following
                    break
                node = parent
                if node is not None:
                    self._leave(node.tag or "")

    def _enter(self, node: LexborNode) -> LexborNode | None:
        """Take a node's own text; return its first child when there is something to see in it."""
        if node.is_text_node:
            text = node.text_content or ""
            self._inline.append(text if self._preformatted else SPACE.sub(" ", text))
            return None
        tag = node.tag or ""
        if not node.is_element_node or tag in self._unseen or (tag != "body" and "hidden" in node.attributes):
            return None
        if tag == "br":
            self._inline.append("\n")
            return None
        child = node.child
        if child is None:  # nothing within, and nothing to leave
            if tag in ("td", "th"):
                self._begin_cell()
            elif tag in BLOCKS:
                self._break()
            return None
        if tag in ("td", "th"):
            self._begin_cell()
            self._cell_depth += 1
        elif tag in HEADINGS or tag in BLOCKS:
            self._break()
            if tag in HEADINGS and not self._cell_depth:
                self._heading = HEADINGS[tag]
            if tag == "li" and not self._cell_depth:
                self._inline.append("- ")
        if tag == "pre":
            self._preformatted += 1
        if tag in LINES:
            self._line_depth += 1
        return child

    def _leave(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell_depth -= 1
        elif tag in HEADINGS or tag in BLOCKS:
            self._break()
        if tag == "pre":
            self._preformatted -= 1
        if tag in LINES:
            self._line_depth -= 1
        if tag in ("table", "ul", "ol", "dl") and not self._line_depth:
            self._composer.end_lines()

    def _begin_cell(self) -> None:
        words = [piece for piece in self._inline[-2:] if piece.strip()]
        if not words and not any(piece.strip() for piece in self._inline):
            return
        if not (self._cell_depth and words and words[-1] == CELL_SEPARATOR):  # a table within a cell begins
            self._inline.append(CELL_SEPARATOR)

    def _break(self) -> None:
        if self._cell_depth:
            self._inline.append("\n")
        else:
            self._flush()

    def _flush(self) -> None:
        text = "".join(self._inline)
        if CELL_SEPARATOR in self._inline and len(text) <= MAX_ROW_CHARACTERS:
            text = " ".join(SPACE.split(text))
        elif not self._preformatted:
            text = "\n".join(" ".join(part for part in SPACE.split(line) if part) for line in text.split("\n"))
        self._inline.clear()
        heading, self._heading = self._heading, 0
        if text.strip() in ("", "-", CELL_SEPARATOR.strip()):
            self._heading = heading  # an element within the heading broke before its first word
        elif heading:
            self._composer.heading(text, heading)
        elif self._line_depth:
            self._composer.line(text)
        else:
            self._composer.paragraph(text)
