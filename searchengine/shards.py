"""An index's segments held by actors of a Ray cluster: a query is scattered, and the best of all are gathered exactly.

Each actor scans its segments as the engine would, so that the list is the one that a single process finds. An actor
that does not answer, or has another generation before it yet, costs time only: its segments are scanned here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.cluster import Cluster
from indexer.errors import SearchEngineError
from indexer.progress import SILENT, Progress
from indexer.snapshot import Generation, Snapshot
from indexer.vectors import Segment, best, nearest

Scored = tuple[np.ndarray, np.ndarray]  # passage ids int64 [k], cosines float32 [k]


class Shards:
    """The actors of one index, by default one a CPU of the cluster. Threads may share it."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        *,
        count: int | None = None,
        timeout_s: float = 30.0,
        progress: Progress = SILENT,
    ) -> None:
        """Start the actors and wait until each has opened the index, which must be at the same path on every node.

        Raises what opening an index raises, ClusterError.
        """
        self._cluster = cluster
        self._timeout_s = timeout_s
        self._progress = progress
        self._silent: set[int] = set()
        wanted = sum(cluster.node_cpus) if count is None else count
        holder = cluster.remote(ShardHolder, num_cpus=1, max_restarts=-1, scheduling_strategy="SPREAD")
        self.actors = [holder.remote(folder.absolute()) for _ in range(wanted)]
        cluster.actors += self.actors
        for opened in [actor.generation.remote() for actor in self.actors]:
            cluster.get(opened, progress)

    def nearest(
        self, generation: Generation, query: np.ndarray, count: int, allowed: Sequence[np.ndarray] | None = None
    ) -> Scored:
        """Scan a generation's segments as ``vectors.nearest`` does, each where it is held."""
        shares = _shares(generation.segments, len(self.actors))
        asked = []
        for actor, share in zip(self.actors, shares, strict=True):
            if share:
                names = [generation.segments[at].folder.name for at in share]
                masks = None if allowed is None else [allowed[at] for at in share]
                asked.append(actor.nearest.remote(generation.number, names, query, count, masks))
            else:
                asked.append(None)
        gathered = []
        for number, (reference, share) in enumerate(zip(asked, shares, strict=True)):
            if share:
                found = self._gather(number, reference)
                if found is None:
                    masks = None if allowed is None else [allowed[at] for at in share]
                    found = nearest([generation.segments[at] for at in share], query, count, masks)
                gathered.append(found)
        if not gathered:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return best(np.concatenate([ids for ids, _ in gathered]), np.concatenate([own for _, own in gathered]), count)

    def _gather(self, number: int, reference: object) -> Scored | None:
        """Wait for an actor's answer; None where none is to be had, which is said once for each outage."""
        try:
            found: Scored | None = self._cluster.get(reference, timeout_s=self._timeout_s)
        except SearchEngineError as error:
            if number not in self._silent:
                self._silent.add(number)
                self._progress.note(f"shard {number} does not answer, its segments are searched here ({error})")
            return None
        self._silent.discard(number)
        return found


class ShardHolder:
    """An actor that has an index open and scans the segments that it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._snapshot: Snapshot | None = None

    def generation(self) -> int:
        """Open the index and tell its generation."""
        with self._opened().reading() as generation:
            return generation.number

    def nearest(
        self, number: int, names: Sequence[str], query: np.ndarray, count: int, allowed: Sequence[np.ndarray] | None
    ) -> Scored | None:
        """Scan some segments of a generation; None where another one is the newest here."""
        with self._opened().reading() as generation:
            if generation.number != number:
                return None
            held = {segment.folder.name: segment for segment in generation.segments}
            return nearest([held[name] for name in names], query, count, allowed)

    def _opened(self) -> Snapshot:
        if self._snapshot is None:
            self._snapshot = Snapshot(self._folder)
        return self._snapshot


def _shares(segments: Sequence[Segment], count: int) -> list[list[int]]:
    """Deal segments out, the largest first, each to whoever has fewest rows: their positions, for each of ``count``."""
    shares: list[list[int]] = [[] for _ in range(count)]
    rows = [0] * count
    for at in sorted(range(len(segments)), key=lambda at: -len(segments[at].passages)):
        least = rows.index(min(rows))
        shares[least].append(at)
        rows[least] += len(segments[at].passages)
    return shares
