"""Power loss: rebuilds an index directory from a recorded run, keeping only what was flushed, or that and some more.

A kill cannot find a missing fsync, because the page cache survives it. Here the log of every system call is replayed
into a model: an inode keeps its writes, a folder its changed entries; each counts as on disk once that file or that
folder was flushed. At a crash the rest is gone, or an arbitrary part of it: any subset of a file's writes, a prefix of
a folder's changes, the last block of one write torn. A file's own flush does not save its name: POSIX promises no more.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.kill import ENVIRONMENT, acknowledged, strace, workload
from tests.crash.oracle import Crashed, Tally, check_open, check_sound, finish
from tests.crash.workload import Script, script

_TRACED = [
    "openat",
    "open",
    "creat",
    "close",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "ftruncate",
    "truncate",
    "fallocate",
    "lseek",
    "dup",
    "dup2",
    "dup3",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "symlink",
    "symlinkat",
    "fsync",
    "fdatasync",
    "sendfile",
    "copy_file_range",
]
_UNKNOWN = ("writev", "pwritev", "pwritev2", "truncate", "fallocate", "symlink", "symlinkat", "open", "creat")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_TORN = 4096


@dataclass(eq=False)
class Inode:
    """A file's writes (when, where, bytes; None: cut to that size) or a folder's changes (when, {name: inode})."""

    folder: bool
    path: str  # its first name, to sort flushes by kind
    writes: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    changes: list[tuple[int, dict[str, Inode | None]]] = field(default_factory=list)
    flushes: list[int] = field(default_factory=list)

    def entries(self) -> dict[str, Inode]:
        """List a folder's entries as a living process sees them."""
        return _entries([change for _, change in self.changes])

    def content(self) -> bytearray:
        """Give a file's bytes as a living process sees them."""
        return _content([(at, data) for _, at, data in self.writes])


@dataclass(frozen=True)
class Flush:
    """One fsync or fdatasync that returned: when, of what, by which call, in the main thread or a library's own."""

    at: int
    inode: Inode
    call: str
    main: bool

    @property
    def kind(self) -> str:
        """Name what was flushed, so that flushes for the same reason have one name."""
        path = re.sub(r"^(segments|lexical|encoder)/[^/]+", r"\1/*", self.inode.path)
        path = re.sub(r"/\*/[^/]+$", "/*/file", path) if not self.inode.folder else path
        path = re.sub(r"\.[0-9a-f]+\.tmp", "", path)
        return f"{path}{'/' if self.inode.folder else ''}"

    @property
    def ours(self) -> bool:
        """Tell our own flushes from those of SQLite and tantivy, which call fdatasync."""
        return self.main and self.call == "fsync"


class Recording:
    """A run of the workload, every change to its files in order. ``root`` stands above the index folder."""

    def __init__(self, place: Path, seed: int, rounds: int = 1) -> None:
        self.seed = seed
        self.plan: Script = script(seed, rounds)
        self.index = place / "made" / "index"  # two folders to be made, and to be flushed
        log = place / "recorded.log"
        options = ["-xx", "-s", "100000000", "-y", "-e", f"trace={','.join(_TRACED)}"]
        command = [*strace(log, *options), *workload(self.index, seed, 0, len(self.plan.steps), rounds)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT)
        self.root = Inode(True, "..")
        self.flushes: list[Flush] = []
        self.acknowledged: list[tuple[int, int]] = []  # (when, step)
        self.length = 0
        self._top = str(place)
        self._open: dict[int, tuple[Inode, int, bool]] = {}  # descriptor → inode, position, append
        self._main = ""
        for thread, line in _joined(log):
            self._main = self._main or thread
            self._replay(thread, line)
        log.unlink()
        shutil.rmtree(place / "made")
        if [step for _, step in self.acknowledged] != acknowledged(run.stdout):
            raise RuntimeError("the log and the output disagree about what was acknowledged")

    # The log ---------------------------------------------------------------------------------------------------------

    def _replay(self, thread: str, line: str) -> None:
        match = _CALL.match(line)
        if match is None or int(match[3]) < 0:
            return
        call, returned = match[1], int(match[3])
        words = match[2].split(", ")
        self.length += 1
        now = self.length
        if call == "openat":
            self._openat(words, returned, now)
        elif call == "close":
            self._open.pop(_number(words[0]), None)
        elif call in ("rename", "renameat", "renameat2"):
            old, new = _two_paths(words)
            self._rename(old, new, now)
        elif call in ("link", "linkat"):
            old, new = _two_paths(words)
            if (found := self._find(old)) is not None:
                self._change(new, found, now)
        elif call in ("unlink", "unlinkat", "rmdir"):
            self._change(_path(words), None, now)
        elif call in ("mkdir", "mkdirat"):
            path = _path(words)
            self._change(path, Inode(True, self._relative(path)), now)
        elif call == "writev" and _number(words[0]) == 1:
            text = _text(words[1].removeprefix("[{iov_base="))
            self.acknowledged.append((now, int(text.split(b" ", 3)[2])))
        elif _number(words[0]) in self._open:
            self._on_descriptor(call, words, returned, now, main=thread == self._main)

    def _on_descriptor(self, call: str, words: list[str], returned: int, now: int, *, main: bool) -> None:
        number = _number(words[0])
        inode, position, append = self._open[number]
        if call in ("fsync", "fdatasync"):
            inode.flushes.append(now)
            self.flushes.append(Flush(now, inode, call, main))
        elif call == "write":
            position = len(inode.content()) if append else position
            inode.writes.append((now, position, _text(words[1])[:returned]))
            self._open[number] = (inode, position + returned, append)
        elif call == "pwrite64":
            inode.writes.append((now, int(words[3]), _text(words[1])[:returned]))
        elif call == "ftruncate":
            inode.writes.append((now, int(words[1]), None))
        elif call == "lseek":
            self._open[number] = (inode, returned, append)
        elif call in ("sendfile", "copy_file_range"):
            if returned:
                other = self._open[_number(words[1] if call == "sendfile" else words[0])][0]
                if call == "copy_file_range":
                    number = _number(words[2])
                    inode, position, append = self._open[number]
                if returned != len(other.content()):
                    raise NotImplementedError(f"a part of a file was copied: {call}")
                inode.writes.append((now, position, bytes(other.content())))
                self._open[number] = (inode, position + returned, append)
        elif call in _UNKNOWN or call.startswith("dup"):
            raise NotImplementedError(f"{call} changes the index, and the replay does not know it")

    def _openat(self, words: list[str], descriptor: int, now: int) -> None:
        path, flags = _path(words), words[2]
        self._open.pop(descriptor, None)
        if not self._inside(path):
            return
        inode = self._find(path)
        if inode is None:
            if "O_CREAT" not in flags:
                return
            inode = Inode(False, self._relative(path))
            self._change(path, inode, now)
        elif "O_TRUNC" in flags and not inode.folder and inode.writes:
            inode.writes.append((now, 0, None))
        self._open[descriptor] = (inode, 0, "O_APPEND" in flags)

    # The names -------------------------------------------------------------------------------------------------------

    def _inside(self, path: str) -> bool:
        return path == self._top or path.startswith(self._top + "/")

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.index)

    def _find(self, path: str) -> Inode | None:
        if not self._inside(path):
            return None
        inode: Inode | None = self.root
        for name in Path(path).relative_to(self._top).parts:
            if inode is None:
                return None
            inode = inode.entries().get(name)
        return inode

    def _change(self, path: str, inode: Inode | None, now: int) -> None:
        parent = self._find(os.path.dirname(path))
        if parent is not None:
            parent.changes.append((now, {os.path.basename(path): inode}))

    def _rename(self, old: str, new: str, now: int) -> None:
        inode, parent, target = self._find(old), self._find(os.path.dirname(old)), self._find(os.path.dirname(new))
        if parent is None or target is None:
            return
        names = {os.path.basename(old): None, os.path.basename(new): inode}
        if parent is not target:
            raise NotImplementedError("a file was renamed into another folder")
        parent.changes.append((now, names))

    # The crash -------------------------------------------------------------------------------------------------------

    def rebuild(
        self, target: Path, at: int, chance: random.Random | None, ignored: Callable[[Flush], bool] | None = None
    ) -> None:
        """Write the directory as the disk could hold it after a power cut behind the ``at``-th call.

        ``chance`` None: nothing but what was flushed. ``ignored`` tells which flushes are to count as never made.
        """
        flushed: dict[Inode, int] = {}
        for flush in self.flushes:
            if flush.at <= at and not (ignored and ignored(flush)):
                flushed[flush.inode] = flush.at
        written: dict[Inode, Path] = {}

        def put(inode: Inode, path: Path) -> None:
            since = flushed.get(inode, 0)
            if not inode.folder:
                if inode in written:
                    os.link(written[inode], path)
                    return
                path.write_bytes(_content(_surviving_writes(inode, since, at, chance)))
                written[inode] = path
                return
            path.mkdir()
            for name, entry in _entries(_surviving_changes(inode, since, at, chance)).items():
                if not name.endswith("-shm"):  # rebuilt by SQLite from the log, always
                    put(entry, path / name)

        put(self.root, target)

    def check(self, folder: Path, at: int, *, go_on: bool) -> int:
        """Check a rebuilt directory; return how many documents had to be there. Raises Crashed."""
        done = [step for when, step in self.acknowledged if when <= at]
        step = done[-1] + 1 if done else 0
        allowed = [self.plan.states[step], self.plan.states[min(step + 1, len(self.plan.steps))]]
        index = folder / "made" / "index"
        found = check_open(index, allowed, may_be_missing=step == 0)
        if found >= 0:
            check_sound(index)
        if go_on:
            finish(index, self.plan, step + 1 if found == 1 and allowed[0] != allowed[1] else step)
        return len(allowed[0])


def _surviving_writes(
    inode: Inode, since: int, at: int, chance: random.Random | None
) -> list[tuple[int, bytes | None]]:
    kept = [(place, data) for when, place, data in inode.writes if when < since]
    pending = [(place, data) for when, place, data in inode.writes if since <= when <= at]
    if chance is None or not pending:
        return kept
    share = chance.random()
    survivors = [write for write in pending if chance.random() < share]
    if survivors and chance.random() < 0.5:
        victim = chance.randrange(len(survivors))
        place, data = survivors[victim]
        if data:
            torn = min(len(data), _TORN)
            survivors[victim] = (place, data[:-torn] + chance.randbytes(torn))
    return kept + survivors


def _surviving_changes(
    inode: Inode, since: int, at: int, chance: random.Random | None
) -> list[dict[str, Inode | None]]:
    kept = [change for when, change in inode.changes if when < since]
    pending = [change for when, change in inode.changes if since <= when <= at]
    return kept + (pending[: chance.randint(0, len(pending))] if chance else [])


def _entries(changes: list[dict[str, Inode | None]]) -> dict[str, Inode]:
    names: dict[str, Inode] = {}
    for change in changes:
        for name, inode in change.items():
            names.pop(name, None)
            if inode is not None:
                names[name] = inode
    return names


def _content(writes: list[tuple[int, bytes | None]]) -> bytearray:
    content = bytearray()
    for place, data in writes:
        if data is None:
            content = content[:place].ljust(place, b"\0")
        else:
            content.extend(bytes(max(0, place - len(content))))
            content[place : place + len(data)] = data
    return content


def _joined(log: Path) -> Iterator[tuple[str, str]]:
    """Give each call once, where it returned: strace splits one that another thread interrupts."""
    begun: dict[str, str] = {}
    with log.open() as lines:
        for line in lines:
            thread, _, rest = line.rstrip("\n").partition(" ")
            rest = rest.lstrip()
            if rest.endswith("<unfinished ...>"):
                begun[thread] = rest.removesuffix("<unfinished ...>")
            elif rest.startswith("<... "):
                yield thread, begun.pop(thread, "") + rest.partition(" resumed>")[2]
            else:
                yield thread, rest


def _number(word: str) -> int:
    digits = re.match(r"-?\d+", word)
    return int(digits[0]) if digits else -1


def _text(word: str) -> bytes:
    return bytes.fromhex(word.strip(' "').replace("\\x", ""))


def _path(words: list[str]) -> str:
    if words[0].startswith('"'):
        return os.fsdecode(_text(words[0]))
    return _beneath(words[0], words[1])


def _two_paths(words: list[str]) -> tuple[str, str]:
    if words[0].startswith('"'):
        return os.fsdecode(_text(words[0])), os.fsdecode(_text(words[1]))
    return _beneath(words[0], words[1]), _beneath(words[2], words[3])


def _beneath(folder: str, name: str) -> str:
    _, _, place = folder.partition("<")
    return os.path.join(os.fsdecode(_text(place.rstrip(">"))), os.fsdecode(_text(name)))


def lose_power(place: Path, seed: int, count: int, *, rounds: int = 1) -> Tally:
    """Replay ``count`` power cuts: every fourth keeps nothing unflushed, the others a random part of it."""
    tally = Tally(seed)
    recording = Recording(place, seed, rounds)
    chance = random.Random(seed)
    for number in range(count):
        at = 1 + int((number + chance.random()) * recording.length / count)
        folder = place / f"cut{number}-at{at}"
        recording.rebuild(folder, at, None if number % 4 == 0 else chance)
        tally.points += 1
        try:
            tally.acknowledged += recording.check(folder, at, go_on=True)
        except Crashed as crash:
            tally.fail(crash.kind, f"power lost behind call {at}: {crash}", folder)
        shutil.rmtree(folder, ignore_errors=True)
    return tally


def missing_flushes(place: Path, seed: int, *, most: int = 40) -> dict[str, int | None]:
    """Leave out one kind of flush at a time: which crash state, of at most ``most``, shows it first (None: none)?"""
    recording = Recording(place, seed)
    moments = [when for when, _ in recording.acknowledged]
    chance = random.Random(seed)
    moments += [chance.randint(1, recording.length) for _ in range(most - len(moments))]
    caught: dict[str, int | None] = {}
    for kind in sorted({flush.kind for flush in recording.flushes}):
        caught[kind] = None
        for number, at in enumerate(moments, start=1):
            folder = place / f"without{len(caught)}-{number}"
            recording.rebuild(folder, at, None, lambda flush, kind=kind: flush.kind == kind)  # type: ignore[misc]
            try:
                recording.check(folder, at, go_on=False)
            except Crashed:
                caught[kind] = number
                break
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return caught
