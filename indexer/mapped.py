"""A FAISS index file, opened mapped: nothing is read before it is asked for. Knows nothing of what the index holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_mapped(path: Path, *, read_only: bool = False) -> Any:
    """Open an index file in FAISS; None where a writer has removed it meanwhile.

    The file's checksum is known to be right: FAISS trusts what it reads. Raises RuntimeError, FAISS's for any failure.
    """
    import faiss

    try:
        # FAISS refuses large vectors from 1.15 on unless told; the builds for GPUs are older, and know no such limit
        if hasattr(faiss, "set_deserialization_vector_byte_limit"):
            faiss.set_deserialization_vector_byte_limit(2 * path.stat().st_size)
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | (faiss.IO_FLAG_READ_ONLY if read_only else 0))
    except (FileNotFoundError, RuntimeError):
        if path.exists():
            raise
        return None
