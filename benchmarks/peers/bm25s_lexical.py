"""bm25s: BM25 (Lucene's formula, its default), with its English stop words and the Snowball stemmer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.protocol import Hits, serve


def analyse(texts: list[str]) -> list[list[str]]:
    """Split texts into stems as bm25s' own documentation shows."""
    import bm25s
    import Stemmer

    stems: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), return_ids=False, show_progress=False
    )
    return stems


class Bm25s:
    """``BM25()`` as it comes."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Score everything beforehand, and save."""
        import bm25s

        scorer = bm25s.BM25()
        scorer.index(analyse(texts), show_progress=False)
        scorer.save(str(folder))
        (folder / "ids.txt").write_text("\n".join(ids), encoding="utf-8")

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Load."""
        import bm25s

        scorer: Any = bm25s.BM25.load(str(folder))
        ids = (folder / "ids.txt").read_text(encoding="utf-8").split("\n")

        def ask(text: str, k: int) -> Hits:
            rows, scores = scorer.retrieve(analyse([text]), k=min(k, len(ids)), show_progress=False)
            return [(ids[row], float(score)) for row, score in zip(rows[0], scores[0], strict=True) if score > 0]

        return ask


if __name__ == "__main__":
    serve(Bm25s())
