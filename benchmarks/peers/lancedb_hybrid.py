"""LanceDB: its full-text index and its vectors (exact at this size), fused by its default, reciprocal ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.dense import load
from benchmarks.peers.protocol import Hits, serve


class LanceDB:
    """``search(query_type="hybrid")`` over one table; vectors by sentence-transformers, as its registry does."""

    def index(self, ids: list[str], texts: list[str], folder: Path, model: Path) -> None:
        """Make the table, then its full-text index."""
        import lancedb
        import pyarrow
        from lancedb.index import FTS

        vectors = load(model)(texts)
        width = vectors.shape[1]
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), width)
        rows = pyarrow.table({"id": ids, "text": texts, "vector": column})
        table = lancedb.connect(str(folder)).create_table("passages", rows)
        table.create_index("text", config=FTS())

    def open(self, folder: Path, model: Path) -> Callable[[str, int], Hits]:
        """Open the table."""
        import lancedb
        from lancedb.query import MatchQuery

        encode = load(model)
        table = lancedb.connect(str(folder)).open_table("passages")

        def ask(text: str, k: int) -> Hits:
            asked = table.search(query_type="hybrid").vector(encode([text])[0]).text(MatchQuery(text, "text"))
            found = asked.distance_type("cosine").limit(k).select(["id"]).to_list()
            return [(row["id"], float(row["_relevance_score"])) for row in found][:k]

        return ask


if __name__ == "__main__":
    serve(LanceDB())
