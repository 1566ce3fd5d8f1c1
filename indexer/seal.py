"""The seal: a digest of the catalog outside the catalog, because SQLite notices few flipped bits by itself.

A closed seal tells the catalog's bytes at rest. An open one tells only the generation that was committed last: from the
first commit of a run until its log is folded in. The catalog's file changes under an open seal alone, so what differs
from a closed one is damaged, and a catalog older than its seal, open or closed, has gone back in time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

import xxhash

from indexer.durable import checksum_of, replace_bytes
from indexer.format import CATALOG, FORMAT

SEAL = "catalog.seal"
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Seal:
    """What the seal says. ``size`` and ``checksum`` (xxh3-128) are those of the catalog; an open seal has neither."""

    generation: int
    size: int | None = None
    checksum: str | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether a writer has yet to fold its log in."""
        return self.checksum is None


def write_seal(folder: Path, catalog: Path | None = None) -> None:
    """Seal the catalog of an index: its writer's lock must be held and its log must be empty.

    ``catalog`` is the file that will be renamed to the catalog, where that is still to be done.
    """
    path = catalog or folder / CATALOG
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        (generation,) = connection.execute("SELECT generation FROM state").fetchone()
    finally:
        connection.close()
    _write(folder, Seal(generation, *checksum_of(path)))


def open_seal(folder: Path, generation: int) -> None:
    """Say that ``generation`` is committed and the catalog's file about to change: the writer's lock must be held."""
    _write(folder, Seal(generation))


def _write(folder: Path, seal: Seal) -> None:
    said = {"format": FORMAT, "generation": seal.generation, "size": seal.size, "checksum": seal.checksum}
    body = json.dumps(said)
    replace_bytes(
        folder / SEAL, json.dumps({"body": body, "checksum": xxhash.xxh3_128_hexdigest(body.encode())}).encode()
    )


def read_seal(folder: Path) -> Seal:
    """Read the seal. Raises ValueError saying what is wrong where it is missing or damaged."""
    try:
        descriptor = os.open(folder / SEAL, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("not a file")
            content = os.read(descriptor, _LARGEST + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ValueError("missing") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    try:
        outer = json.loads(content)
        body = outer["body"]
        if outer["checksum"] != xxhash.xxh3_128_hexdigest(body.encode()) or set(outer) != {"body", "checksum"}:
            raise ValueError("altered")
        said = json.loads(body)
        seal = Seal(int(said["generation"]), said["size"], said["checksum"])
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("damaged") from None
    return seal


def went_back(seal: Seal, generation: object) -> str:
    """Say so when a catalog is older than its seal, which was read before the catalog was; "" where it is not."""
    if isinstance(generation, int) and generation >= seal.generation:
        return ""
    return f"at generation {generation!s:.20}, though {seal.generation} was committed: it went back in time"


def has_log(folder: Path) -> bool:
    """Tell whether a write-ahead log waits beside the catalog to be folded in; an empty one does not count."""
    log = folder / f"{CATALOG}-wal"
    return log.exists() and log.stat().st_size > 0


def altered(folder: Path, *, most_bytes: int | None = None) -> str:
    """Say how the catalog's file differs from what was sealed; "" where it does not, or where a writer is at work.

    A catalog of more than ``most_bytes`` is compared by its size only. Raises ValueError where the seal is damaged.
    """
    seal = read_seal(folder)
    if seal.is_open:
        return ""
    path = folder / CATALOG
    size = path.stat().st_size
    wrong = ""
    if size != seal.size:
        wrong = f"{size} bytes long, sealed with {seal.size}"
    elif (most_bytes is None or size <= most_bytes) and checksum_of(path)[1] != seal.checksum:
        wrong = "altered since it was sealed"
    # A writer may have opened the seal and folded its log in meanwhile.
    return wrong if wrong and read_seal(folder) == seal else ""
