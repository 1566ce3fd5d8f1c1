"""Document → Passages: pieces that fit the encoder, cut where the text itself pauses, losing nothing.

Sections (headings, pages) come first, then blocks small enough to be split in linear time, then passages, which
semantic-text-splitter cuts at paragraphs, sentences or syntax nodes. Knows nothing of files, vectors or titles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

from indexer.documents import Document, Locator, Passage
from indexer.errors import UsageError
from indexer.syntax import grammar_binding, is_splittable

Span = tuple[int, int]
Splitter = TextSplitter | MarkdownSplitter | CodeSplitter

SMALLEST_BUDGET = 8

# WordPiece makes one [UNK] of any word above 100 characters and nothing of white space, so a count of tokens alone
# would let a passage be megabytes long. English has 4 to 5 characters a token, source code about 3.
CHARACTERS_PER_TOKEN = 16

# A section below this share of the budget says too little to be found for what it says, and short passages crowd
# the top of dense results: it joins its neighbour.
TINY_SHARE = 1 / 4

# The splitter's memory grows with the text it is given, its time too once one sentence is longer than the budget:
# 80 kB of Chinese without punctuation took 8.8 s in one piece.
BLOCK = 1 << 16
RUN_PER_TOKEN = 4

_PAUSE = re.compile(r"\n|[.!?…][\s\"'”’)\]]|[。！？；]")
_SPACE = re.compile(r"\s")
_WORD = re.compile(r"[^\W_]")


def split(document: Document, tokenizer: Tokenizer, *, tokens: int, overlap: int = 0) -> list[Passage]:
    """Split a document into passages of at most ``tokens`` tokens, special tokens not counted.

    Every character but white space falls into a passage. Passages stand in order and share nothing, or up to
    ``overlap`` tokens between neighbours of one section. Only a single character that is more than ``tokens`` tokens
    exceeds the budget. The tokenizer's own truncation and padding are ignored.
    Raises UsageError for a budget below 8 tokens or an overlap that leaves no room for new text.
    """
    if tokens < SMALLEST_BUDGET:
        raise UsageError(f"a passage needs room for at least {SMALLEST_BUDGET} tokens, not {tokens}")
    if not 0 <= overlap < tokens:
        raise UsageError(f"the overlap must lie between 0 and the passage's {tokens} tokens, not {overlap}")
    cutter = _Cutter(document, tokenizer, tokens - overlap)
    spans: list[Span] = []
    for section in cutter.sections():
        pieces = [span for block in cutter.blocks(section) for span in cutter.cut(block)]
        spans += cutter.reach_back(pieces, overlap) if overlap else pieces
    locator = Locator(document)
    return [
        Passage(ordinal, document.text[start:end], locator.locate(start, end))
        for ordinal, (start, end) in enumerate(spans)
    ]


def whole(document: Document) -> list[Passage]:
    """Return the entire document as its one passage, even when it is empty: what BEIR's figures assume."""
    return [Passage(0, document.text, Locator(document).locate(0, len(document.text)))]


class _Cutter:
    """One document's text and budget; each method cuts a span into smaller ones that lose no character but space."""

    def __init__(self, document: Document, tokenizer: Tokenizer, tokens: int) -> None:
        self._document = document
        self._text = document.text
        self._tokenizer = _unlimited(tokenizer)
        self._tokens = tokens
        self._longest = tokens * CHARACTERS_PER_TOKEN
        self._splitter = _splitter(document.kind, document.grammar, self._tokenizer, tokens)
        # More than a half, so that two pieces come of a full passage; 5/8 and a tiny one are still within the budget.
        self._halver = _splitter(document.kind, document.grammar, self._tokenizer, -(-tokens * 5 // 8))
        self._plain = _splitter("text", "", self._tokenizer, tokens)

    def sections(self) -> Iterator[Span]:
        """Cut at headings and pages, but let what is too small to stand alone join what follows it.

        A heading without a text of its own always joins: alone it would be found for words it only announces. A tiny
        section joins while both fit the budget and the next heading is not a higher one, so that the end of one
        chapter never becomes the beginning of another.
        """
        levels = {heading.offset: heading.level for heading in self._document.headings}
        edges = sorted({0, *levels, *self._page_edges(), len(self._text)})
        start, level, size, is_bare = 0, levels.get(0), 0, True
        for edge, end in pairwise(edges):
            count = self._count(edge, end)
            next_level = levels.get(edge)
            climbs = level is not None and next_level is not None and next_level < level
            is_tiny = size < self._tokens * TINY_SHARE and size + count <= self._tokens
            if not (is_bare or (is_tiny and not climbs)):
                yield start, edge
                start, level, size, is_bare = edge, next_level, 0, True
            levels_met = [met for met in (level, next_level) if met is not None]
            level = min(levels_met, default=None)
            size += count
            is_bare = is_bare and self._is_bare(edge, end, is_headed=edge in levels)
        yield start, len(self._text)

    def blocks(self, section: Span) -> Iterator[Span]:
        """Cut what the splitter could not split in linear time: long sections, and long runs without any pause."""
        start, end = section
        while end - start > BLOCK:
            cut = self._pause_before(start + BLOCK // 2, start + BLOCK)
            yield from self._runs(start, cut)
            start = cut
        yield from self._runs(start, end)

    def cut(self, block: Span) -> Iterator[Span]:
        """Cut a block into the spans of its passages."""
        splitter = self._splitter
        if isinstance(splitter, CodeSplitter) and not is_splittable(self._document.grammar, self._text[slice(*block)]):
            splitter = self._plain
        for start, end in self._balance(self._join_tiny(self._split(splitter, block))):
            if end - start <= self._longest:
                yield start, end
            else:
                yield from self._shorten((start, end))

    def reach_back(self, spans: list[Span], overlap: int) -> list[Span]:
        """Let each passage begin within the one before it, at a pause or a word, by at most ``overlap`` tokens.

        Not the splitter's own overlap: that returns passages which lie inside the one before them.
        """
        reached = spans[:1]
        for (before, _), (start, end) in pairwise(spans):
            offsets = self._tokenizer.encode(self._text[before:start], add_special_tokens=False).offsets
            first = max(1, len(offsets) - overlap)
            earliest = before + offsets[first][0] if first < len(offsets) else start
            pause = _PAUSE.search(self._text, earliest - 1, start) or _SPACE.search(self._text, earliest - 1, start)
            shared = start - len(self._text[pause.end() if pause else earliest : start].lstrip())
            is_short = end - shared <= self._longest  # so that the counts below are exact
            fits = is_short and self._count(shared, start) <= overlap
            fits = fits and self._count(shared, end) <= self._tokens + overlap
            reached.append((shared if before < shared and fits else start, end))
        return reached

    def _page_edges(self) -> Iterator[int]:
        for offset in self._document.pages:
            # A sentence that runs over the page is worth more whole than the exact page of its second half.
            if not self._text[offset : offset + 80].lstrip()[:1].islower():
                yield offset

    def _count(self, start: int, end: int) -> int:
        if end - start > self._longest:
            return self._tokens + 1  # too large in any case: not worth tokenizing
        return len(self._tokenizer.encode(self._text[start:end], add_special_tokens=False).ids)

    def _is_bare(self, start: int, end: int, *, is_headed: bool) -> bool:
        body = self._text.find("\n", start, end) if is_headed else start
        return body < 0 or not _WORD.search(self._text, body, end)

    def _pause_before(self, earliest: int, latest: int) -> int:
        for pause in ("\n\n", "\n", ". ", "。", " "):
            found = self._text.rfind(pause, earliest, latest)
            if found >= 0:
                return found + len(pause)
        return latest

    def _runs(self, start: int, end: int) -> Iterator[Span]:
        longest = self._tokens * RUN_PER_TOKEN
        run = start
        for pause in (*(match.end() for match in _PAUSE.finditer(self._text, start, end)), end):
            while pause - run > longest:
                space = self._text.rfind(" ", run + longest // 2, run + longest)
                run = space + 1 if space >= 0 else run + longest
                yield start, run
                start = run
            run = pause
        if start < end:
            yield start, end

    def _split(self, splitter: Splitter, block: Span) -> list[Span]:
        start, end = block
        return [
            (start + offset, start + offset + len(piece))
            for offset, piece in splitter.chunk_indices(self._text[start:end])
            if not piece.isspace()  # Python counts U+001C to U+001F as space, the splitter does not
        ]

    def _fits(self, span: Span) -> bool:
        return self._count(*span) <= self._tokens

    def _is_tiny(self, span: Span) -> bool:
        bound = self._tokens * TINY_SHARE
        if span[1] - span[0] > bound * CHARACTERS_PER_TOKEN / 2:  # most passages: saves half of the time to split
            return False
        return self._count(*span) < bound

    def _join_tiny(self, spans: list[Span]) -> list[Span]:
        """Join what the splitter cut off for its rank alone: a closing brace, a decorator, a comment before a class."""
        joined: list[Span] = []
        last_is_tiny = False
        for span in spans:
            is_tiny = self._is_tiny(span)
            if joined and (is_tiny or last_is_tiny):
                union = joined[-1][0], span[1]
                if self._fits(union):
                    joined[-1] = union
                    last_is_tiny = self._is_tiny(union)
                    continue
            joined.append(span)
            last_is_tiny = is_tiny
        return joined

    def _balance(self, spans: list[Span]) -> list[Span]:
        """Give a tiny span half of a neighbour too full to join: a heading of the text below it, else the last of two.

        Source code is left alone: half a function is worth less than a comment on its own.
        """
        if self._document.kind == "code":
            return spans
        balanced: list[Span] = []
        for number, span in enumerate(spans):
            if balanced and self._is_tiny(balanced[-1]):
                halves = self._split(self._halver, span)
                if len(halves) == 2 and self._fits(union := (balanced[-1][0], halves[0][1])):
                    balanced[-1:] = [union, halves[1]]
                    continue
            elif balanced and number == len(spans) - 1 and self._is_tiny(span):
                halves = self._split(self._halver, balanced[-1])
                if len(halves) == 2 and self._fits(union := (halves[1][0], span[1])):
                    balanced[-1:] = [halves[0], union]
                    continue
            balanced.append(span)
        return balanced

    def _shorten(self, span: Span) -> Iterator[Span]:
        for start, end in self._split(_character_splitter(self._longest), span):
            if self._fits((start, end)):
                yield start, end
            else:  # cutting a word above 100 characters in two turns one [UNK] into many tokens
                yield from self._split(self._plain, (start, end))


@lru_cache(maxsize=4)
def _unlimited(tokenizer: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer.to_str())  # the encoder goes on truncating with its own
    copy.no_truncation()
    copy.no_padding()
    return copy


@lru_cache(maxsize=64)  # a splitter copies its tokenizer: 30 ms, more than most documents take
def _splitter(kind: str, grammar: str, tokenizer: Tokenizer, tokens: int) -> Splitter:
    if kind == "markdown":
        return MarkdownSplitter.from_huggingface_tokenizer(tokenizer, tokens)
    binding = grammar_binding(grammar) if kind == "code" else None
    if binding is not None:
        return CodeSplitter.from_huggingface_tokenizer(binding, tokenizer, tokens)
    return TextSplitter.from_huggingface_tokenizer(tokenizer, tokens)


@lru_cache(maxsize=8)
def _character_splitter(characters: int) -> TextSplitter:
    return TextSplitter(characters)
