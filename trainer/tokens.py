"""Texts as token ids: tokenised once, kept in one flat file, read by memory map.

A file of uint32 beside one of offsets, so that a hundred million characters cost 100 MB of disk and no memory.
Knows nothing of documents or training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

TEXTS = 512  # tokenised together
CHARACTERS = 2_000_000  # and no more than this at once: a book stands alone


class TokenStore:
    """Token ids of n texts, without special tokens: ``store[i]`` is int32 [tokens of text i]."""

    def __init__(self, ids: np.ndarray, offsets: np.ndarray) -> None:
        """Take ids [all tokens] and offsets [n + 1]; ``ids`` may be a memory map."""
        self.ids = ids
        self.offsets = offsets

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        """Copy out the ids of one text."""
        return np.asarray(self.ids[self.offsets[number] : self.offsets[number + 1]], dtype=np.int32)

    def length(self, number: int) -> int:
        """Count the tokens of one text."""
        return int(self.offsets[number + 1] - self.offsets[number])

    @property
    def lengths(self) -> np.ndarray:
        """Count the tokens of each text: int64 [n]."""
        return np.diff(self.offsets)


def tokenise(texts: Iterable[str], tokenizer: Tokenizer, file: Path | None = None) -> TokenStore:
    """Tokenise texts in order, streamed; in memory, or into ``file`` and its ``.offsets`` beside it."""
    parts: list[np.ndarray] = []
    offsets = [0]
    out = None if file is None else file.open("wb")
    try:
        for block in blocks(texts):
            for encoding in tokenizer.encode_batch_fast(block, add_special_tokens=False):
                ids = np.asarray(encoding.ids, dtype=np.uint32)
                offsets.append(offsets[-1] + len(ids))
                if out is None:
                    parts.append(ids)
                else:
                    out.write(ids.tobytes())
    finally:
        if out is not None:
            out.close()
    bounds = np.asarray(offsets, dtype=np.int64)
    if file is None:
        return TokenStore(np.concatenate(parts) if parts else np.empty(0, np.uint32), bounds)
    bounds.tofile(file.with_suffix(".offsets"))
    return open_store(file)


def open_store(file: Path) -> TokenStore:
    """Map a store that ``tokenise`` wrote."""
    offsets = np.fromfile(file.with_suffix(".offsets"), dtype=np.int64)
    if not file.stat().st_size:
        return TokenStore(np.empty(0, np.uint32), offsets)
    return TokenStore(np.memmap(file, dtype=np.uint32, mode="r"), offsets)


def blocks(texts: Iterable[str]) -> Iterable[Sequence[str]]:
    """Cut a stream of texts into lists small enough to tokenise at once."""
    stream = iter(texts)
    while first := list(islice(stream, 1)):
        block, characters = first, len(first[0])
        while len(block) < TEXTS and characters < CHARACTERS:
            following = list(islice(stream, 1))
            if not following:
                break
            block += following
            characters += len(following[0])
        yield block
