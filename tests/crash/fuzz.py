"""Mutated files of every format go through the readers: none may crash the indexer, hang it, or vanish unnamed."""

from __future__ import annotations

import io
import random
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from indexer.readers.worker import FileRequest, FileResult, ReaderPool

TIMEOUT_S = 10.0
_LARGEST = 200_000
_A_FORMAT = 12  # files of one kind that mutations start from
_WORDS = (
    b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
    b"%PDF-1.7\n1 0 obj<</Type/Page>>endobj",
    b"endstream endobj xref trailer startxref",
    b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    b"\x00" * 64,
    b"\xff\xfe\xff\xfe",
    b"\xed\xa0\x80",
    b'{"text": {"text": [[[[[[',
    b"<div>" * 400,
    b">" * 2000,
    b"[" * 2000,
    b"(" * 2000,
    b"\x1b]8;;evil\x07",
    b"=cmd()",
    b"99999999999999999999999",
    b"-1",
    "\u202e\u2066\u0301".encode() * 50,
)


@dataclass(slots=True)
class Fuzzed:
    """What became of the files: ``failures`` are sentences about what must not happen."""

    files: int = 0
    read: int = 0
    named: int = 0
    worker_deaths: int = 0
    stopped: int = 0  # at the time limit, as they should be
    slowest_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def seeds(folders: list[Path]) -> list[Path]:
    """Choose files to mutate: a few small ones of each ending."""
    chosen: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and 0 < path.stat().st_size <= _LARGEST and not path.name.startswith("."):
                chosen.setdefault(path.suffix, []).append(path)
    return [path for kind in sorted(chosen) for path in chosen[kind][:_A_FORMAT]]


def mutate(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Damage a file in one to four ways: bits, bytes, cuts, pieces of another file, words that parsers fear."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                for _ in range(chance.randint(1, 30)):
                    if data:
                        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randint(1, 400)]
            case 2:
                data = data[:at]
            case 3:
                start = chance.randrange(len(other) + 1)
                data[at:at] = other[start : start + chance.randint(1, 2000)]
            case 4:
                data[at:at] = chance.choice(_WORDS)
            case _:
                data[at : at + 1] = chance.randbytes(chance.randint(1, 40))
    return bytes(data)


def mutate_member(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Damage one file within a zip container and close it again rightly, so that the damage reaches the parser."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(members))
    members[name] = mutate(members[name], other, chance)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return packed.getvalue()


def fuzz(place: Path, folders: list[Path], seed: int, count: int) -> Fuzzed:
    """Read ``count`` mutated files with two workers; the same seed gives the same files. ``place`` must be empty."""
    sources = [(path.suffix, path.read_bytes()) for path in seeds(folders)]
    result = Fuzzed()

    def requests() -> Iterator[FileRequest]:
        for number in range(count):
            chance = random.Random(f"{seed}/{number}")
            suffix, content = sources[number % len(sources)]
            path = place / f"{number}{suffix}"
            inside = zipfile.is_zipfile(io.BytesIO(content)) and chance.random() < 0.8
            damage = mutate_member if inside else mutate
            path.write_bytes(damage(content, chance.choice(sources)[1], chance))
            yield FileRequest(str(path))

    with ReaderPool(2, timeout_s=TIMEOUT_S) as readers:
        before = time.monotonic()
        for file in readers.read(requests()):
            now = time.monotonic()
            _take(file, now - before, result, seed)
            before = now
            Path(file.path).unlink()
    return result


def _take(file: FileResult, seconds: float, result: Fuzzed, seed: int) -> None:
    name = Path(file.path).name
    result.files += 1
    result.slowest_s = max(result.slowest_s, seconds)
    if seconds > 3 * TIMEOUT_S:  # a worker that was stopped is started anew, on a machine that may be busy
        result.failures.append(f"{name} took {seconds:.0f} s (seed {seed})")
    if file.skipped:
        result.named += 1
        result.reasons[file.skipped.partition("(")[0].strip()[:60]] += 1
        result.worker_deaths += "crashed" in file.skipped
        result.stopped += "longer than" in file.skipped
        return
    result.read += 1
    if not file.documents:
        result.failures.append(f"{name} gave nothing and no reason (seed {seed})")
    for document in file.documents:
        if "\0" in document.text or any("\ud800" <= character <= "\udfff" for character in document.text):
            result.failures.append(f"{name} gave a text that no store takes (seed {seed})")
