"""Search folders and collections by meaning and by words.

    import searchengine
    index = searchengine.index("docs")              # create or update docs/.searchengine
    for hit in index.search("how do retries back off?", k=5):
        print(hit.path, hit.line, hit.score)

Importing this costs nothing: what a call needs is imported when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.documents import Document
    from indexer.errors import SearchEngineError
    from searchengine.api import doctor, index, index_documents, open, optimize, status, verify
    from searchengine.engine import Searcher
    from searchengine.hits import Answer, Hit, Ranking

__version__ = "0.1.0"

_HOME = {
    "open": "searchengine.api",
    "index": "searchengine.api",
    "index_documents": "searchengine.api",
    "doctor": "searchengine.api",
    "status": "searchengine.api",
    "verify": "searchengine.api",
    "optimize": "searchengine.api",
    "Searcher": "searchengine.engine",
    "Hit": "searchengine.hits",
    "Answer": "searchengine.hits",
    "Ranking": "searchengine.hits",
    "Document": "indexer.documents",
    "SearchEngineError": "indexer.errors",
}

__all__ = [
    "Answer",
    "Document",
    "Hit",
    "Ranking",
    "SearchEngineError",
    "Searcher",
    "__version__",
    "doctor",
    "index",
    "index_documents",
    "open",
    "optimize",
    "status",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'searchengine' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
