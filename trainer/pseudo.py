"""Pseudo queries: what a person might have asked, taken from the text itself, and what it then must find.

No labels and no generator: a title or heading asks for its body, an opening sentence for the rest, any sentence for
the text it was taken out of, a passage's most telling words for the passage. Questions that a language model asked
(``generated.py``) are handed over. Knows nothing of engines and losses.
Source: title and body, Wang et al., arXiv:2212.03533 (E5); the sentence, Lee et al., arXiv:1906.00300 (ICT).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainer.batch import Ids
from trainer.corpus import Corpus
from trainer.randomness import generator
from trainer.views.cloze import sentences

SHORTEST, LONGEST = 5, 64  # tokens of a query
LEFT = 16  # tokens of a passage that must be left when the query is taken out
TERMS = (3, 8)  # words of a keyword query
KINDS = ("title", "sentence", "terms", "opening", "generated")
DRAWS = 4  # the generators of draws follow those of the first kinds; a kind more must not change what others draw


@dataclass(frozen=True, slots=True)
class PseudoQuery:
    """Token ids that ask for one passage, number ``passage`` of a corpus.

    ``kind`` is one of KINDS. The passage's body without tokens [start, end) is what must be
    found; a title's passage is found without the title.
    """

    passage: int
    kind: str
    ids: Ids
    start: int = 0
    end: int = 0

    def answer(self, corpus: Corpus, longest: int) -> Ids:
        """Return what must be found, without the query's own words where they were taken out of it."""
        body = corpus.bodies[self.passage]
        if self.kind == "title":
            return body[:longest]
        rest = np.concatenate([body[: self.start], body[self.end :]])
        return np.concatenate([corpus.titles[self.passage], rest])[:longest]


class PseudoQueries:
    """Makes the pseudo queries of a corpus's passages, each a function of (seed, passage, kind)."""

    def __init__(
        self, corpus: Corpus, enders: frozenset[int], continues: np.ndarray, owners: np.ndarray, *, seed: int = 0
    ) -> None:
        """Take the token ids that end a sentence, and which ids go on with the word before: bool [vocabulary].

        ``owners`` int64 [passages] names each passage's document.
        """
        self.corpus = corpus
        self.titled = titled(corpus, owners)
        self.enders = enders
        self.continues = continues
        self.seed = seed
        self.generated: dict[int, Ids] = {}  # passage → a question about it, where somebody has asked one
        self.frequency = np.zeros(len(continues), dtype=np.int64)  # passages that hold a token
        for number in range(len(corpus)):
            self.frequency[np.unique(corpus.bodies[number])] += 1

    def of(self, passage: int, kind: str) -> PseudoQuery | None:
        """Make one query of a passage; None where the passage has nothing of the kind."""
        chance = generator(self.seed, passage, KINDS.index(kind))
        match kind:
            case "title":
                return self.title(passage)
            case "opening":
                return self.opening(passage)
            case "sentence":
                return self.sentence(passage, chance)
            case "generated":
                return self.asked(passage)
        return self.terms(passage, chance)

    def title(self, passage: int) -> PseudoQuery | None:
        """Ask by the title, where no other document bears it; of passages under one title the first answers."""
        title, body = self.corpus.titles[passage], self.corpus.bodies[passage]
        if len(title) < SHORTEST or len(body) < LEFT or self.titled.get(title.tobytes()) != passage:
            return None
        return PseudoQuery(passage, "title", title[:LONGEST])

    def opening(self, passage: int) -> PseudoQuery | None:
        """Ask by the passage's first sentence."""
        body = self.corpus.bodies[passage]
        start, end = sentences(body, self.enders)[0] if len(body) else (0, 0)
        if not SHORTEST <= end - start <= LONGEST or len(body) - end < LEFT:
            return None
        return PseudoQuery(passage, "opening", body[start:end], start, end)

    def sentence(self, passage: int, chance: np.random.Generator) -> PseudoQuery | None:
        """Ask by one sentence, taken out of the passage."""
        body = self.corpus.bodies[passage]
        fitting = [
            (start, end)
            for start, end in sentences(body, self.enders)
            if SHORTEST <= end - start <= LONGEST and len(body) - (end - start) >= LEFT
        ]
        if not fitting:
            return None
        start, end = fitting[int(chance.integers(len(fitting)))]
        return PseudoQuery(passage, "sentence", body[start:end], start, end)

    def terms(self, passage: int, chance: np.random.Generator) -> PseudoQuery | None:
        """Ask by some of the words that tell the passage from others: drawn by tf-idf, in the passage's order."""
        body = self.corpus.bodies[passage]
        words = self.words(body)
        if len(words) < LEFT:
            return None
        weights: dict[bytes, float] = {}
        first: dict[bytes, tuple[int, int]] = {}
        for start, end in words:
            key = body[start:end].tobytes()
            held = int(self.frequency[body[start:end]].min())
            idf = np.log((len(self.corpus) + 1) / (held + 0.5)) if held > 1 else 0.0  # what one passage has is noise
            weights[key] = weights.get(key, 0.0) + max(0.0, float(idf))
            first.setdefault(key, (start, end))
        scores = np.sqrt(np.array(list(weights.values())))  # a word said ten times is not ten times as telling
        count = min(int(chance.integers(TERMS[0], TERMS[1] + 1)), int(np.count_nonzero(scores)))
        if count < TERMS[0]:
            return None
        scores = scores**4
        chosen = chance.choice(len(scores), size=count, replace=False, p=scores / scores.sum())
        places = sorted(list(first.values())[at] for at in chosen)
        return PseudoQuery(passage, "terms", np.concatenate([body[start:end] for start, end in places]))

    def asked(self, passage: int) -> PseudoQuery | None:
        """Ask the question that somebody asked about the passage."""
        ids = self.generated.get(passage)
        if ids is None or not len(ids) or len(self.corpus.bodies[passage]) < LEFT:
            return None
        return PseudoQuery(passage, "generated", ids[:LONGEST])

    def words(self, body: Ids) -> list[tuple[int, int]]:
        """Split tokens into words: [start, end) of each."""
        begins = np.flatnonzero(~self.continues[body])
        bounds = [*begins.tolist(), len(body)]
        return list(pairwise(bounds))

    def order(self, passages: Sequence[int], kind: str) -> list[int]:
        """Say in which order passages are asked for by queries of a kind."""
        mixed = generator(self.seed, DRAWS + KINDS.index(kind)).permutation(len(passages))
        return [int(passages[at]) for at in mixed]

    def draw(self, passages: Sequence[int], counts: Mapping[str, int]) -> list[PseudoQuery]:
        """Make so many queries of each kind of these passages, every passage as often as another.

        Where passages have too little of a kind, fewer are made.
        """
        found: list[PseudoQuery] = []
        for kind, wanted in counts.items():
            made = (self.of(passage, kind) for passage in self.order(passages, kind))
            for query in made:
                if wanted <= 0:
                    break
                if query is not None:
                    found.append(query)
                    wanted -= 1
        return found


def titled(corpus: Corpus, owners: np.ndarray) -> dict[bytes, int]:
    """Map each title's token ids to the first passage under it; -1 where several documents bear that title."""
    first: dict[bytes, int] = {}
    for number in range(len(corpus)):
        known = first.setdefault(corpus.titles[number].tobytes(), number)
        if known >= 0 and owners[known] != owners[number]:
            first[corpus.titles[number].tobytes()] = -1
    return first
