"""sentence-transformers: the corpus encoded, every product computed. What the other peers encode with, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.protocol import Hits, serve


def load(model: Path) -> Callable[[list[str]], Any]:
    """Load a model: texts → float32 [n, D], rows of unit length."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(model), device="cpu")
    return lambda texts: encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)


class Dense:
    """``encode`` and a matrix product in numpy."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Keep vectors and ids."""
        import numpy as np

        np.save(folder / "vectors.npy", load(model)(texts))
        (folder / "ids.txt").write_text("\n".join(ids), encoding="utf-8")

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Load the model and map the vectors."""
        import numpy as np

        encode = load(model)
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        ids = (folder / "ids.txt").read_text(encoding="utf-8").split("\n")

        def ask(text: str, k: int) -> Hits:
            scores = vectors @ encode([text])[0]
            return [(ids[row], float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]

        return ask


if __name__ == "__main__":
    serve(Dense())
