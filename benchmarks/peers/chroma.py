"""Chroma: vectors in its HNSW index, texts beside them. It has no lexical search of its own to fuse with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.dense import load
from benchmarks.peers.protocol import Hits, serve


class Chroma:
    """A persistent collection with cosine distance; vectors by sentence-transformers, as its own function does."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Add in the largest batches that it takes."""
        client = connect(folder)
        collection = client.create_collection("passages", embedding_function=None, metadata={"hnsw:space": "cosine"})
        encode, most = load(model), client.get_max_batch_size()
        for begin in range(0, len(ids), most):
            batch = slice(begin, begin + most)
            collection.add(ids[batch], embeddings=encode(texts[batch]), documents=texts[batch])

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Open the collection."""
        encode = load(model)
        collection = connect(folder).get_collection("passages", embedding_function=None)

        def ask(text: str, k: int) -> Hits:
            found = collection.query(query_embeddings=encode([text]), n_results=k)
            return [(one, 1 - distance) for one, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

        return ask


def connect(folder: Path) -> Any:
    """Open a client that tells nobody."""
    import chromadb

    return chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))


if __name__ == "__main__":
    serve(Chroma())
