"""The index directory as a whole: where it is, whether it is one, how a new one is made, what its names mean."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.durable import StoredFile, sealed, storage_errors, sync_folder
from indexer.errors import IncompatibleIndex, NoIndex, UsageError
from indexer.format import ANN, CATALOG, DAMAGED, ENCODER, FOLDER, LEXICAL, LOCK, SEGMENTS
from indexer.lexical import ANALYSER
from indexer.lock import WriterLock
from indexer.seal import SEAL, write_seal

if TYPE_CHECKING:
    from indexer.encoders import Encoder

MIN_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Splitting:
    """How documents become passages: ``mode`` "structure" or "whole" (one passage a document); sizes in tokens."""

    mode: str = "structure"
    tokens: int = 200
    overlap: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that no splitter could keep."""
        if self.mode not in ("structure", "whole"):
            raise UsageError(f"passages are split by 'structure' or kept 'whole', not {self.mode!r}")
        if self.tokens < MIN_TOKENS or not 0 <= self.overlap < self.tokens:
            raise UsageError(
                f"a passage needs at least {MIN_TOKENS} tokens and an overlap below its size, "
                f"not {self.tokens} and {self.overlap}"
            )


def is_index(folder: Path) -> bool:
    """Tell whether a folder is an index (one without a commit yet included)."""
    return (folder / CATALOG).is_file()


def find_index(start: Path) -> Path:
    """Find the index that covers a folder, upward from it as git finds its own; ``start`` may be the index itself.

    Raises NoIndex naming where it was looked for.
    """
    start = start.absolute()
    if is_index(start):
        return start
    for place in (start, *start.parents):
        if is_index(place / FOLDER):
            return place / FOLDER
    raise NoIndex(
        f"{start}: no index here or above (make one with: searchengine index {start}, or name one with --index)"
    )


def place_for(paths: list[Path]) -> Path:
    """Choose where the index of some folders or files belongs: one that covers them already, else beside them.

    Raises UsageError where they have nothing in common but the root of the file system.
    """
    real = [path.resolve() for path in paths]
    folders = [path if path.is_dir() else path.parent for path in real]
    common = Path(os.path.commonpath(folders))
    for place in (common, *common.parents):
        if is_index(place / FOLDER):
            return place / FOLDER
    if common == Path(common.anchor):
        raise UsageError("these folders have nothing in common: say where the index should be with --index DIR")
    return common / FOLDER


def base_of(folder: Path, settings: dict[str, Any]) -> Path:
    """Return the folder that the index's relative names start from."""
    return Path(os.path.normpath(folder.resolve() / settings["base"]))


def base_setting(folder: Path, first_root: Path) -> str:
    """Choose where names start: beside the index where it lies above what it indexes, so that both can be moved."""
    start = (first_root if first_root.is_dir() else first_root.parent).resolve()
    folder = folder.resolve()
    if folder.name == FOLDER and start.is_relative_to(folder.parent):
        return ".."
    return str(start)


def create_index(folder: Path, encoder: Encoder, splitting: Splitting, base: str, model: str | None) -> None:
    """Make a new, empty index (generation 0) that carries its own encoder; readers see none of it before it is whole.

    Raises IncompatibleIndex where the folder holds something else.
    """
    from indexer.catalog import Catalog

    if is_index(folder):
        return  # another process was faster
    if folder.exists() and not (folder.is_dir() and all(_is_ours(path.name) for path in folder.iterdir())):
        raise IncompatibleIndex(f"{folder}: exists and is no index (name an empty or new folder with --index)")
    with storage_errors("creating the index"):
        made = [place for place in (folder, *folder.absolute().parents) if not place.exists()] or [folder]
        folder.mkdir(parents=True, exist_ok=True)
        for place in made:  # else the power takes the index with its folder's name
            sync_folder(place.absolute().parent)
        with WriterLock(folder / LOCK):
            if is_index(folder):
                return  # another process was faster
            for leftover in folder.glob(f"{CATALOG}.*"):  # of a creation that was killed
                leftover.unlink()
            for name in (SEGMENTS, ANN, LEXICAL, ENCODER):
                shutil.rmtree(folder / name, ignore_errors=True)
                (folder / name).mkdir()
            files = write_encoder(folder, encoder)
            sync_folder(folder)
            settings = {
                "base": base,
                "splitting": asdict(splitting),
                "encoder": encoder_setting(encoder, model),
                "analyser": ANALYSER,
                "requires": [],
            }
            # The catalog appears by a rename, with its first rows in it: a half-made one is never seen.
            temporary = folder / f"{CATALOG}.{secrets.token_hex(4)}.tmp"
            catalog = Catalog.create(temporary, settings, files)
            catalog.checkpoint()
            catalog.close(keep_log=False)
            write_seal(folder, temporary)  # first, so that no index is ever without its seal
            temporary.replace(folder / CATALOG)
            sync_folder(folder)


def write_encoder(folder: Path, encoder: Encoder) -> list[StoredFile]:
    """Write the index's own copy of an encoder, flushed, into a new folder of its own, and list its files."""
    from indexer.encoders import store_encoder

    target = folder / ENCODER / encoder.fingerprint
    target.mkdir()
    store_encoder(encoder, target)
    return sealed(target, folder)


def encoder_setting(encoder: Encoder, model: str | None) -> dict[str, Any]:
    """Describe an encoder as the index's setting does; ``model`` is what it was asked for by, None the default."""
    return {
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
        "dimension": encoder.dimension,
        "max_length": encoder.max_length,
        "model": model,
    }


def _is_ours(name: str) -> bool:
    return name in (LOCK, SEGMENTS, ANN, LEXICAL, ENCODER, DAMAGED) or name.startswith((f"{CATALOG}.", SEAL))


def check_splitting(folder: Path, settings: dict[str, Any], asked: Splitting | None) -> None:
    """Refuse to go on splitting otherwise than the index was begun with."""
    stored = Splitting(**settings["splitting"])
    if asked is not None and asked != stored:
        raise IncompatibleIndex(
            f"{folder}: holds passages by {stored.mode!r}, {stored.tokens} tokens, overlap {stored.overlap}, not by "
            f"{asked.mode!r}, {asked.tokens}, {asked.overlap}: leave the sizes out, or index anew with --rebuild"
        )


def check_encoder(folder: Path, settings: dict[str, Any], fingerprint: str, name: str) -> None:
    """Refuse an encoder that is not the one whose vectors the index holds."""
    stored = settings["encoder"]
    if stored["fingerprint"] != fingerprint:
        raise IncompatibleIndex(
            f"{folder}: holds vectors of {stored['name']} ({stored['fingerprint'][:12]}), not of {name} "
            f"({fingerprint[:12]}): leave --model out, or index anew with --rebuild"
        )
