"""What has changed on disk since the index last looked: to read, unchanged, renamed, deleted. Reads no document.

Size, modification time, change time and inode decide "unchanged" only when the file is older than the last look by two
seconds: a second edit within one tick of the clock leaves them all alike. Everything else is settled by content hash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer.errors import MassDeletion, NothingToIndex
from indexer.index import is_index
from indexer.options import Options
from indexer.progress import SILENT, Progress
from indexer.readers.worker import FileResult
from indexer.staging import SourceFile, encode_path
from indexer.walk import SkippedFile, WalkedFile, walk

_TICK_NS = 2_000_000_000
# More than half of a root's files, and more than this many, gone at once: rather an unmounted disk than an edit.
_MASS = 20


@dataclass(slots=True)
class Changes:
    """What a run has to do. Paths in bytes are names in the index, those in str are absolute."""

    base: Path
    to_read: list[tuple[str, str]] = field(default_factory=list)  # (path, sha256 as last seen or "")
    touched: list[SourceFile] = field(default_factory=list)
    renamed: list[tuple[bytes, SourceFile]] = field(default_factory=list)
    deleted: list[bytes] = field(default_factory=list)
    skipped: list[SourceFile] = field(default_factory=list)
    still_skipped: list[tuple[str, str]] = field(default_factory=list)
    known_documents: set[bytes] = field(default_factory=set)
    unchanged: int = 0
    ignored: list[tuple[str, str]] = field(default_factory=list)
    deleted_documents: int = 0
    covered_documents: int = 0  # indexed files under the paths given, before this run
    walked: dict[str, WalkedFile] = field(default_factory=dict)

    def name(self, path: str) -> str:
        """Name an absolute path as the index does: relative to its base where it lies under it."""
        return index_name(self.base, path)

    def source_of(self, result: FileResult) -> SourceFile:
        """Describe a file as its reader saw it."""
        walked = self.walked[result.path]
        return SourceFile(
            path=encode_path(self.name(result.path)),
            size=result.size,
            mtime_ns=result.mtime_ns,
            ctime_ns=walked.ctime_ns,
            inode=walked.inode,
            digest=result.digest,
            skipped=result.skipped or None,
            notes=result.notes,
        )

    def refuse_if_empty(self, paths: Sequence[Path]) -> None:
        """Raise NothingToIndex where there is no file to read at all."""
        if not self.to_read:
            reasons = sorted({source.skipped or "" for source in self.skipped})
            why = f"{len(self.ignored)} ignored" + (
                f", {len(self.skipped)} skipped: {'; '.join(reasons[:3])}" if reasons else ""
            )
            raise NothingToIndex(f"{paths[0]}: nothing to index in it ({why})")

    def refuse_mass_deletion(self, *, allowed: bool) -> None:
        """Raise MassDeletion when more than half of the indexed files under the paths, and more than 20, are gone."""
        gone = self.deleted_documents
        if not allowed and gone > _MASS and 2 * gone > self.covered_documents:
            raise MassDeletion(
                f"{gone} of {self.covered_documents} indexed files are gone from disk: nothing was changed "
                "(is a disk not mounted? if they are meant to be gone, add --allow-mass-delete)"
            )


def index_name(base: Path, path: str) -> str:
    """Name an absolute path relative to ``base`` where it lies under it, with forward slashes."""
    prefix = str(base).rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path


def find_changes(
    paths: Sequence[Path], base: Path, known: Iterable[SourceFile], options: Options, progress: Progress = SILENT
) -> Changes:
    """Compare what is on disk under ``paths`` with what the index knows.

    Raises NothingToIndex where a path cannot be read; nothing outside ``paths`` is looked at or counted as gone.
    """
    changes = Changes(base)
    stored = {source.path: source for source in known}
    changes.known_documents = {path for path, source in stored.items() if source.skipped is None}
    seen: set[bytes] = set()
    unreadable: list[bytes] = []
    unknown: list[WalkedFile] = []
    for root in paths:
        for found in walk(
            root, exclude=options.exclude, max_bytes=options.max_bytes, follow=options.follow, hidden=options.hidden
        ):
            name = encode_path(changes.name(found.path))
            if name in seen:
                continue  # roots that overlap
            if isinstance(found, SkippedFile):
                _note_skipped(changes, found, name, stored, seen, unreadable)
                continue
            progress.advance(detail=os.path.basename(found.path))
            seen.add(name)
            changes.walked[found.path] = found
            before = stored.get(name)
            if before is None:
                unknown.append(found)
            elif _is_unchanged(found, before):
                if before.skipped is None:
                    changes.unchanged += 1
                else:
                    changes.still_skipped.append((os.fsdecode(name), before.skipped))
            else:
                changes.to_read.append((found.path, before.digest if before.skipped is None else ""))
    covered = under([encode_path(changes.name(str(root))) for root in paths], base)
    unread = under(unreadable, base)
    gone = [path for path in stored if path not in seen and covered(path) and not unread(path)]
    vanished = {path: stored[path] for path in gone}
    changes.covered_documents = sum(map(covered, changes.known_documents))
    _match_renames(changes, unknown, vanished)
    changes.deleted = sorted(vanished)
    changes.deleted_documents = sum(source.skipped is None for source in vanished.values())
    return changes


def _note_skipped(
    changes: Changes,
    found: SkippedFile,
    name: bytes,
    stored: dict[bytes, SourceFile],
    seen: set[bytes],
    unreadable: list[bytes],
) -> None:
    if is_index(Path(found.path)):
        return  # ours or another's: nobody expects it to be indexed
    if found.expected:
        changes.ignored.append((os.fsdecode(name), found.reason))
        return
    seen.add(name)
    unreadable.append(name)  # where it is a folder, what was indexed from it is not gone
    before = stored.get(name)
    if before is not None and before.skipped == found.reason:
        changes.still_skipped.append((os.fsdecode(name), found.reason))
    else:
        changes.skipped.append(SourceFile(name, 0, 0, 0, 0, skipped=found.reason))


def _is_unchanged(found: WalkedFile, before: SourceFile) -> bool:
    same = (found.size, found.mtime_ns, found.ctime_ns, found.inode) == (
        before.size,
        before.mtime_ns,
        before.ctime_ns,
        before.inode,
    )
    return same and max(found.mtime_ns, found.ctime_ns) < before.seen_ns - _TICK_NS


def under(roots: Sequence[bytes], base: Path) -> Callable[[bytes], bool]:
    """Give the test whether a name lies at or below one of some roots, all as the index names them."""
    exact, within = frozenset(roots), tuple(root.rstrip(b"/") + b"/" for root in roots)
    has_base = encode_path(str(base)) in exact
    return lambda path: path in exact or path.startswith(within) or (has_base and not path.startswith(b"/"))


def _match_renames(changes: Changes, unknown: list[WalkedFile], vanished: dict[bytes, SourceFile]) -> None:
    """Pair new names with vanished ones of the same content; the rest of the new ones are to be read."""
    by_size: dict[int, list[SourceFile]] = {}
    for source in vanished.values():
        if source.digest and source.skipped is None:
            by_size.setdefault(source.size, []).append(source)
    for found in unknown:
        match = None
        if candidates := by_size.get(found.size):
            digest = _sha256(found.path)
            suffix = os.path.splitext(found.path)[1].encode(errors="surrogateescape")
            same = (source for source in candidates if source.digest == digest and source.path.endswith(suffix))
            match = next(same, None)
        if match is None:
            changes.to_read.append((found.path, ""))
            continue
        by_size[found.size].remove(match)
        del vanished[match.path]
        renamed = replace(
            match,
            path=encode_path(changes.name(found.path)),
            mtime_ns=found.mtime_ns,
            ctime_ns=found.ctime_ns,
            inode=found.inode,
            seen_ns=SourceFile(b"", 0, 0, 0, 0).seen_ns,
        )
        changes.renamed.append((match.path, renamed))


def _sha256(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None  # its reader will say why
