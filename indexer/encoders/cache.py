"""The user's cache: what can be computed again but is slow to: exported graphs, hashes, measurements.

Every entry appears whole or not at all; a damaged one is computed again, never an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from indexer.progress import SILENT, Progress

_temporary: Path | None = None


def cache_root(progress: Progress = SILENT) -> Path:
    """Find a writable folder for the cache: $XDG_CACHE_HOME or ~/.cache, else a temporary one, noted once."""
    global _temporary
    if _temporary is not None:
        return _temporary
    wanted = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # the specification tells programs to ignore a relative XDG_CACHE_HOME
        base = Path(wanted) if os.path.isabs(wanted) else Path.home() / ".cache"
        root = base / "searchengine" / "encoders"
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder can be found
        _temporary = Path(tempfile.mkdtemp(prefix="searchengine-encoders-"))
        progress.note(
            f"no writable cache ({error}); encoders are prepared in {_temporary} for this run: set XDG_CACHE_HOME"
        )
        return _temporary


def is_temporary() -> bool:
    """Say whether this process had to keep its cache in a temporary folder."""
    return _temporary is not None


def remember(root: Path, kind: str, key: str, value: dict[str, object]) -> None:
    """Keep a small JSON value; a full or read-only disk only means that it is computed again."""
    try:
        folder = root / kind
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file)
        os.replace(temporary, folder / f"{_digest(key)}.json")
    except OSError:
        return


def recall(root: Path, kind: str, key: str) -> dict[str, object] | None:
    """Read back what ``remember`` kept, or None."""
    try:
        value = json.loads((root / kind / f"{_digest(key)}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def sha256_of(path: Path, root: Path | None = None) -> str:
    """Hash a file; with ``root``, remember the result by path, size, times and inode (90 MB take 0.06 to 0.3 s)."""
    if root is None:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}|{status.st_ino}"
    known = recall(root, "hashes", key)
    if known is not None and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    digest = sha256_of(path)
    remember(root, "hashes", key, {"sha256": digest})
    return digest


def create_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Make ``target`` by filling a temporary folder beside it and renaming; the first of two processes wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise  # not a lost race: the disk's own trouble
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
