"""What must hold of an index after any crash, told from outside it: by the acknowledgements and the script."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import faiss
import numpy as np

from indexer.errors import NoIndex
from indexer.format import ANN, CATALOG, LEXICAL, SEGMENTS
from indexer.seal import SEAL
from indexer.snapshot import Generation, Snapshot, document_name
from indexer.vectors import nearest
from indexer.verify import verify
from indexer.writer import Writer
from tests.crash.workload import COMMON, Script, State, run, vector

faiss.omp_set_num_threads(1)  # for a dozen rows, a pool of threads that waits for a busy core is all of the time

KINDS = ("lost", "phantom", "unopenable", "wrong answer", "left over", "unsound", "unclear")


@dataclass
class Tally:
    """Counts of one kind of run, and every failure as a sentence with the kind it belongs to."""

    seed: int
    points: int = 0
    killed: int = 0
    refused: int = 0  # ended by an error that a user would read
    acknowledged: int = 0  # documents that had to be there, over all points
    failures: list[tuple[str, str]] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """Count the failures of a kind."""
        return Counter(found for found, _ in self.failures)[kind]

    def fail(self, kind: str, what: str, folder: Path) -> None:
        """Keep the directory as evidence and note what is wrong with it."""
        kept = Path(os.environ.get("SEARCHENGINE_EVIDENCE", "/tmp/searchengine-evidence"))
        kept = kept / f"seed{self.seed}-{len(self.failures)}-{folder.name}"
        shutil.rmtree(kept, ignore_errors=True)
        if folder.exists():
            shutil.copytree(folder, kept)
        self.failures.append((kind, f"{kind}: {what} (seed {self.seed}, kept in {kept})"))

    def __str__(self) -> str:
        """Write all failures, one a line."""
        return "\n".join(sentence for _, sentence in self.failures)


class Crashed(Exception):
    """A state that must not be: its kind and what was seen."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


def live(snapshot: Snapshot) -> State:
    """Read every live document and its passages out of the catalog."""
    rows = snapshot.rows(
        "SELECT d.key, s.path, p.text FROM documents d LEFT JOIN sources s ON s.id = d.source"
        " LEFT JOIN passages p ON p.document = d.id ORDER BY d.id, p.ordinal"
    )
    found: dict[str, list[str]] = {}
    for key, path, text in rows:
        texts = found.setdefault(document_name(key, None if path is None else os.fsdecode(path)), [])
        if text is not None:
            texts.append(text)
    return {name: tuple(texts) for name, texts in found.items()}


def check_open(folder: Path, allowed: Sequence[State], *, may_be_missing: bool = False) -> int:
    """Open an index, compare it with the states that it may be in and ask it; return which one it is in.

    −1: there is no index, which only a creation that was not acknowledged may leave. Raises Crashed.
    """
    try:
        snapshot = Snapshot(folder)
    except NoIndex as error:
        if may_be_missing:
            return -1
        raise Crashed("unopenable", f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise Crashed("unopenable", f"{type(error).__name__}: {error}") from error
    try:
        with snapshot.reading() as generation:
            found = live(snapshot)
            if found not in list(allowed):
                raise Crashed(*_difference(found, allowed))
            check_answers(snapshot, generation, found)
        return list(allowed).index(found)
    except Crashed:
        raise
    except Exception as error:
        raise Crashed("unopenable", f"{type(error).__name__}: {error}") from error
    finally:
        snapshot.close()


def _difference(found: State, allowed: Sequence[State]) -> tuple[str, str]:
    oldest = allowed[0]
    lost = [name for name in oldest if all(name in state and found.get(name) != state[name] for state in allowed)]
    phantom = [name for name in found if all(state.get(name) != found[name] for state in allowed)]
    kind = "lost" if lost or not phantom else "phantom"
    return kind, f"of {len(oldest)} documents missing or altered {lost[:5]}, never written so {phantom[:5]}"


def check_answers(snapshot: Snapshot, generation: Generation, state: State) -> None:
    """Ask by vector and by word: every live passage is found, and nothing else is."""
    texts = {text for passages in state.values() for text in passages}

    def texts_of(passages: np.ndarray) -> list[str]:
        return [passage.text for passage in snapshot.passages(passages.tolist())]

    everything, _ = nearest(generation.segments, vector(COMMON), 10_000)
    by_words = np.empty(0, np.int64)
    if generation.postings is not None:
        by_words, _ = generation.postings.search(generation.postings.terms(COMMON), 10_000)
    for how, found in (("dense", everything), ("BM25", by_words)):
        if sorted(texts_of(found)) != sorted(texts):
            raise Crashed("wrong answer", f"{how}: {len(found)} passages found of {len(texts)}")
    for text in sorted(texts)[:6]:
        best, scores = nearest(generation.segments, vector(text), 1)
        if texts_of(best) != [text] or scores[0] < 0.998:
            raise Crashed("wrong answer", f"dense: another passage than its own is nearest to {text!r}")
        assert generation.postings is not None
        best, _ = generation.postings.search(generation.postings.terms(text.split()[1]), 5)
        if texts_of(best) != [text]:
            raise Crashed("wrong answer", f"BM25: {text.split()[1]} finds {len(best)} passages")


def finish(folder: Path, plan: Script, at: int) -> None:
    """Go on from a step to the script's end in this process; then nothing may be wrong or left over."""
    try:
        run(folder, plan, at, len(plan.steps), lambda *_: None)
        with Writer(folder):  # where nothing was left to do, a killed run's log still has to be folded in
            pass
    except Exception as error:
        raise Crashed("unopenable", f"writing again: {type(error).__name__}: {error}") from error
    check_open(folder, [plan.states[-1]])
    check_sound(folder)
    left = leftovers(folder)
    if left:
        raise Crashed("left over", ", ".join(left))


def check_sound(folder: Path) -> None:
    """Let ``verify`` look."""
    try:
        findings = verify(folder)
    except Exception as error:
        raise Crashed("unsound", f"verify: {type(error).__name__}: {error}") from error
    if findings:
        raise Crashed("unsound", "; ".join(f"{finding.where}: {finding.what}" for finding in findings[:3]))


def leftovers(folder: Path) -> list[str]:
    """List what a finished writer should not have left: temporary files, postings and segments of nobody."""
    snapshot = Snapshot(folder)
    segments = {name for (name,) in snapshot.rows("SELECT id FROM segments")}
    snapshot.close()
    expected = {CATALOG, SEAL, "write.lock", SEGMENTS, LEXICAL, ANN, "encoder"}
    empty = {f"{CATALOG}-shm"} | {f"{CATALOG}-wal"} if not _unfinished(folder) else set()  # a reader may leave them
    left = [path.name for path in folder.iterdir() if path.name not in expected | empty]
    left += [path.name for path in (folder / SEGMENTS).iterdir() if path.name not in segments]
    left += [path.name for path in (folder / ANN).glob("*") if path.name.rpartition("-")[0] not in segments]
    if len(list((folder / LEXICAL).iterdir())) > 2:  # the current one and, for readers under way, the one before
        left += [path.name for path in (folder / LEXICAL).iterdir()]
    return left


def _unfinished(folder: Path) -> bool:
    log = folder / f"{CATALOG}-wal"
    return log.exists() and log.stat().st_size > 0
