"""The Encoder seam: texts → unit vectors. All that the engine knows of a model.

Importing it costs nothing; each function below is one of the doors behind which a heavy library waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from indexer.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from indexer.encoders.cross import CrossEncoder
    from indexer.encoders.tokens import TokenEncoder


class Encoder(Protocol):
    """Turns texts into unit vectors.

    ``fingerprint`` identifies weights, tokenizer, pooling, prompts, normalisation and truncation length: two encoders
    with the same fingerprint give interchangeable vectors (cosine > 0.999), whatever backend runs them.
    ``max_length`` counts tokens, special ones included; longer texts are cut there. ``tokenizer`` neither truncates
    nor pads; ``folder`` is where the encoder's own files lie; ``passages_at_once`` given together keep it busy.
    """

    dimension: int
    max_length: int
    passages_at_once: int
    fingerprint: str
    name: str
    backend: str
    folder: Path

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoder's own tokenizer, for splitting texts."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Encode passages, with the model's passage prompt: n texts → float32 [n, dimension], rows of unit length."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Encode queries, with the model's query prompt: n texts → float32 [n, dimension], rows of unit length."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text by the encoder's own tokenizer, without special tokens and untruncated."""
        ...

    def readable(self, text: str) -> float:
        """Tell the share of a text's letters, 0 to 1, that the tokenizer reads in words and pieces of words.

        The rest it spells letter by letter or does not know: a text in a language that the model has not learnt.
        """
        ...


def load_encoder(
    model: str | Path | None = None,
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Encoder:
    """Load the encoder for indexing: None is the default model, else a sentence-transformers folder or a name.

    ``backend``: auto (the fastest here, measured once), openvino, onnx, onnx-int8, torch. ``device``: auto, cpu, cuda.
    The first load on a machine exports the model to the user's cache (5 to 15 s); later ones need no torch.
    Raises ModelError when the model cannot be had or trusted, UsageError for an unknown backend or device.
    """
    from indexer.encoders.cache import cache_root
    from indexer.encoders.choose import choose
    from indexer.encoders.export import prepare
    from indexer.encoders.model_folder import find

    root = cache_root(progress)
    folder = find(model, root)
    described, prepared = prepare(folder, root, progress)
    return choose(described, prepared, folder, root, backend=backend, device=device, threads=threads, progress=progress)


def store_encoder(encoder: Encoder, folder: Path) -> None:
    """Write all that a query needs into an existing, empty folder; its caller makes it durable.

    Raises ModelError for an encoder that neither ``load_encoder`` nor ``load_stored_encoder`` made.
    """
    from indexer.encoders.batching import BatchedEncoder
    from indexer.encoders.stored import store
    from indexer.errors import ModelError

    if not isinstance(encoder, BatchedEncoder):
        raise ModelError(f"{encoder.name}: an encoder of another make has no graph to store")
    store(encoder, folder)


def load_stored_encoder(folder: Path, *, threads: int | None = None) -> Encoder:
    """Load the encoder for queries out of an index, by numpy, tokenizers and onnxruntime alone.

    Raises ModelError when its description is missing or malformed, DamagedIndex when a file is not the one described.
    """
    from indexer.encoders.stored import load

    return load(folder, threads=threads)


def load_stored_tokens(folder: Path, *, threads: int | None = None) -> TokenEncoder:
    """Load what gives the vectors of tokens out of an index, for late interaction, by the same libraries.

    Raises as ``load_stored_encoder`` does, and ModelError for an index that an earlier version made.
    """
    from indexer.encoders.stored import load_tokens

    return load_tokens(folder, threads=threads)


def load_cross_encoder(model: str | Path, *, progress: Progress = SILENT) -> CrossEncoder:
    """Load a sentence-transformers CrossEncoder for queries: a folder or a name on the hub.

    The first load on a machine exports it to the user's cache (5 to 15 s); later ones need no torch.
    Raises ModelError when it cannot be had or trusted, or is no cross-encoder.
    """
    from indexer.encoders.cache import cache_root
    from indexer.encoders.model_folder import find

    root = cache_root(progress)
    folder = find(model, root)
    from indexer.encoders.export_cross import prepare_cross

    return prepare_cross(folder, root, progress)
