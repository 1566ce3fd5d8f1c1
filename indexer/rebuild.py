"""Index everything anew, beside the old index, and put the new one in its place in one step.

For another model, another passage size, or a catalog that is beyond repair. The old index answers until the new one is
whole; an interrupted rebuild leaves it as it was.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from indexer.build import BuildReport, index_paths
from indexer.durable import sync_folder
from indexer.errors import NothingToIndex
from indexer.format import FUSION
from indexer.index import Splitting, base_of
from indexer.kinds import wish_of
from indexer.options import Options
from indexer.progress import SILENT, Progress
from indexer.writer import Writer

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)


def rebuild(paths: Sequence[Path], folder: Path, options: Options, progress: Progress = SILENT) -> BuildReport:
    """Build the index at ``folder`` anew, with all its roots and ``paths``, and swap the two; the old one is removed.

    ``options.splitting`` None keeps how the index splits; ``options.model`` None takes the default model.

    Raises NothingToIndex where the index holds documents that no file can give again.
    """
    with Writer(folder, wait_s=options.wait_s) as old:
        if old.document_digests():
            raise NothingToIndex(
                f"{folder}: holds documents that a program handed over, which no file gives again "
                "(hand them over once more, to a new index)"
            )
        base = base_of(folder, old.settings)
        stored = (base / os.fsdecode(path) for path in old.roots())
        roots = list(dict.fromkeys(path.resolve() for path in (*stored, *paths)))
        splitting = options.splitting or Splitting(**old.settings["splitting"])
        wish = wish_of(old.settings)
        options = replace(
            options,
            splitting=splitting,
            base=old.settings["base"],
            ann=options.ann or wish.kind,
            recall=options.recall or wish.recall,
        )
        fresh = folder.with_name(f"{folder.name}.rebuild")
        shutil.rmtree(fresh, ignore_errors=True)  # of a rebuild that was interrupted
        try:
            report = index_paths(roots, fresh, options, progress)
            _carry_weights(old, fresh, progress)
            _exchange(fresh, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    report.index = folder
    return report


def _carry_weights(old: Writer, fresh: Path, progress: Progress) -> None:
    """Let learnt fusion weights go with the index where its encoder is the same; another encoder needs others."""
    if (weights := old.settings.get(FUSION)) is None:
        return
    with Writer(fresh) as new:
        if new.settings["encoder"]["fingerprint"] == old.settings["encoder"]["fingerprint"]:
            new.store_setting(FUSION, weights)
        else:
            progress.note("the learnt fusion weights belonged to the old encoder and are gone (searchengine tune)")


def _exchange(fresh: Path, folder: Path) -> None:
    """Swap two folders at one instant; where the file system cannot, by two renames."""
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(fresh), os.fsencode(folder)
    if library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
        return
    aside = folder.with_name(f"{folder.name}.old")
    folder.rename(aside)
    fresh.rename(folder)
    aside.rename(fresh)
