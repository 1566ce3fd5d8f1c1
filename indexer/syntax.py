"""Which source text has a syntax tree that it may be split by, and the grammar that the splitter needs for it.

Knows nothing of tokens or passages. tree-sitter recovers from any error, but on some texts in quadratic time, and
semantic-text-splitter takes cubic time in the depth of the tree: 800 nested blocks of Go, 14 kB, took it 9 s.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tree_sitter import Language, Parser, Tree

try:
    from tree_sitter_language_pack import get_binding
except ImportError:  # from 1.0 on the pack brings no grammars but downloads them at run time: indexing stays offline
    get_binding = None

DEEPEST = 100  # real files reach 20 to 40; a chain of a hundred `else if`s is no structure to cut by

# How often tree-sitter may report progress: ordinary source needs up to 0.05 reports a byte, a text of nothing but
# operators 6.7, and 0.6 s for 3 kB.
REPORTS_PER_BYTE = 1 / 4
REPORTS_AT_LEAST = 100


@lru_cache(maxsize=256)
def grammar_binding(grammar: str) -> Any | None:
    """Return the tree-sitter grammar of a programming language, or None where none is installed."""
    if get_binding is None:
        return None
    try:
        return get_binding(grammar)
    except LookupError:
        return None


def is_splittable(grammar: str, source: str) -> bool:
    """Tell whether this source has a syntax tree that can be had, and used, in bounded time."""
    binding = grammar_binding(grammar)
    if binding is None:
        return False
    tree = _parse(Parser(Language(binding)), source.encode())
    return tree is not None and _depth(tree) <= DEEPEST


def _parse(parser: Parser, source: bytes) -> Tree | None:
    reports_left = REPORTS_AT_LEAST + len(source) * REPORTS_PER_BYTE

    def is_too_hard(offset: int, has_error: bool) -> bool:  # a count, not a clock: the same text, the same passages
        nonlocal reports_left
        reports_left -= 1
        return reports_left < 0

    try:
        return parser.parse(lambda offset, point: source[offset : offset + 4096], progress_callback=is_too_hard)
    except ValueError:  # cancelled
        return None


def _depth(tree: Tree) -> int:
    cursor = tree.walk()
    deepest = depth = 0
    while True:
        if cursor.goto_first_child():
            depth += 1
            deepest = max(deepest, depth)
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return deepest
            depth -= 1
