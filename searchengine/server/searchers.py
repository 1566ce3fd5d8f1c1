"""Several openings of one index, so that as many questions are answered at once. Used by threads, knows no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import LifoQueue
from typing import Any, TypeVar

from searchengine.engine import Searcher

T = TypeVar("T")


class Searchers:
    """A pool of searchers and their threads. The first is opened at once: its errors are the caller's.

    ``rerank``: the engine's options by which every question's best are read again; whoever serves chooses the model.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        open_one: Callable[[Path], Searcher] = Searcher,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.rerank = dict(rerank or {})
        self._open = open_one
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="search")
        self._free: LifoQueue[Searcher | None] = LifoQueue()  # the one used last has its pages at hand
        for _ in range(count - 1):
            self._free.put(None)  # opened when it is needed
        first = open_one(folder)
        if first.count()[0]:
            first.rank("warm", 1, **self.rerank)  # loads the encoder, and what reads again
        self._free.put(first)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Let a thread do some work."""
        return self._threads.submit(work)

    @contextmanager
    def one(self) -> Iterator[Searcher]:
        """Borrow a searcher; waits where all are lent."""
        searcher = self._free.get()
        try:
            if searcher is None:
                searcher = self._open(self.folder)
            yield searcher
        finally:
            self._free.put(searcher)

    def generation(self) -> int:
        """Tell which generation answers now."""
        with self.one() as searcher:
            return searcher.generation()

    def close(self) -> None:
        """End the threads, close the searchers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        while not self._free.empty():
            searcher = self._free.get()
            if searcher is not None:
                searcher.close()
