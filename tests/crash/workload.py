"""What the crash tests run and kill: a script of commits against one index, and what is live after each of them.

As a program (``workload.py INDEX SEED FIRST LAST ROUNDS``) it runs some steps in a process of its own and prints one
line after each commit that returned: the acknowledgements, kept outside the index. A deterministic hash encoder stands
in for the model behind the Encoder seam, so that a run takes tenths of a second.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import faiss  # noqa: F401  # here, not under the tracer
import numpy as np

import indexer.encoders
from indexer.documents import Document, Location, Passage
from indexer.encoders import Encoder
from indexer.encoders.spec import Spec
from indexer.errors import SearchEngineError
from indexer.index import Splitting, create_index
from indexer.merge import merge_segments, optimize
from indexer.staging import Prepared, SourceFile
from indexer.writer import Writer

DIMENSION = 16
REFUSED = 3  # the exit code for an error that a user would read
COMMON = "common"  # a word that every passage holds

# A document's name and the texts of its passages: what a state of the index comes down to.
State = dict[str, tuple[str, ...]]
Acknowledge = Callable[[int, int, State], None]


class HashEncoder:
    """An encoder whose vectors depend on nothing but the text."""

    dimension = DIMENSION
    max_length = 64
    passages_at_once = 1024
    fingerprint = "0" * 32
    name = "hash"
    backend = "hash"

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([vector(text) for text in texts])

    encode_queries = encode_passages


def vector(text: str) -> np.ndarray:
    """Give a text its own direction: float32 [16] of unit length."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    drawn = np.random.default_rng(seed).standard_normal(DIMENSION)
    return np.asarray(drawn / np.linalg.norm(drawn), dtype=np.float32)


def _store_encoder(encoder: Encoder, folder: Path) -> None:
    if not isinstance(encoder, HashEncoder):
        _store_a_model(encoder, folder)
        return
    graph = bytes(range(256)) * 64
    (folder / "query.onnx").write_bytes(graph)
    described = Spec(encoder.name, encoder.fingerprint, DIMENSION, encoder.max_length, 0, "mean", True, "", "")
    files = {"query.onnx": {"size": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}}
    (folder / "encoder.json").write_text(described.to_json(files))


_store_a_model = indexer.encoders.store_encoder
indexer.encoders.store_encoder = _store_encoder  # create_index asks for it by name when it is called


@dataclass(frozen=True)
class Step:
    """One commit. Names with a dot are files; the others are documents that a program handed over."""

    kind: str  # create, commit, merge, optimize
    session: int  # steps of one session share a writer
    puts: State = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()

    def after(self, state: State) -> State:
        """Tell what is live once this step is committed."""
        gone = {*self.drops, *(old for old, _ in self.moves)}
        kept = {name: texts for name, texts in state.items() if name not in gone}
        return kept | {new: state[old] for old, new in self.moves} | self.puts


@dataclass(frozen=True)
class Script:
    """Steps, and the state before the first and after each of them."""

    steps: tuple[Step, ...]
    states: tuple[State, ...]

    def sessions(self) -> list[tuple[int, int]]:
        """List the range of steps that belongs to each session."""
        numbers = [step.session for step in self.steps]
        return [(numbers.index(one), len(numbers) - numbers[::-1].index(one)) for one in sorted(set(numbers))]


def script(seed: int, rounds: int = 1) -> Script:
    """Make a script: creation, then rounds of adding, changing, deleting, renaming, merging and optimizing."""
    chance = random.Random(seed)
    steps: list[Step] = []
    states: list[State] = [{}]
    made = 0

    def texts(count: int) -> tuple[str, ...]:
        return tuple(
            f"{COMMON} w{chance.getrandbits(40):010x} step{len(steps)} " + " ".join(chance.choices(WORDS, k=12))
            for _ in range(count)
        )

    def add(kind: str, session: int, **change: object) -> None:
        step = Step(kind, session, **change)  # type: ignore[arg-type]
        steps.append(step)
        states.append(step.after(states[-1]))

    def fresh(count: int) -> State:
        nonlocal made
        made += count
        return {
            f"note{number}.txt" if number % 3 else f"record{number}": texts(chance.randint(1, 3))
            for number in range(made - count, made)
        }

    def some(count: int, *, files: bool = False, without: Sequence[str] = ()) -> list[str]:
        names = [name for name in states[-1] if name not in without and ("." in name or not files)]
        return chance.sample(names, min(count, len(names)))

    add("create", 0)
    session = 1
    for _ in range(rounds):
        add("commit", session, puts=fresh(8))
        changed = some(2)
        dropped = some(1, without=changed)
        renamed = some(2, files=True, without=[*changed, *dropped])
        moves = tuple((name, f"moved{len(steps)}-{name}") for name in renamed)
        puts = {name: texts(2) for name in changed} | fresh(2) | {f"empty{session}": ()}
        add("commit", session, puts=puts, drops=tuple(dropped), moves=moves)
        add("commit", session + 1, puts=fresh(3))
        add("merge", session + 1)
        add("commit", session + 1, drops=tuple(some(3)), puts=fresh(1))
        add("optimize", session + 2)
        add("commit", session + 3, moves=tuple((name, f"again-{name}") for name in some(1, files=True)))
        add("commit", session + 3, puts={name: texts(1) for name in some(3)})
        session += 4
    return Script(tuple(steps), tuple(states))


WORDS = [
    "river",
    "stone",
    "lamp",
    "orchard",
    "engine",
    "letter",
    "harbour",
    "winter",
    "copper",
    "song",
    "field",
    "mirror",
]


def prepared(name: str, texts: Sequence[str]) -> Prepared:
    """Split and encode a document."""
    passages = [Passage(at, text, Location(0, len(text), line=1)) for at, text in enumerate(texts)]
    document = Document("" if "." in name else name, "\n".join(texts))
    vectors = HashEncoder().encode_passages(texts) if texts else np.empty((0, 0), np.float32)
    return Prepared(document, passages, vectors)


def source(name: str, texts: Sequence[str] = ()) -> SourceFile:
    """Describe the file that a document would have come from."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return SourceFile(name.encode(), sum(map(len, texts)), 1, 1, 1, digest, seen_ns=1)


def create(folder: Path) -> None:
    """Make an empty index."""
    create_index(folder, HashEncoder(), Splitting(), str(folder), None)  # type: ignore[arg-type]


def stage(writer: Writer, step: Step) -> None:
    """Stage what a step changes."""
    for name, texts in step.puts.items():
        writer.put(source(name, texts) if "." in name else None, [prepared(name, texts)])
    for name in step.drops:
        if "." in name:
            writer.drop(name.encode())
        else:
            writer.drop_documents([name])
    for old, new in step.moves:
        writer.move(old.encode(), source(new))


def run(folder: Path, plan: Script, first: int, last: int, acknowledge: Acknowledge) -> None:
    """Run the steps [first, last) and acknowledge each."""
    for _, steps in groupby(range(first, last), key=lambda at: plan.steps[at].session):
        for at, generation in _session(folder, plan, list(steps)):
            acknowledge(at, generation, plan.states[at + 1])


def _session(folder: Path, plan: Script, numbers: list[int]) -> Iterator[tuple[int, int]]:
    kind = plan.steps[numbers[0]].kind
    if kind in ("create", "optimize"):
        create(folder) if kind == "create" else optimize(folder)
        yield numbers[0], 0  # neither tells its generation
        return
    with Writer(folder) as writer:
        for number in numbers:
            step = plan.steps[number]
            if step.kind == "merge":
                merge_segments(writer, everything=True)
                yield number, writer.count()[2]
            else:
                stage(writer, step)
                yield number, writer.commit()


def _acknowledge(at: int, generation: int, state: State) -> None:
    line = f"committed {generation} {at} {json.dumps(state)}\n".encode()
    os.writev(1, [line])  # a call that nothing else makes: no injected error hits the oracle


def _program(arguments: list[str]) -> None:
    place, seed, start, end, rounds = arguments
    try:
        run(Path(place), script(int(seed), int(rounds)), int(start), int(end), _acknowledge)
    except SearchEngineError as error:
        os.writev(2, [f"{type(error).__name__}: {error}\n".encode()])
        os._exit(REFUSED)


def _serve() -> None:
    """Fork a run for each line of arguments, because importing takes longer than running.

    Prints the run's pid, lets it wait for SIGUSR1 (a tracer wants to attach first), prints its exit code.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for line in sys.stdin:
        *arguments, output = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                for number, name in ((1, output), (2, f"{output}.errors")):
                    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # any process may trace this one
                signal.sigwait({signal.SIGUSR1})
                _program(arguments)
                code = 0
            except BaseException:
                os.writev(2, [traceback.format_exc().encode()])
            finally:
                os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve() if sys.argv[1:] == ["serve"] else _program(sys.argv[1:])
