"""What can go wrong that a person can act on. Everything else is a bug and keeps its traceback.

SearchEngineError            exit code 1; its message is the sentence the user reads
├── UsageError               2: the call itself is wrong (an unknown mode, a malformed filter)
├── NoIndex                  there is no index here
├── DamagedIndex             a file of the index is missing, short or altered
├── IncompatibleIndex        made with another format or another encoder
├── IndexBusy                another process writes
├── NothingToIndex           no such folder, an empty one, nothing readable in it
├── MassDeletion             most of what was indexed is gone from disk; asks before it believes that
├── StorageError             disk full, read-only, no permission
├── ClusterError             no Ray, no cluster at the address, or it lost the same work again and again
├── ModelError               an encoder cannot be loaded, or is not the one it claims to be
└── DataError                a line of a dataset is malformed; names file and line
Unreadable                   one input file cannot be read: caught around that file, named in the summary
"""

from __future__ import annotations


class SearchEngineError(Exception):
    """A failure that the user can act on: the message says what, where, and what to do next."""

    exit_code = 1


class UsageError(SearchEngineError, ValueError):
    """The call itself is wrong: an unknown mode, a k below 1, a malformed filter."""

    exit_code = 2


class NoIndex(SearchEngineError):
    """There is no index at this place."""


class DamagedIndex(SearchEngineError):
    """A file that the index owns is missing, short or altered."""


class IncompatibleIndex(SearchEngineError):
    """The index has another format, or belongs to another encoder."""


class IndexBusy(SearchEngineError):
    """Another process is writing to the index."""


class NothingToIndex(SearchEngineError):
    """There is nothing to index: no such folder, an empty one, nothing readable in it."""


class MassDeletion(SearchEngineError):
    """Most of what was indexed is gone from disk."""


class StorageError(SearchEngineError):
    """The disk is full, read-only or not permitted."""


class ClusterError(SearchEngineError):
    """Ray is not installed, no cluster answers, or it lost the same piece of work again and again."""


class ModelError(SearchEngineError):
    """An encoder cannot be loaded, or is not the one it claims to be."""


class DataError(SearchEngineError):
    """A dataset's file is malformed; the message names file and line."""


class Unreadable(Exception):
    """One input file cannot be read; the message is the reason shown beside its name."""
