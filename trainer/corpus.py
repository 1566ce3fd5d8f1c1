"""The documents of a run as token ids: read once, kept in files, mapped by every process. Knows nothing of examples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from indexer.durable import storage_errors
from indexer.errors import DataError
from indexer.progress import SILENT, Progress
from trainer import distributed
from trainer.batch import Ids
from trainer.sources import Text
from trainer.tokens import TokenStore, open_store, tokenise

TOKENS = "tokens"
TITLES, BODIES, KEYS = "titles.u32", "bodies.u32", "keys.json"


@dataclass(frozen=True)
class Corpus:
    """Tokenised documents, numbered from 0 in the order they were read."""

    keys: list[str]
    titles: TokenStore
    bodies: TokenStore

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.keys)

    def whole(self, number: int, longest: int) -> Ids:
        """Return title and body as one text, as the indexer encodes it, cut to ``longest`` tokens."""
        title = self.titles[number]
        return np.concatenate([title, self.bodies[number]])[:longest]


def prepare(texts: Iterable[Text], tokenizer: Tokenizer, folder: Path, progress: Progress = SILENT) -> Corpus:
    """Tokenise a stream of documents into files in ``folder``; a document without a word is left out.

    Raises DataError when nothing is left.
    """
    keys: list[str] = []
    titles: list[str] = []

    def bodies() -> Iterable[str]:
        for text in texts:
            if text.body.strip() or text.title.strip():
                keys.append(text.key)
                titles.append(text.title)
                progress.advance(detail=text.key)
                yield text.body

    progress.start("read and tokenise", None, "documents")
    stored = tokenise(bodies(), tokenizer, folder / BODIES)
    corpus = Corpus(keys, tokenise(titles, tokenizer, folder / TITLES), stored)
    progress.finish()
    if not keys:
        raise DataError("the data holds no text to train on")
    return corpus


def open_corpus(folder: Path, keys: list[str]) -> Corpus:
    """Map what ``prepare`` wrote; ``keys`` come from the checkpoint."""
    return Corpus(keys, open_store(folder / TITLES), open_store(folder / BODIES))


def shared_corpus(read: Callable[[], Iterable[Text]], work: Path, tokenizer: Tokenizer, progress: Progress) -> Corpus:
    """Read and tokenise the texts once, by process 0; the others map what it wrote."""
    folder = work / "tokens"
    if distributed.rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        with storage_errors("writing the tokenised texts"):
            folder.mkdir(parents=True)
            corpus = prepare(read(), tokenizer, folder, progress)
            (folder / KEYS).write_text(json.dumps(corpus.keys), encoding="utf-8")
        distributed.barrier()
        return corpus
    distributed.barrier()
    return open_corpus(folder, json.loads((folder / KEYS).read_text(encoding="utf-8")))
