"""Long documents that hold an answer at their start, middle or end: the same parts, in another order.

Pure functions. Knows nothing of retrieval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PLACES = ("start", "middle", "end")
FILLERS = 16  # parts around an answer
ANSWER_WORDS, FILLER_WORDS = 120, 60  # at most; some parts share a passage of the usual 200 tokens, others fill one
BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Composite:
    """A document made around an answer: ``text`` holds it once, at ``start`` (in characters)."""

    text: str
    start: int


def place(answer: str, fillers: Sequence[str], where: str) -> Composite:
    """Put an answer before, amid or behind its fillers. Raises ValueError where a filler already holds it."""
    if any(answer in filler for filler in fillers):
        raise ValueError("a filler holds the answer")
    before = {"start": 0, "middle": len(fillers) // 2, "end": len(fillers)}[where]
    head = "".join(f"{filler}{BETWEEN}" for filler in fillers[:before])
    return Composite(BETWEEN.join([*fillers[:before], answer, *fillers[before:]]), len(head))


def clipped(text: str, words: int) -> str:
    """Cut a text to its first words, white space made single blanks: a part has no blank line."""
    return " ".join(text.split()[:words])


def draw_fillers(
    answers: Mapping[str, str], parts: Iterable[str], generator: np.random.Generator, count: int = FILLERS
) -> dict[str, tuple[str, ...]]:
    """Draw each answer's fillers: none holds any answer (document id → text), none stands twice in a document.

    Where too few parts are fit, a document has fewer.
    """
    fitting = fit(parts, answers.values())
    return {key: tuple(fitting[at] for at in generator.permutation(len(fitting))[:count].tolist()) for key in answers}


def fit(texts: Iterable[str], answers: Iterable[str]) -> list[str]:
    """Keep texts that are there, each once, and hold none of the answers."""
    answers = list(answers)
    return [text for text in dict.fromkeys(texts) if text and not any(answer in text for answer in answers)]
