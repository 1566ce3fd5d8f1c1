"""Real passages and their real vectors, encoded once and kept in a folder: what synthetic clusters are compared with.

Texts come from gzipped JSONL (``text`` a line, as in ``train-text``) and are cut at sentence ends into short passages.
Vectors are kept in blocks, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from indexer.encoders import load_encoder

CHARACTERS = 300
BLOCK = 4096
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def passages(sources: Sequence[Path], *, characters: int = CHARACTERS) -> Iterator[str]:
    """Cut the texts of some JSONL files (gzipped or not) into passages of about ``characters``, taken in turn."""
    streams = [_passages_of(source, characters) for source in sources]
    while streams:
        for stream in list(streams):
            passage = next(stream, None)
            if passage is None:
                streams.remove(stream)
            else:
                yield passage


def _passages_of(source: Path, characters: int) -> Iterator[str]:
    with gzip.open(source, "rt") if source.suffix == ".gz" else source.open() as lines:
        for line in lines:
            piece = ""
            for sentence in _SENTENCE.split(json.loads(line)["text"]):
                if piece and len(piece) + len(sentence) > characters:
                    yield piece
                    piece = ""
                piece = f"{piece} {sentence}".strip()[: 4 * characters]
            if len(piece) > characters // 3:
                yield piece


def vectors(texts: Iterator[str], count: int, folder: Path) -> np.ndarray:
    """Encode ``count`` texts with the default encoder: float16 [n, D], from ``folder`` where they are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = None
    blocks = []
    for number in range(-(-count // BLOCK)):
        block = list(islice(texts, min(BLOCK, count - number * BLOCK)))
        if not block:
            break
        path = folder / f"{number:05d}-{len(block)}.npy"
        if not path.exists():
            encoder = encoder or load_encoder()
            beside = path.with_suffix(".tmp.npy")
            np.save(beside, encoder.encode_passages(block).astype(np.float16))
            beside.replace(path)
        blocks.append(np.load(path))
    return np.concatenate(blocks)
