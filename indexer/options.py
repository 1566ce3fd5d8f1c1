"""How an index is built: what a caller may choose, with the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.index import Splitting
from indexer.walk import MAX_BYTES


@dataclass(frozen=True, slots=True)
class Options:
    """How to build. ``model`` None: the index's own, or the default for a new one."""

    model: str | None = None
    backend: str = "auto"
    device: str = "auto"
    jobs: int | None = None
    exclude: Sequence[str] = ()
    max_bytes: int = MAX_BYTES
    file_timeout_s: float = 30.0
    follow: bool = False
    hidden: bool = False
    splitting: Splitting | None = None
    allow_mass_delete: bool = False
    wait_s: float = 0.0
    ray: str | None = None  # a Ray cluster's address; "local": one of this machine's cores; None: no cluster
    ann: str | None = None  # what shards are searched by, and the recall@10 to reach: None, the index's own
    recall: float | None = None
    base: str | None = None  # where names start; chosen by where the index lies
