"""What ``--ann`` may say, and what it means for a shard of some size: a FAISS factory string, or nothing to build.

Knows nothing of files. The sizes at which ``auto`` changes its mind are measured: docs/scale.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from indexer.errors import UsageError
from indexer.format import ANN

KINDS = ("auto", "flat", "hnsw", "ivf", "ivfpq", "rabitq")
# Codes of one byte a dimension, all with one scale: FAISS multiplies them as integers, at the speed of the memory.
BYTES = "SQ8_direct_signed"
_FEW = 256  # rows below which no structure is built, whatever was asked for
# ``auto`` and ``flat``: below so many bytes of codes the scan of fp16 takes less than 1.5 ms ...
_SCANNED_AS_IT_IS = 20 << 20
# ... and below so many the exact scan of bytes takes about 2.5 ms: approximating gains nothing a person would notice.
_SCANNED_AS_BYTES = 80 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What an index's shards shall be searched by: a kind or a FAISS factory string, and the recall@10 to reach."""

    kind: str = "auto"
    recall: float = 0.95

    def __post_init__(self) -> None:
        """Refuse a recall that no search could have."""
        if not 0.5 <= self.recall <= 0.999:
            raise UsageError(f"the recall to reach must lie between 0.5 and 0.999, not {self.recall:g}")


def wish_of(settings: dict[str, Any]) -> Wish:
    """Read what an index asks for."""
    return Wish(**settings.get(ANN, {}))


def check(kind: str, dimension: int) -> None:
    """Refuse what is neither a kind nor a FAISS factory string for vectors of this width; raises UsageError."""
    if kind in KINDS:
        return
    make(kind, dimension)


def make(factory: str, dimension: int) -> Any:
    """Make an empty, untrained FAISS index by its factory string, for inner products; raises UsageError."""
    import faiss

    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        reason = str(error).strip().splitlines()[-1].rpartition("Error: ")[2][:120] if str(error).strip() else "refused"
        raise UsageError(
            f"--ann {factory!r:.80} is no kind ({', '.join(KINDS)}) and no factory string of FAISS for "
            f"{dimension} dimensions: {reason}"
        ) from None
    core = core_of(index)
    known = (faiss.IndexIVF, faiss.IndexHNSW, faiss.IndexFlatCodes, faiss.IndexFastScan)
    if (
        not isinstance(core, known)
        or index.metric_type != faiss.METRIC_INNER_PRODUCT
        or isinstance(core, faiss.IndexLSH)
    ):
        raise UsageError(
            f"--ann {factory!r:.80}: {type(core).__name__} is not supported (IVF…, HNSW… and flat codes are, with "
            "transforms before them; scores are refined by the stored vectors anyway)"
        )
    if isinstance(core, faiss.IndexIVF):
        core.cp.min_points_per_centroid = 1  # else FAISS prints a warning of its own
        if BYTES in factory:
            core.by_residual = False  # codes of this kind are the vectors themselves
    return index


def core_of(index: Any) -> Any:
    """Return what a FAISS index is behind its transforms."""
    import faiss

    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def choose(kind: str, rows: int, dimension: int) -> str | None:
    """Choose the FAISS factory string for a shard; None: scan the stored fp16 vectors."""
    if rows < _FEW:
        return None
    size_bytes = rows * dimension
    if kind == "auto":
        kind = "ivf" if size_bytes >= _SCANNED_AS_BYTES else "flat"
    lists = 2 ** round(math.log2(4 * math.sqrt(rows)))
    if kind == "flat":
        return BYTES if size_bytes >= _SCANNED_AS_IT_IS else None
    return {
        "ivf": f"IVF{lists},{BYTES}",
        "hnsw": f"HNSW32,{BYTES}",
        "ivfpq": f"IVF{lists},PQ{_parts(dimension)}x4fs",
        "rabitq": f"IVF{lists},RaBitQ",
    }.get(kind, kind)


def _parts(dimension: int) -> int:
    """Cut vectors into parts of four dimensions, or as near to it as divides the width: half a byte each."""
    return next(dimension // width for width in (4, 3, 2, 5, 6, 7, 1) if dimension % width == 0)
