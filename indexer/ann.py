"""A structure derived from a segment's vectors, opened for search: mapped, never the truth, never the final score.

``ann/<segment>-<random>/`` holds ``ann.faiss``, whose ids are the segment's rows, and ``ann.json``, which says how it
is searched. It proposes rows; the segment scores them by its own fp16 vectors. Where a search by it would not be right
or not be quicker it proposes nothing, and the segment is scanned. Knows nothing of how it was built.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import DamagedIndex
from indexer.kinds import core_of
from indexer.mapped import open_mapped

INDEX = "ann.faiss"
DESCRIPTION = "ann.json"
FORMAT = 1
# A filter that leaves fewer than one row in so many is answered by a scan of those rows.
_NARROW = 8
# A list of k candidates is cut from at least so many times k codes: the recall target is about the first ten alone.
_SCANNED_PER_CANDIDATE = 8
_REPAIR = "searchengine verify --repair"
_DEVIATIONS = 6
_PEAK = 127  # of a signed byte

Exact = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Description:
    """How a structure was built and how it is searched.

    ``scale``: what vectors were multiplied by before coding. ``exact``: every row is coded as bytes and scanned, and as
    many are scored again as it takes for the answer to be the exact one.
    ``effort`` is the value of ``parameter`` ("nprobe", "efSearch" or "" where there is none) that reached ``recall``,
    the recall@10 measured on ``questions`` against the exact scan when the target was ``target``; ``rerank``: so many
    candidates are scored again for the first ten. ``lists``: inverted lists, 0 where there are none.
    """

    kind: str
    factory: str
    rows: int
    dimension: int
    scale: float
    exact: bool
    target: float
    recall: float
    questions: int
    parameter: str
    effort: int
    rerank: int
    lists: int
    seconds: float

    def to_json(self) -> str:
        """Render ``ann.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"


def read_description(folder: Path) -> Description:
    """Read ``ann.json``, whose checksum the catalog holds. Raises DamagedIndex where it is not one."""
    path = folder / DESCRIPTION
    try:
        said = json.loads(path.read_bytes())
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']!r:.20}")
        return Description(**{field.name: said[field.name] for field in fields(Description)})
    except FileNotFoundError:
        raise
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DamagedIndex(f"{path}: unreadable ({str(error)[:80]}; mend it with: {_REPAIR})") from None


def folders_of(paths: Iterable[str]) -> dict[str, str]:
    """Map segments to the folders under ``ann/`` that are theirs: paths of files within the index → {segment: name}."""
    names = {path.split("/")[1] for path in paths}
    return {name.rpartition("-")[0]: name for name in names}


class Ann:
    """One derived structure; its FAISS index is opened by the first search, which pays for importing FAISS."""

    def __init__(self, folder: Path, description: Description) -> None:
        self.folder = folder
        self.description = description
        self._index: Any = None

    @property
    def is_exact(self) -> bool:
        """Tell whether what it proposes holds the exact answer."""
        return self.description.exact

    def propose(
        self, query: np.ndarray, count: int, mask: np.ndarray | None, exact: Exact
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Find rows [m] worth being among the ``count`` best of those that ``mask`` [n] leaves, with exact cosines [m].

        None where a scan of the segment is right or quicker: a narrow filter, too few found, the file gone with its
        generation. query [D] float32; ``exact`` gives the cosines of rows.
        """
        left = self.description.rows if mask is None else int(np.count_nonzero(mask))
        if left == 0 or left * _NARROW < self.description.rows or not self._opens():
            return None
        bitmap = None if mask is None else np.packbits(mask, bitorder="little")
        if self.is_exact:
            return self._propose_exactly(query, min(count, left), left, bitmap, exact)
        effort = self._effort(count, left)
        depth = min(max(count, self.description.rerank), self.description.rows)
        rows = self.nearest(query, depth, effort, bitmap)
        if len(rows) < min(count, left):
            return None
        return rows, exact(rows)

    def nearest(self, query: np.ndarray, depth: int, effort: int, bitmap: np.ndarray | None = None) -> np.ndarray:
        """Return the ``depth`` nearest rows in the order of the codes, best first: int64 [k], k <= depth.

        ``bitmap``: one bit a row, those to look at.
        """
        if not self._opens():
            raise DamagedIndex(f"{self.folder}: missing")
        return self._search(self._scaled(query), depth, bitmap, effort)[0]

    def _effort(self, count: int, left: int) -> int:
        """Raise the calibrated effort for long lists, and for filters: the share they leave is all that is found."""
        said = self.description
        if said.parameter == "nprobe":
            for_depth = _SCANNED_PER_CANDIDATE * count * said.lists / said.rows
            return min(said.lists, round(max(said.effort, for_depth) * said.rows / left))
        return max(said.effort, round(said.effort * said.rows / left)) if said.parameter else 0

    def _propose_exactly(
        self, query: np.ndarray, count: int, left: int, bitmap: np.ndarray | None, exact: Exact
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Scan the bytes, then score again as many of the first as it takes until none beyond can be among the best.

        Rounding to steps s of the codes and t of the query moves a product of unit vectors by an error of standard
        deviation sqrt((s² + t²) / 12), if roundings are independent; no row is believed to be off by six of these.
        """
        said = self.description
        step = float(np.abs(query).max()) / _PEAK or 1.0
        coded = np.round(query / step)
        bound = _DEVIATIONS * math.sqrt((step**2 + said.scale**-2) / 12)
        depth = count + count // 2 + 64
        while depth * _NARROW <= left:
            rows, products = self._search(coded, depth, bitmap, 0)
            scores = exact(rows)
            if (
                len(rows) == left
                or float(products[-1]) * step / said.scale + bound < np.partition(scores, -count)[-count]
            ):
                return rows, scores
            depth *= 3
        return None

    def _scaled(self, query: np.ndarray) -> np.ndarray:
        """Bring a query to what the codes can be multiplied by: FAISS cuts it to bytes where they are bytes."""
        if self.description.scale == 1:
            return query
        return np.round(query * (_PEAK / (float(np.abs(query).max()) or 1.0)))

    def _search(
        self, query: np.ndarray, depth: int, bitmap: np.ndarray | None, effort: int
    ) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        parameters = _parameters(faiss, self._index, bitmap, effort)
        products, rows = self._index.search(query[None, :].astype(np.float32), depth, params=parameters)
        found = rows[0] >= 0  # FAISS fills up with -1
        return rows[0][found].astype(np.int64), products[0][found]

    def _opens(self) -> bool:
        """Map the file; False where a writer has removed it meanwhile."""
        if self._index is None:
            self._index = open_mapped(self.folder / INDEX, read_only=True)
        return self._index is not None


def _parameters(faiss: Any, index: Any, bitmap: np.ndarray | None, effort: int) -> Any:
    """Say how hard to look, and at which rows, in the shape that each family of FAISS's wants."""
    chosen = {} if bitmap is None else {"sel": faiss.IDSelectorBitmap(bitmap)}
    core = core_of(index)
    if isinstance(core, faiss.IndexIVF):
        inner = faiss.SearchParametersIVF(nprobe=effort, **chosen)
    elif isinstance(core, faiss.IndexHNSW):
        inner = faiss.SearchParametersHNSW(efSearch=effort, **chosen)
    else:
        inner = faiss.SearchParameters(**chosen) if chosen else None
    if inner is not None and isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=inner)
    return inner
