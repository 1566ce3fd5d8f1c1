"""txtai: vectors in FAISS and its own BM25, fused by equal weights; texts in its SQLite database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.protocol import Hits, serve


class Txtai:
    """``Embeddings(hybrid=True, content=True)``, else as it comes."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Index and save."""
        from txtai import Embeddings

        embeddings = Embeddings(path=str(model), hybrid=True, content=True)
        embeddings.index(zip(ids, texts, strict=True))
        embeddings.save(str(folder))

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Load; the model's path is in the index."""
        from txtai import Embeddings

        embeddings = Embeddings()
        embeddings.load(str(folder))

        def ask(text: str, k: int) -> Hits:
            return [(found["id"], float(found["score"])) for found in embeddings.search(text, k)]

        return ask


if __name__ == "__main__":
    serve(Txtai())
