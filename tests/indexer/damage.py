"""Copies of an index to be damaged, and the ways to damage a file."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import searchengine
from indexer.format import CATALOG
from indexer.seal import SEAL
from indexer.writer import Writer
from searchengine import Document, SearchEngineError, Searcher

DOCUMENTS = {
    "apples": "Apple trees want full sun and are pruned in late winter, before the buds swell.",
    "bread": "Bread rises because yeast turns sugar into gas; a cold night in the fridge slows it down.",
    "tyre": "A flat tyre is mended by finding the hole under water, roughening the tube and gluing a patch.",
    "bees": "A bee sting is scraped off sideways, then cooled; call for help when breathing gets hard.",
    "desk": "A slow laptop often has too little memory: close tabs, then look what starts with it.",
    "knots": "A bowline makes a loop that does not slip and can be untied after a heavy load.",
    "stars": "The pole star stands where the axis of the earth points, a finger's width from true north.",
    "soup": "Leek and potato soup is sweated in butter first, then simmered in stock and blended.",
}
QUESTIONS = ("when do I prune fruit trees", "repair a puncture", "yeast dough", "star north")


@dataclass(frozen=True)
class Sample:
    """A sealed index of two segments with tombstones, and its catalog as it was one generation before."""

    folder: Path
    older_catalog: bytes
    answers: list[object]


def make_sample(folder: Path) -> Sample:
    """Index some documents in three runs by the real default encoder."""
    names = list(DOCUMENTS)
    searchengine.index_documents(_some(names[:5]), folder).close()
    searchengine.index_documents(_some(names[5:]), folder).close()
    older = (folder / CATALOG).read_bytes()
    searchengine.index_documents([Document("bees", DOCUMENTS["bees"] + " Ice helps.", title="bees")], folder).close()
    with Writer(folder):  # lets go of the generation before, whose files nothing would miss
        pass
    return Sample(folder, older, answers(folder))


def _some(names: list[str]) -> list[Document]:
    return [Document(name, DOCUMENTS[name], title=name) for name in names]


def answers(folder: Path) -> list[object]:
    """Ask the questions in each mode that a damage could change."""
    with Searcher(folder) as searcher:
        return [
            [(hit.document, hit.passage, hit.text) for hit in searcher.search(question, 4, mode=mode)]
            for mode in ("dense", "bm25")
            for question in QUESTIONS
        ]


def outcome(folder: Path, right: list[object]) -> str:
    """Say what a query gives: "right", "sentence", or "WRONG"."""
    try:
        return "right" if answers(folder) == right else "WRONG"
    except SearchEngineError as error:
        return "sentence" if "\n" not in str(error) else "WRONG: a sentence of several lines"


def copy_of(sample: Sample, target: Path) -> Path:
    """Copy an index; files that are never written in place are linked, the damages below replace them."""
    for path in sorted(sample.folder.rglob("*")):
        if path.is_dir() or path.name.endswith((".lock", "-wal", "-shm")):
            continue
        to = target / path.relative_to(sample.folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".onnx", ".faiss", ".i64") or path.name == "tokenizer.json":
            os.link(path, to)
        else:
            shutil.copyfile(path, to)
    return target


def kinds(folder: Path) -> dict[str, Path]:
    """Find one file of each kind: kind → path within the index."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if not path.is_file() or path.name.endswith((".lock", "-wal", "-shm")):
            continue
        kind = path.suffix.lstrip(".") if inner.parts[0] == "lexical" and path.suffix != ".json" else path.name
        found.setdefault(kind, inner)
    return found


KINDS = (
    CATALOG, SEAL, "vectors.faiss", "rows.i64", "query.onnx", "tokenizer.json", "encoder.json",
    "meta.json", ".managed.json", "term", "idx", "pos", "store", "fast", "fieldnorm",
)  # fmt: skip


def _replace(path: Path, content: bytes) -> None:
    path.unlink()  # it may be linked to the sample's
    path.write_bytes(content)


def _bit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    _replace(path, bytes(content))


def _byte(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    _replace(path, bytes(content))


def _zeros(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    places = [at for at in range(0, len(content), 4096) if any(content[at : at + 4096])]
    at = chance.choice(places)
    length = min(4096, len(content) - at)
    _replace(path, content[:at] + bytes(length) + content[at + length :])


def _cut(keep: Callable[[int], int]) -> Callable[[Path, random.Random], None]:
    def cut(path: Path, chance: random.Random) -> None:
        content = path.read_bytes()
        _replace(path, content[: keep(len(content))])

    return cut


def _swap(path: Path, chance: random.Random) -> None:
    """Exchange a file with a sibling: the same file of another segment, or another one beside it."""
    others = [other for other in path.parent.parent.glob(f"*/{path.name}") if other != path]
    others = others if path.parent.parent.name == "segments" else []
    beside = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    other = (others or [o for o in beside if not o.name.endswith((".lock", "-wal", "-shm"))])[0]
    mine, its = path.read_bytes(), other.read_bytes()
    _replace(path, its)
    _replace(other, mine)


def _extra(path: Path, chance: random.Random) -> None:
    path.with_name("extra").write_bytes(b"what is this")


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "one bit": _bit,
    "one byte": _byte,
    "4 kB of zeros": _zeros,
    "cut to nothing": _cut(lambda size: 0),
    "cut to one byte": _cut(lambda size: 1),
    "cut to half": _cut(lambda size: size // 2),
    "cut by one byte": _cut(lambda size: size - 1),
    "swapped": _swap,
    "deleted": lambda path, chance: path.unlink(),
    "an extra file beside": _extra,
}
