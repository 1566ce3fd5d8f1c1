"""Documents made around an answer hold it once, verbatim, where they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.positions import BETWEEN, PLACES, clipped, draw_fillers, place

parts = st.text("abc d", min_size=1, max_size=20).map(lambda text: clipped(text, 9)).filter(bool)


@settings(deadline=None)
@given(answer=parts, fillers=st.lists(parts, min_size=1, max_size=9), where=st.sampled_from(PLACES))
def test_the_answer_stands_once_verbatim_at_its_place(answer: str, fillers: list[str], where: str) -> None:
    assume(not any(answer in filler for filler in fillers))
    made = place(answer, fillers, where)
    assert made.text.count(answer) == 1
    assert made.text.index(answer) == made.start
    found = made.text.split(BETWEEN)
    assert found.index(answer) == {"start": 0, "middle": len(fillers) // 2, "end": len(fillers)}[where]
    assert [part for part in found if part != answer] == fillers, "the same parts in the same order"


@settings(deadline=None)
@given(answer=parts, fillers=st.lists(parts, max_size=3), around=st.sampled_from(["{}", "a{}", "{} b"]))
def test_a_filler_that_holds_the_answer_is_refused(answer: str, fillers: list[str], around: str) -> None:
    with pytest.raises(ValueError, match="holds the answer"):
        place(answer, [*fillers, around.format(answer)], "end")


@settings(deadline=None)
@given(
    answers=st.dictionaries(st.sampled_from("xyz"), parts, min_size=1),
    others=st.lists(parts, max_size=30),
    seed=st.integers(0, 9),
)
def test_drawn_fillers_hold_no_answer_and_none_twice(answers: dict[str, str], others: list[str], seed: int) -> None:
    drawn = draw_fillers(answers, others, np.random.default_rng(seed), 5)
    assert drawn == draw_fillers(answers, others, np.random.default_rng(seed), 5)
    fit = {part for part in others if not any(answer in part for answer in answers.values())}
    for key, fillers in drawn.items():
        assert len(fillers) == len(set(fillers)) == min(5, len(fit)), key
        assert set(fillers) <= fit


def test_a_part_is_cut_at_its_words_and_has_no_blank_line() -> None:
    assert clipped("one\n\n two\tthree  four", 3) == "one two three"
