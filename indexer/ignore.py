"""Ignore rules: which paths .gitignore, .searchengineignore and --exclude leave out, nested folders included.

Knows nothing of links, sizes or formats. Rules above the root do not count: a folder that is named is meant.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

IGNORE_FILES = (".gitignore", ".searchengineignore")  # the later file has the last word
MAX_RULES_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """An ignore file, or a line of one, that could not be used: the file, and what is wrong with it."""

    path: str
    reason: str


class Rules:
    """The ignore rules that hold within one folder: its own, then those of the folders above it."""

    __slots__ = ("_depth", "_parent", "_spec", "problems")

    def __init__(self, parent: Rules | None, depth: int, spec: GitIgnoreSpec | None, problems: Sequence[Problem]):
        self._parent = parent
        self._depth = depth  # characters of a path from the root that stand before what the spec matches
        self._spec = spec
        self.problems = tuple(problems)

    @classmethod
    def of_folder(cls, folder: str, relative: str, names: Iterable[str], parent: Rules | None) -> Rules:
        """Read the ignore files of a folder; ``relative`` is its path from the root, "" or ending in a slash."""
        lines: list[tuple[str, int, str]] = []
        problems: list[Problem] = []
        present = set(names)
        sources = [os.path.join(folder, name) for name in IGNORE_FILES if name in present]
        if ".git" in present:
            sources.insert(0, os.path.join(folder, ".git", "info", "exclude"))
        for source in sources:
            try:
                lines.extend((source, number, line) for number, line in enumerate(_lines(source), 1))
            except FileNotFoundError:
                continue  # .git/info/exclude is often not there
            except OSError as error:
                problems.append(Problem(source, f"ignore file not read ({error.strerror})"))
        spec = _compile(lines, problems)
        if spec is None and parent is not None and not problems:
            return parent
        return cls(parent, len(relative), spec, problems)

    def ignores(self, relative: str) -> bool:
        """Say whether a path from the root is left out; a folder's path ends in a slash."""
        rules: Rules | None = self
        while rules is not None:
            if rules._spec is not None:
                verdict = rules._spec.check_file(relative[rules._depth :]).include
                if verdict is not None:
                    return verdict
            rules = rules._parent
        return False


def exclusions(globs: Sequence[str]) -> GitIgnoreSpec:
    """Compile --exclude globs (gitignore syntax). Raises ValueError naming the glob that is none."""
    for glob in globs:
        try:
            GitIgnoreSpec.from_lines([glob])
        except (ValueError, re.error) as error:
            raise ValueError(f"not a glob: {glob!r}") from error
    return GitIgnoreSpec.from_lines(globs)


def _compile(lines: list[tuple[str, int, str]], problems: list[Problem]) -> GitIgnoreSpec | None:
    good: list[str] = []
    for source, number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        try:
            GitIgnoreSpec.from_lines([line])  # alone first, so that a bad line can be named and costs only itself
        except (ValueError, re.error):  # pathspec lets re.error through for a bad range such as [z-a]
            problems.append(Problem(f"{source}:{number}", f"not an ignore pattern: {line[:80]!r}"))
        else:
            good.append(line)
    return GitIgnoreSpec.from_lines(good) if good else None


def _lines(path: str) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        data = file.read(MAX_RULES_BYTES + 1)
    if len(data) > MAX_RULES_BYTES:
        raise OSError(0, "larger than 1 MB")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").splitlines()
