"""The part of a passage that a person should see: where the query's words stand closest together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from indexer.analysis import spans


@dataclass(frozen=True, slots=True)
class Snippet:
    """A stretch of text and the places in it, [start, end), that match the query."""

    text: str
    matches: tuple[tuple[int, int], ...]
    cut_before: bool
    cut_after: bool


def snippet(text: str, terms: set[str], analyse: Callable[[str], list[str]], width: int = 240) -> Snippet:
    """Cut the ``width`` characters of ``text`` that hold most different query terms, at word boundaries.

    ``analyse`` turns a word into terms as the postings do. Without a match the text's beginning is shown.
    """
    words = [(start, end, frozenset(analyse(text[start:end])) & terms) for start, end in spans(text)]
    matches = [word for word in words if word[2]]
    begin = _densest(matches, width) if matches else 0
    starts = [start for start, _, _ in words if start >= max(0, begin - width // 4)]
    begin = starts[0] if starts and begin > 0 else 0
    end = min(len(text), begin + width)
    if end < len(text):
        space = text.rfind(" ", begin, end)
        end = space if space > begin + width // 2 else end
    shown = [(start - begin, stop - begin) for start, stop, _ in matches if begin <= start and stop <= end]
    return Snippet(text[begin:end], _joined(shown), begin > 0, end < len(text))


def _joined(places: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join places, ascending, that overlap, as pairs of characters do."""
    joined: list[tuple[int, int]] = []
    for start, end in places:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _densest(matches: list[tuple[int, int, frozenset[str]]], width: int) -> int:
    """Find the match that begins the window with most different terms; the first among equals."""
    best, best_start, last = 0, matches[0][0], 0
    counts: dict[str, int] = {}
    for first, (start, _, terms) in enumerate(matches):
        while last < len(matches) and matches[last][1] <= start + width:
            for term in matches[last][2]:
                counts[term] = counts.get(term, 0) + 1
            last += 1
        different = sum(count > 0 for count in counts.values())
        if different > best:
            best, best_start = different, start
        if last > first:
            for term in terms:
                counts[term] -= 1
        else:
            last = first + 1
    return best_start
