"""A zip of one folder → that folder, whole or not at all. No archive is trusted with where its files go.

Knows nothing of data sets.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from benchmarks.lines import shown
from indexer.durable import sync_file, sync_folder
from indexer.errors import DataError, StorageError

LIMIT_BYTES = 32 << 30  # unpacked; BEIR's largest is a quarter of that
LIMIT_ENTRIES = 10_000
IGNORED = "__MACOSX"  # what macOS adds to its archives
ENCRYPTED = 0x1


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip whose entries all lie in one folder of ``folder``'s name; it appears when all of it is on disk.

    Raises DataError for an archive that is damaged, too large, or names a place outside, a link or anything but files;
    StorageError when it cannot be written. Nothing is left behind then.
    """
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        with zipfile.ZipFile(archive) as file:
            for entry, place in check_entries(file, archive, folder.name):
                target = part.joinpath(*place.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(entry) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                sync_file(target)
        part.chmod(0o755)  # mkdtemp's folders are their owner's alone
        part.rename(folder)
        sync_folder(folder.parent)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive}: damaged archive: {error} (fetch it again)") from error
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be unpacked: {error.strerror or error} (nothing was kept of it; free some space)"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_entries(file: zipfile.ZipFile, archive: Path, name: str) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """List the files to unpack, each with its place below the folder ``name``. Raises DataError for any that is unfit.

    The sizes are the archive's own word; zipfile stops reading an entry there, so that no more can come out.
    """
    entries = file.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > LIMIT_ENTRIES or size > LIMIT_BYTES:
        raise DataError(
            f"{archive}: {len(entries):,} entries of {size:,} bytes: too large for a data set, not unpacked"
        )
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        place = PurePosixPath(entry.filename)
        if place.parts[:1] == (IGNORED,):
            continue
        # zipfile cuts a name at NUL and knows "\" as a separator on Windows alone: such a name is not to be trusted.
        outside = place.is_absolute() or ".." in place.parts or "\\" in entry.filename or ":" in entry.filename
        if outside or place.parts[:1] != (name,) or "\0" in entry.orig_filename:
            raise DataError(f"{archive}: the entry {shown(entry.filename)} lies outside {name}/ (nothing was unpacked)")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or entry.flag_bits & ENCRYPTED:
            raise DataError(f"{archive}: the entry {shown(entry.filename)} is no plain file (nothing was unpacked)")
        if entry.is_dir():
            continue
        if len(place.parts) == 1:
            raise DataError(f"{archive}: {name} is a file in it, not a folder (nothing was unpacked)")
        inner = place.relative_to(name)
        if inner in found or any(parent in found for parent in inner.parents):
            raise DataError(f"{archive}: the entry {shown(entry.filename)} is there twice (nothing was unpacked)")
        found[inner] = entry
    return [(entry, inner) for inner, entry in found.items()]
