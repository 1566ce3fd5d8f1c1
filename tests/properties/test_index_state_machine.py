"""Any sequence of adding, changing, deleting, renaming, merging, optimizing and reopening against a dictionary."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from indexer.lexical import Postings, write_postings
from indexer.merge import merge_segments, optimize
from indexer.snapshot import Snapshot
from indexer.vectors import nearest
from indexer.writer import Writer
from tests.crash.oracle import check_sound, live
from tests.crash.workload import State, Step, create, stage, vector

EXAMPLES = int(os.environ.get("SEARCHENGINE_EXAMPLES", "25"))
STEPS = int(os.environ.get("SEARCHENGINE_STEPS", "20"))
WORDS = ("river", "stone", "lamp", "orchard", "engine", "letter")

names = strategies.sampled_from([f"note{n}.txt" for n in range(8)] + [f"record{n}" for n in range(4)])
texts = strategies.lists(
    strategies.lists(strategies.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), max_size=3
).map(tuple)
words = strategies.lists(strategies.sampled_from(WORDS), min_size=1, max_size=3)


class IndexMachine(RuleBasedStateMachine):
    """The index on one side; on the other what is live, as a dictionary from names to texts."""

    @initialize()
    def start(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="state-machine-"))
        self.index = self.place / "index"
        create(self.index)
        self.state: State = {}
        self.snapshot = Snapshot(self.index)
        self.purged = True  # no removed passage distorts BM25's statistics

    def teardown(self) -> None:
        self.snapshot.close()
        check_sound(self.index)
        shutil.rmtree(self.place)

    def write(self, change: Callable[[Writer], object]) -> None:
        with Writer(self.index) as writer:
            change(writer)

    def commit(self, step: Step) -> None:
        def change(writer: Writer) -> None:
            stage(writer, step)
            writer.commit()

        self.write(change)
        touched = {*step.puts, *step.drops} & self.state.keys()
        self.purged = self.purged and not any(self.state[name] for name in touched)
        self.state = step.after(self.state)

    @rule(puts=strategies.dictionaries(names, texts, min_size=1, max_size=4))
    def add_or_change(self, puts: State) -> None:
        self.commit(Step("commit", 0, puts))

    @rule(drops=strategies.lists(names, min_size=1, max_size=3, unique=True))
    def delete(self, drops: list[str]) -> None:
        self.commit(Step("commit", 0, drops=tuple(drops)))  # also names that the index has not

    @rule(
        drops=strategies.lists(names, max_size=2, unique=True), puts=strategies.dictionaries(names, texts, max_size=2)
    )
    def delete_and_add(self, drops: list[str], puts: State) -> None:
        self.commit(Step("commit", 0, puts, tuple(name for name in drops if name not in puts)))

    @precondition(lambda self: any("." in name for name in self.state))
    @rule(data=strategies.data(), new=strategies.integers(0, 99))
    def rename(self, data: strategies.DataObject, new: int) -> None:
        old = data.draw(strategies.sampled_from(sorted(name for name in self.state if "." in name)))
        if f"moved{new}.txt" not in self.state:
            self.commit(Step("commit", 0, moves=((old, f"moved{new}.txt"),)))

    @rule(everything=strategies.booleans())
    def merge(self, everything: bool) -> None:
        self.write(lambda writer: merge_segments(writer, everything=everything))

    @rule()
    def optimize(self) -> None:
        optimize(self.index)
        self.purged = True

    @rule()
    def stage_and_forget(self) -> None:
        self.write(lambda writer: stage(writer, Step("commit", 0, {"never.txt": ("river of no return",)})))

    @rule()
    def reopen(self) -> None:
        self.snapshot.close()
        self.snapshot = Snapshot(self.index)

    @rule(question=words, count=strategies.integers(1, 12))
    def ask_by_vector(self, question: list[str], count: int) -> None:
        query = vector(" ".join(question))
        with self.snapshot.reading() as generation:
            found, scores = nearest(generation.segments, query, count)
            stored = self.snapshot.rows("SELECT id, text FROM passages ORDER BY id")
        codes = np.array([vector(text) for _, text in stored]).reshape(len(stored), len(query)).astype(np.float16)
        exact = np.round((codes.astype(np.float64) @ query.astype(np.float64)), 5)
        expected = sorted(exact.tolist(), reverse=True)[:count]
        assert np.allclose(scores, expected, atol=2e-5)
        by_id = dict(zip((passage for passage, _ in stored), exact, strict=True))
        assert np.allclose([by_id[passage] for passage in found.tolist()], scores, atol=2e-5)
        assert len(set(found.tolist())) == min(count, len(stored))

    @rule(question=words)
    def ask_by_words(self, question: list[str]) -> None:
        with self.snapshot.reading() as generation:
            found = self._ranked(generation.postings, question)
            stored = dict(self.snapshot.rows("SELECT id, text FROM passages"))
        assert {passage for passage, _ in found} == {
            passage for passage, text in stored.items() if set(text.split()) & set(question)
        }
        if self.purged:
            fresh = self.place / "fresh"
            with self.snapshot.reading():
                rows = self.snapshot.rows(
                    "SELECT p.id, p.text, d.language FROM passages p JOIN documents d ON d.id = p.document"
                )
            write_postings(fresh, (), rows)
            assert found == self._ranked(Postings(fresh), question)
            shutil.rmtree(fresh)

    @staticmethod
    def _ranked(postings: Postings | None, question: list[str]) -> list[tuple[int, float]]:
        if postings is None:
            return []
        passages, scores = postings.search(postings.terms(" ".join(question)), 1000)
        return list(zip(passages.tolist(), np.round(scores, 5).tolist(), strict=True))

    @invariant()
    def the_index_holds_what_the_dictionary_holds(self) -> None:
        with self.snapshot.reading():
            assert live(self.snapshot) == self.state


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="SEARCHENGINE_EXAMPLES" not in os.environ,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
