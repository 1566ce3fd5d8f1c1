"""Where reading, splitting and encoding happen: by default in processes of this machine. Knows nothing of commits.

``Work`` is the seam: another implementation (``cluster.py``) does the same elsewhere and gives the same results in the
same order, so that ids, passages and hits do not tell where an index was built.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from indexer.chunk import split, whole
from indexer.documents import Document, Passage
from indexer.index import Splitting
from indexer.options import Options
from indexer.readers.worker import FileRequest, FileResult, ReaderPool

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from indexer.encoders import Encoder

BLOCK = 1024  # passages, until the encoder says how many keep it busy
SLICES = 4  # of a block: on a CPU 256 passages, some seconds on a slow machine
# A block as small as this is encoded by the index's own graph, loaded already for its tokenizer: the fastest backend
# takes half a second to load, as long as that graph takes for so much text.
FEW_CHARACTERS = 6000


@dataclass(frozen=True, slots=True)
class Read:
    """What a file gave, and the passages of each of its documents, to be taken once: they may be split as they are."""

    result: FileResult
    passages: Iterable[list[Passage]]


class Encoders(Protocol):
    """Gives an encoder when the first passage needs it. ``model`` names it, None the default one."""

    @property
    def model(self) -> str | None:
        """The model's name or folder."""
        ...

    @property
    def loaded(self) -> bool:
        """Tell whether the encoder for passages is loaded."""
        ...

    def get(self) -> Encoder:
        """Return the encoder for passages."""
        ...

    def stored(self) -> Encoder:
        """Return the index's own encoder, for its tokenizer."""
        ...


class Work(Protocol):
    """What a build asks for. ``block``: passages encoded together; ``ahead``: blocks begun before one is waited for."""

    block: int

    @property
    def ahead(self) -> int:
        """So many blocks may be under way."""
        ...

    def __enter__(self) -> Work:
        """Begin; nothing is started before it is needed."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End whatever was started."""
        ...

    def read(self, requests: Iterable[FileRequest]) -> Generator[Read, None, None]:
        """Read and split files: one answer for each request, in their order, taken only a little ahead."""
        ...

    def split(self, document: Document) -> list[Passage]:
        """Split a document that no file gave."""
        ...

    def encode(self, texts: Sequence[str]) -> Callable[[], np.ndarray]:
        """Begin to encode passages; the call returned waits for their vectors, [n, D] with rows of unit length."""
        ...

    @property
    def backend(self) -> str:
        """What runs the encoder."""
        ...


class LocalWork:
    """Reading in limited processes, splitting here, encoding in a thread: the encoder works while the next are read."""

    block = BLOCK
    ahead = 1  # encoding takes all cores; what it must not wait for is reading, splitting and staging

    def __init__(self, encoders: Encoders, splitting: Splitting, options: Options) -> None:
        self._encoders = encoders
        self._splitting = splitting
        self._options = options
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._over = threading.Event()
        self._backend = ""

    def __enter__(self) -> LocalWork:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the thread, after the slice it is at; the readers end with ``read``."""
        self._over.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def read(self, requests: Iterable[FileRequest]) -> Generator[Read, None, None]:
        """Read and split files in the order of their requests."""
        options = self._options
        jobs = options.jobs or min(os.cpu_count() or 1, 4)
        with ReaderPool(jobs, timeout_s=options.file_timeout_s, max_bytes=options.max_bytes) as readers:
            for result in readers.read(requests):
                yield Read(result, map(self.split, result.documents))

    def split(self, document: Document) -> list[Passage]:
        """Split a document as the index does."""
        return passages_of(document, self._splitting, lambda: self._encoders.stored().tokenizer)

    def encode(self, texts: Sequence[str]) -> Callable[[], np.ndarray]:
        """Begin to encode passages, after those that were begun before."""
        encoder = self._encoder(texts)  # here: what it has to say, it says in the caller's thread
        if encoder.passages_at_once > BLOCK:  # GPUs
            self.block = encoder.passages_at_once
        self._backend = encoder.backend
        return self._thread.submit(encode_by_slices, encoder, texts, self._over).result

    def _encoder(self, texts: Sequence[str]) -> Encoder:
        """Choose by how much there is to encode, where nobody chose and nothing is loaded yet."""
        options = self._options
        asked = options.model is not None or options.backend != "auto" or options.device == "cuda"
        if asked or self._encoders.loaded or sum(map(len, texts)) > FEW_CHARACTERS:
            return self._encoders.get()
        return self._encoders.stored()

    @property
    def backend(self) -> str:
        """What runs the encoder."""
        return self._backend


def passages_of(document: Document, splitting: Splitting, tokenizer: Callable[[], Tokenizer]) -> list[Passage]:
    """Split a document as an index does."""
    if splitting.mode == "whole":
        return whole(document)
    return split(document, tokenizer(), tokens=splitting.tokens, overlap=splitting.overlap)


def encode_by_slices(encoder: Encoder, texts: Sequence[str], over: threading.Event | None = None) -> np.ndarray:
    """Encode passages by slices of like length, so that an interrupted run need not wait for all of them.

    n texts → [n, D]. Whoever encodes a block encodes it by this, so that vectors do not tell where.
    Raises CancelledError between two slices once ``over`` is set.
    """
    import numpy as np

    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    order = np.argsort([-len(text) for text in texts], kind="stable")
    step = max(1, encoder.passages_at_once // SLICES)
    for places in np.split(order, range(step, len(order), step)):
        if over is not None and over.is_set():
            raise CancelledError
        vectors[places] = encoder.encode_passages([texts[place] for place in places])
    return vectors
