"""Which files: the tree under a root, in order, each left-out entry with its reason.

Streams; opens nothing but ignore files. Knows nothing of formats: whether a file can be read is for the readers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import NothingToIndex, UsageError
from indexer.ignore import Rules, exclusions

MAX_BYTES = 50 * 2**20
VERSION_CONTROL = frozenset({".git", ".hg", ".svn"})
KINDS = {  # what lstat may say that is never opened: opening a FIFO waits for ever
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class WalkedFile:
    """A regular file to read. ``path`` is absolute, undecodable bytes as surrogates (os.fsdecode).

    ``target`` is "" or, when ``path`` is a link that may be followed, the real path to open instead.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file or a whole folder that is left out. ``expected``: by a rule, so it is counted and not listed."""

    path: str
    reason: str
    expected: bool


def walk(
    root: Path,
    *,
    exclude: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
    follow: bool = False,
    hidden: bool = False,
) -> Iterator[WalkedFile | SkippedFile]:
    """Yield each file under ``root``, or ``root`` itself when it is a file, folder by folder in order of names.

    A folder that is left out is one SkippedFile and is not entered. ``follow`` allows links out of the root.
    Raises NothingToIndex at the call when the root cannot be read, UsageError for a malformed ``exclude``.
    """
    try:
        excluded = Rules(None, 0, exclusions(exclude), ()) if exclude else None
    except ValueError as error:
        raise UsageError(f"--exclude: {error} (gitignore syntax, such as '*.log' or 'build/')") from error
    real = os.path.realpath(root)  # one spelling, however the root was given
    try:
        status = os.stat(real)
        names = os.listdir(real) if stat.S_ISDIR(status.st_mode) else []
        if stat.S_ISREG(status.st_mode) and not os.access(real, os.R_OK):
            raise PermissionError(13, "Permission denied")
    except FileNotFoundError:
        raise NothingToIndex(f"{root}: no such file or folder (check the path, or mount the disk it is on)") from None
    except OSError as error:
        raise NothingToIndex(f"{root}: cannot be read: {error.strerror} (check its permissions)") from None
    if stat.S_ISREG(status.st_mode):
        return iter([_regular(real, status, max_bytes)])
    if not stat.S_ISDIR(status.st_mode):
        raise NothingToIndex(f"{root}: neither a file nor a folder (name a folder of documents)")
    if _is_index(real, names):
        raise NothingToIndex(f"{root}: an index, not documents (name the folder that holds the documents)")
    return _Walk(real, excluded, max_bytes, follow, hidden).entries(names)


class _Walk:
    """One pass over one tree."""

    def __init__(self, root: str, excluded: Rules | None, max_bytes: int, follow: bool, hidden: bool):
        self._root = root
        self._excluded = excluded
        self._max_bytes = max_bytes
        self._follow = follow
        self._hidden = hidden
        self._links: list[tuple[str, str]] = []  # (link, real file within the root): judged when the tree is done
        self._entered: set[str] = set()  # real folders entered through links: each once, so no loop

    def entries(self, names: list[str]) -> Iterator[WalkedFile | SkippedFile]:
        """Walk with a stack of iterators: 200 levels or 2,000, recursion would end sooner."""
        stack = [self._folder(self._root, "", names, None)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, _Folder):
                try:
                    below = os.listdir(entry.path)
                except OSError as error:
                    yield SkippedFile(entry.path, f"folder cannot be read: {error.strerror}", expected=False)
                    continue
                if _is_index(entry.path, below):
                    yield SkippedFile(entry.path, "an index", expected=True)
                else:
                    stack.append(self._folder(entry.path, entry.relative, below, entry.rules))
            else:
                yield entry
        yield from self._linked_files()

    def _folder(
        self, folder: str, relative: str, names: list[str], above: Rules | None
    ) -> Iterator[WalkedFile | SkippedFile | _Folder]:
        rules = Rules.of_folder(folder, relative, names, above)
        if rules is not above:
            for problem in rules.problems:
                yield SkippedFile(problem.path, problem.reason, expected=False)
        # Names only: a folder of a million entries costs their names, not a million stat results.
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError as error:  # vanished, or a path longer than the system takes
                yield SkippedFile(path, error.strerror or "cannot be examined", expected=False)
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            reason = self._rule_against(name, relative + name + ("/" if is_folder else ""), rules)
            if reason:
                yield SkippedFile(path, reason, expected=True)
            elif is_folder:
                yield _Folder(path, f"{relative}{name}/", rules)
            elif stat.S_ISLNK(status.st_mode):
                yield from self._link(path, relative + name, rules)
            else:
                yield _regular(path, status, self._max_bytes)

    def _rule_against(self, name: str, relative: str, rules: Rules) -> str:
        if name in VERSION_CONTROL:
            return "version control"
        if name.startswith(".") and not self._hidden:
            return "hidden"
        if self._excluded is not None and self._excluded.ignores(relative):
            return "excluded"
        return "ignored" if rules.ignores(relative) else ""

    def _link(self, path: str, relative: str, rules: Rules) -> Iterator[WalkedFile | SkippedFile | _Folder]:
        try:
            status = os.stat(path)
            target = os.path.realpath(path)
        except FileNotFoundError:
            yield SkippedFile(path, "a link to nothing", expected=False)
            return
        except OSError as error:  # ELOOP: a link that leads to itself
            yield SkippedFile(path, f"a link that cannot be followed: {error.strerror}", expected=False)
            return
        within = target == self._root or target.startswith(self._root.rstrip("/") + "/")
        if not within and not self._follow:
            yield SkippedFile(path, "a link out of the folder (--follow allows it)", expected=False)
        elif stat.S_ISDIR(status.st_mode):
            if within or any(target == seen or target.startswith(seen + "/") for seen in self._entered):
                yield SkippedFile(path, "a link to a folder that is read under its own name", expected=True)
            elif self._root.startswith(target.rstrip("/") + "/"):
                yield SkippedFile(path, "a link to a folder above (a loop)", expected=False)
            else:
                self._entered.add(target)
                yield _Folder(path, relative + "/", rules)
        elif within:
            self._links.append((path, target))
        else:
            yield _regular(path, status, self._max_bytes, target)

    def _linked_files(self) -> Iterator[WalkedFile | SkippedFile]:
        """Yield the links to files within the root whose own name is left out: otherwise one document would be two."""
        seen: set[str] = set()
        for path, target in self._links:
            if target in seen or self._is_walked(target):
                yield SkippedFile(path, "a link to a file that is read under its own name", expected=True)
                continue
            seen.add(target)
            try:
                yield _regular(path, os.stat(target), self._max_bytes, target)
            except OSError as error:
                yield SkippedFile(path, error.strerror or "cannot be examined", expected=False)

    def _is_walked(self, target: str) -> bool:
        """Say whether the walk meets a real path within the root under its own name."""
        parts = os.path.relpath(target, self._root).split("/")
        folder, relative, rules = self._root, "", None
        for depth, name in enumerate(parts):
            try:
                names = os.listdir(folder)
            except OSError:
                return False
            if depth and _is_index(folder, names):
                return False
            rules = Rules.of_folder(folder, relative, names, rules)
            is_folder = depth < len(parts) - 1
            if self._rule_against(name, relative + name + ("/" if is_folder else ""), rules):
                return False
            folder, relative = os.path.join(folder, name), f"{relative}{name}/"
        return True


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    relative: str
    rules: Rules


def _regular(path: str, status: os.stat_result, max_bytes: int, target: str = "") -> WalkedFile | SkippedFile:
    if not stat.S_ISREG(status.st_mode):
        return SkippedFile(path, KINDS.get(stat.S_IFMT(status.st_mode), "not a file"), expected=False)
    if status.st_size > max_bytes:
        return SkippedFile(path, f"larger than {max_bytes / 2**20:g} MB", expected=False)
    return WalkedFile(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, target)


def _is_index(folder: str, names: Sequence[str]) -> bool:
    if "catalog.sqlite" not in names:
        return False
    return os.path.basename(folder) == ".searchengine" or "write.lock" in names or "segments" in names
