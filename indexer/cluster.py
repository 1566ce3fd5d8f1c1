"""Reading, splitting and encoding on a Ray cluster; results come back to the one writer, in the order asked for.

A lost worker costs time only: its tasks are functions of files and texts, Ray runs them again elsewhere, and each
request has one answer, so that nothing is lost or doubled. What is under way is bounded, hence memory too, here and in
the object store. Files must have the same path on every node; the index needs no other place than the driver's own.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.documents import Document, Passage
from indexer.errors import ClusterError, SearchEngineError, UsageError
from indexer.index import Splitting
from indexer.options import Options
from indexer.progress import SILENT, Progress
from indexer.readers.source import VANISHED
from indexer.readers.worker import FileRequest, ReaderPool
from indexer.work import Encoders, LocalWork, Read, encode_by_slices, passages_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from indexer.encoders import Encoder

LOCAL = "local"
RETRIES = 3  # of a task whose worker died; a file or a text that kills its worker each time must not run for ever
BLOCK_FILES = 8
BLOCK_BYTES = 4 << 20
OBJECT_STORE_BYTES = 1 << 29  # of a cluster that is started here: blocks of text and vectors, none above a few MB
_READER_SHARE = 0.25  # of a CPU: reading and splitting take about a fifth of what encoding takes
_MOST_THREADS = 4  # of one encoder on a CPU; more encoders serve better than larger ones
_PATIENCE_S = 60.0


def check(address: str) -> None:
    """Refuse to begin where no cluster could be used. Raises ClusterError, UsageError."""
    if find_spec("ray") is None:
        raise ClusterError("Ray is not installed: pip install 'searchengine[ray]', or leave --ray out")
    if os.path.isdir(address):
        raise UsageError(f"--ray takes a cluster's address, and {address} is a folder: write the folder before --ray")


def import_ray() -> Any:
    """Import Ray so that it tells nobody of its use, and prints nothing: it writes of lost workers to stdout."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning that its default will change
    import ray

    return ray


class Cluster:
    """A connection to a Ray cluster: the caller's own, one at an address, or one started here and ended with it."""

    def __init__(self, address: str = LOCAL) -> None:
        check(address)
        ray = self._ray = import_ray()
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            started: dict[str, Any] = {}
            if address == LOCAL:
                started = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
            on_sigterm = signal.getsignal(signal.SIGTERM)
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **started)
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would end us without a commit
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ClusterError(f"no Ray cluster at {address!r}: {reason[:200]} (start one: ray start)") from error
        self.actors: list[Any] = []
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.node_cpus = [int(node.get("CPU", 0)) for node in alive]
        self.gpus = int(sum(node.get("GPU", 0) for node in alive))
        if not any(self.node_cpus):
            self.close()
            raise ClusterError(f"the Ray cluster at {address!r} has no CPU to work with")

    def remote(self, work: Callable[..., Any], **options: Any) -> Any:
        """Make a function or a class one that runs on the cluster."""
        return self._ray.remote(**options)(work)

    def put(self, value: object) -> Any:
        """Send a value to the cluster once, for any number of tasks."""
        return self._ray.put(value)

    def get(self, reference: Any, progress: Progress = SILENT, timeout_s: float | None = None) -> Any:
        """Wait for a task's answer; say so once where the cluster lets it wait long.

        Raises what the task raised where a person can act on it, ClusterError where its workers died or in time.
        """
        errors = self._ray.exceptions
        try:
            if timeout_s is None:
                done, _ = self._ray.wait([reference], timeout=_PATIENCE_S)
                if not done:
                    progress.note("the Ray cluster takes its time (is it busy? ray status says more)")
            return self._ray.get(reference, timeout=timeout_s)
        except errors.GetTimeoutError:
            raise ClusterError(f"no answer from the Ray cluster within {timeout_s:g} s") from None
        except errors.RayTaskError as error:
            if isinstance(error.cause, SearchEngineError):
                raise error.cause from None
            raise
        except (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.RaySystemError,
            errors.ObjectLostError,
        ) as error:
            raise ClusterError(
                f"a Ray worker died {RETRIES + 1} times over the same work ({type(error).__name__}); everything "
                "committed so far is kept: see the cluster's logs (memory?), then run the same command again"
            ) from error

    def kill(self, actor: Any) -> None:
        """End an actor at once, whatever it does."""
        self._ray.kill(actor)
        self.actors.remove(actor)

    def close(self) -> None:
        """End our actors, and the cluster if it was started here."""
        for actor in list(self.actors):
            self.kill(actor)
        if self._is_ours:
            self._ray.shutdown()


class ClusterWork:
    """Reads, splits and encodes on a cluster. The cluster is joined when the first file is to be read."""

    block = LocalWork.block  # equal blocks make equal batches, and those make vectors equal to the last bit

    def __init__(self, encoders: Encoders, splitting: Splitting, options: Options, progress: Progress) -> None:
        self._encoders = encoders
        self._splitting = splitting
        self._options = options
        self._progress = progress
        self._cluster: Cluster | None = None
        self._waiting: list[int] = []  # of each encoder, the blocks that it has not given back

    def __enter__(self) -> ClusterWork:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the cluster."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    @property
    def ahead(self) -> int:
        """So many blocks may be under way: each encoder has its next one at hand."""
        return 2 * max(1, len(self._waiting))

    @property
    def backend(self) -> str:
        """What runs the encoders, and how many there are."""
        count = len(self._waiting)
        return f"{count} Ray encoder{'s' * (count != 1)}, {self._encoder_backend}"

    def read(self, requests: Iterable[FileRequest]) -> Generator[Read, None, None]:
        """Read and split files on the cluster, in the order of their requests."""
        cluster = self._join()
        limits = (self._options.file_timeout_s, self._options.max_bytes)
        tokenizer = cluster.put(self._encoders.stored().tokenizer.to_str())
        cpus = 1 if self._has_gpus(cluster) else _READER_SHARE
        read = cluster.remote(read_block, num_cpus=cpus, max_retries=RETRIES, scheduling_strategy="SPREAD")
        blocks = _blocks(requests)
        pending: deque[Any] = deque()
        while True:
            while len(pending) < 2 * sum(cluster.node_cpus) and (block := next(blocks, None)) is not None:
                pending.append(read.remote(block, limits, tokenizer, self._splitting, version("searchengine")))
            if not pending:
                return
            for answer in cluster.get(pending.popleft(), self._progress):
                _refuse_unshared(answer)
                yield answer

    def split(self, document: Document) -> list[Passage]:
        """Split a document that no file gave, here."""
        return passages_of(document, self._splitting, lambda: self._encoders.stored().tokenizer)

    def encode(self, texts: Sequence[str]) -> Callable[[], np.ndarray]:
        """Begin to encode passages on the encoder that has least to do."""
        cluster = self._join()
        if not cluster.actors:
            self._start_encoders(cluster)
        number = min(range(len(self._waiting)), key=lambda at: self._waiting[at])
        self._waiting[number] += 1
        reference = cluster.actors[number].encode.remote(list(texts))

        def wait() -> np.ndarray:
            vectors: np.ndarray = cluster.get(reference, self._progress)
            self._waiting[number] -= 1
            return vectors

        return wait

    def _join(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._options.ray or LOCAL)
        return self._cluster

    def _has_gpus(self, cluster: Cluster) -> bool:
        return cluster.gpus > 0 and self._options.device != "cpu"

    def _start_encoders(self, cluster: Cluster) -> None:
        """Start an encoder a GPU, or encoders of one to four threads on the CPUs, two a node at least.

        The driver loads the encoder too: so that it is the index's, and one backend makes all vectors on CPUs.
        """
        options = self._options
        own = self._encoders.get()
        resources: dict[str, float]
        if self._has_gpus(cluster):
            count, threads, device, backend = cluster.gpus, None, "cuda", options.backend
            resources = {"num_gpus": 1, "num_cpus": 0}
        else:
            threads = max(1, min(_MOST_THREADS, min(filter(None, cluster.node_cpus)) // 2))
            count = max(1, sum(cpus // threads for cpus in cluster.node_cpus))
            device, backend = "cpu", own.backend
            resources = {"num_cpus": threads - _READER_SHARE}
        self._encoder_backend = "torch" if device == "cuda" else backend
        model = self._encoders.model
        if model is not None and os.path.isdir(model):
            model = os.path.abspath(model)
        passages = cluster.remote(
            PassageEncoder, max_restarts=RETRIES, max_task_retries=RETRIES, scheduling_strategy="SPREAD", **resources
        )
        cluster.actors = [passages.remote(model, backend, device, threads, own.fingerprint) for _ in range(count)]
        self._waiting = [0] * count


class PassageEncoder:
    """An actor that holds the encoder. It is loaded by the first task, whose error then reaches the driver whole."""

    def __init__(self, model: str | None, backend: str, device: str, threads: int | None, fingerprint: str) -> None:
        self._wanted = (model, backend, device, threads)
        self._fingerprint = fingerprint
        self._encoder: Encoder | None = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Encode passages: float16 [n, D], as the index keeps them."""
        if self._encoder is None:
            from indexer.encoders import load_encoder

            model, backend, device, threads = self._wanted
            encoder = load_encoder(model, backend=backend, device=device, threads=threads)
            if encoder.fingerprint != self._fingerprint:
                raise ClusterError(
                    f"{platform.node()}: has another {encoder.name} ({encoder.fingerprint[:12]}) than the driver "
                    f"({self._fingerprint[:12]}): give every node the same model and the same searchengine"
                )
            self._encoder = encoder
        return encode_by_slices(self._encoder, texts).astype(np.float16)


def read_block(
    requests: Sequence[FileRequest], limits: tuple[float, int], tokenizer: str, splitting: Splitting, release: str
) -> list[Read]:
    """Read and split some files, each within the limits that any file is read in."""
    if release != version("searchengine"):
        raise ClusterError(f"{platform.node()}: has searchengine {version('searchengine')}, the driver has {release}")
    return [
        Read(result, tuple(passages_of(each, splitting, lambda: _tokenizer(tokenizer)) for each in result.documents))
        for result in _readers(*limits).read(requests)
    ]


@lru_cache(maxsize=1)
def _readers(timeout_s: float, max_bytes: int) -> ReaderPool:
    return ReaderPool(1, timeout_s=timeout_s, max_bytes=max_bytes)


@lru_cache(maxsize=1)
def _tokenizer(description: str) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(description)


def _blocks(requests: Iterable[FileRequest]) -> Iterator[list[FileRequest]]:
    """Cut requests into blocks: a few files, of a few megabytes without the last one."""
    block: list[FileRequest] = []
    size = 0
    for request in requests:
        block.append(request)
        size += _size(request)
        if len(block) >= BLOCK_FILES or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _size(request: FileRequest) -> int:
    try:
        return os.stat(request.target or request.path).st_size
    except OSError:
        return 0  # its reader will say why


def _refuse_unshared(read: Read) -> None:
    """Refuse to believe that a file is gone which is here: the worker sees other files than the driver."""
    path = read.result.path
    if read.result.skipped == VANISHED and os.path.lexists(path):
        raise ClusterError(
            f"{path}: a Ray worker does not see it: put the files where every node finds them under the same path"
        )
