"""rank-bm25: BM25Okapi as it comes, over the stems that bm25s is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.bm25s_lexical import analyse
from benchmarks.peers.protocol import Hits, serve


class RankBm25:
    """It keeps nothing on disk: the stems are kept for it, and it is built when it is opened."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Analyse, and keep the stems."""
        (folder / "stems.json").write_text(json.dumps([ids, analyse(texts)]), encoding="utf-8")

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Build it from the stems."""
        import numpy as np
        from rank_bm25 import BM25Okapi

        ids, stems = json.loads((folder / "stems.json").read_text(encoding="utf-8"))
        scorer = BM25Okapi(stems)

        def ask(text: str, k: int) -> Hits:
            scores = scorer.get_scores(analyse([text])[0])
            best = np.argsort(-scores, kind="stable")[:k]
            return [(ids[row], float(scores[row])) for row in best if scores[row] > 0]

        return ask


if __name__ == "__main__":
    serve(RankBm25())
