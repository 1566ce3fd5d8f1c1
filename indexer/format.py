"""The on-disk format's number and names. ARCHITECTURE.md describes the format; its history stands here.

1  (2026-11) the first: catalog.sqlite, segments/<id>/{vectors.faiss,rows.i64}, lexical/<generation>-<random>/,
   encoder/<fingerprint>/. With ann/<segment>-<random>/, made only where asked for or large, `requires` holds "ann".
"""

from __future__ import annotations

from pathlib import Path

from indexer.errors import IncompatibleIndex

FORMAT = 1
APPLICATION_ID = 0x5345_4152  # "SEAR" in the catalog's header

FOLDER = ".searchengine"
CATALOG = "catalog.sqlite"
LOCK = "write.lock"
SEGMENTS = "segments"
LEXICAL = "lexical"
ANN = "ann"
ENCODER = "encoder"
DAMAGED = "damaged"  # what repair moved away

FUSION = "fusion"  # the setting that holds fusion weights learnt for this index's encoder and documents

# Features that a reader must know to answer right; an index that requires another one is refused.
KNOWN_REQUIREMENTS = frozenset({ANN})


def refuse_unknown(folder: Path, requires: object) -> None:
    """Raise IncompatibleIndex where an index requires a feature that this version does not know."""
    unknown = (
        requires if not isinstance(requires, list) else [name for name in requires if name not in KNOWN_REQUIREMENTS]
    )
    if unknown:
        raise IncompatibleIndex(
            f"{folder}: needs what this searchengine does not know ({str(unknown)[:80]}); upgrade it"
        )
