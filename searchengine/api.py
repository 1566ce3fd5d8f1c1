"""The public calls behind ``searchengine.open``, ``searchengine.index`` and ``searchengine.index_documents``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.errors import UsageError
from indexer.index import Splitting, find_index, is_index, place_for
from indexer.progress import SILENT, Progress
from searchengine.engine import Searcher

if TYPE_CHECKING:
    from indexer.documents import Document
    from indexer.verify import Finding

type_of_path = str | os.PathLike[str]


def open(path: type_of_path = ".", *, device: str = "cpu", progress: Progress = SILENT) -> Searcher:
    """Open an index for searching: its own folder, or any folder at or below the one it indexes.

    ``device``: "cpu", or "cuda" to hold the vectors on this machine's GPUs; ``progress`` is told where they cannot be.
    Raises NoIndex, IncompatibleIndex, DamagedIndex, UsageError.
    """
    if device == "cpu":
        return Searcher(find_index(Path(path)))
    if device != "cuda":
        raise UsageError(f"no device {device!r}: there are cpu, cuda")
    from searchengine.gpu import GpuNearest

    return Searcher(find_index(Path(path)), nearest=GpuNearest(progress).nearest)


def index(
    paths: type_of_path | Sequence[type_of_path],
    *,
    index: type_of_path | None = None,
    model: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    jobs: int | None = None,
    exclude: Sequence[str] = (),
    max_file_bytes: int | None = None,
    passages: str | None = None,
    passage_tokens: int | None = None,
    overlap: int | None = None,
    ann: str | None = None,
    recall: float | None = None,
    allow_mass_delete: bool = False,
    rebuild: bool = False,
    wait_s: float = 0.0,
    ray: bool | str = False,
    progress: Progress = SILENT,
) -> Searcher:
    """Create or update the index of folders and files, and open it; ``.report`` says what was done.

    Only what changed is read, only passages without a vector are encoded. For a new index: ``passages``, "structure"
    (default) splits each document, "whole" keeps it as one passage, of which the encoder reads as much as its window
    holds; ``passage_tokens`` and ``overlap`` of split ones. ``ann``: what large shards are searched by, "auto", "flat",
    "hnsw", "ivf", "ivfpq", "rabitq" or a FAISS factory string; ``recall``: the recall@10 that such a search shall
    reach. ``rebuild`` indexes everything anew beside the old index, for another model or passage size, and puts it in
    its place when it is whole. ``ray``: read, split and encode on a Ray cluster: the one this program is connected to,
    else the one at an address ("auto": the one running here), else (True) one started for this call.
    Raises NothingToIndex, MassDeletion, IndexBusy, IncompatibleIndex, ModelError, StorageError, ClusterError.
    """
    from indexer.build import index_paths
    from indexer.options import Options
    from indexer.walk import MAX_BYTES

    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    roots = [Path(path) for path in several]
    folder = Path(index) if index is not None else place_for(roots)
    splitting = None
    if passages is not None or passage_tokens is not None or overlap is not None:
        default = Splitting()
        splitting = Splitting(
            mode=default.mode if passages is None else passages,
            tokens=default.tokens if passage_tokens is None else passage_tokens,
            overlap=default.overlap if overlap is None else overlap,
        )
    options = Options(
        model=model,
        backend=backend,
        device=device,
        jobs=jobs,
        exclude=exclude,
        max_bytes=MAX_BYTES if max_file_bytes is None else max_file_bytes,
        splitting=splitting,
        allow_mass_delete=allow_mass_delete,
        ann=ann,
        recall=recall,
        wait_s=wait_s,
        ray="local" if ray is True else ray or None,
    )
    if rebuild and is_index(folder):
        from indexer.rebuild import rebuild as build_anew

        report = build_anew(roots, folder, options, progress)
    else:
        report = index_paths(roots, folder, options, progress)
    return Searcher(folder, report)


def index_documents(
    documents: Iterable[Document],
    index: type_of_path,
    *,
    model: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    passages: str | None = None,
    prune: bool = False,
    wait_s: float = 0.0,
    progress: Progress = SILENT,
) -> Searcher:
    """Store documents of your own, each under its key, and open the index; ``.report`` says what was done.

    ``passages``, for a new index: "structure" (default) splits each document, "whole" keeps it as one passage, of which
    the encoder reads as much as its window holds.
    Unchanged documents are left alone; ``prune`` removes the stored ones that were not given.
    """
    from indexer.build import index_documents
    from indexer.options import Options

    splitting = None if passages is None else Splitting(mode=passages)
    options = Options(model=model, backend=backend, device=device, splitting=splitting, wait_s=wait_s)
    report = index_documents(documents, Path(index), options, progress, prune=prune)
    return Searcher(Path(index), report)


def status(path: type_of_path = ".") -> dict[str, Any]:
    """Describe an index: counts, encoder, generation, bytes on disk, what was skipped and why."""
    from indexer.status import describe

    return describe(find_index(Path(path)))


def verify(path: type_of_path = ".", *, quick: bool = False) -> list[Finding]:
    """Check every file of an index and list what is not as it was written; ``quick`` reads sizes and counts."""
    from indexer.verify import verify

    return verify(find_index(Path(path)), quick=quick)


def optimize(
    path: type_of_path = ".",
    *,
    ann: str | None = None,
    recall: float | None = None,
    wait_s: float = 0.0,
    progress: Progress = SILENT,
) -> int:
    """Merge all segments, write the postings anew without what was removed; return how many segments were merged.

    ``ann`` and ``recall`` change what large shards are searched by, as for ``index``.
    """
    from indexer.merge import optimize

    return optimize(find_index(Path(path)), wait_s=wait_s, ann=ann, recall=recall, progress=progress)


def doctor() -> dict[str, Any]:
    """Describe this machine as far as speed and results depend on it; ``problems`` says what to do about what it lacks.

    Processor, memory, GPUs, library versions, FAISS's build, the encoding backends and which is chosen and why, the
    default model and whether it is the published one, the cache.
    """
    from indexer.doctor import examine

    return examine()
