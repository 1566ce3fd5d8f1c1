"""Damage a text's tokens at given rates, so that a pair does not match by shared wording alone."""

from __future__ import annotations

import numpy as np

from indexer.errors import UsageError
from trainer.batch import Ids


def corrupt(
    ids: Ids,
    rng: np.random.Generator,
    *,
    delete: float = 0.0,
    replace: float = 0.0,
    mask: float = 0.0,
    shuffle: float = 0.0,
    vocabulary: int = 0,
    mask_id: int = 0,
    special: frozenset[int] = frozenset(),
) -> Ids:
    """Delete, replace, mask and shuffle tokens, in this order, each token with the given probability.

    int32 [tokens], one or more → int32 [1 to tokens]: where chance would delete every token, one of them stays.
    Replacements come from the ``vocabulary`` without its ``special`` ids; shuffled tokens change places among
    themselves. The input is never written to.
    Raises UsageError when tokens are to be replaced and the vocabulary holds none to take.
    Source: the augmentations of Izacard et al., arXiv:2112.09118, appendix A.1.
    """
    if delete > 0:
        kept = rng.random(len(ids)) >= delete
        if not kept.any():
            kept[rng.integers(len(ids))] = True
        ids = ids[kept]
    if replace > 0:
        ids = np.where(rng.random(len(ids)) < replace, ordinary(len(ids), rng, vocabulary, special), ids)
    if mask > 0:
        ids = np.where(rng.random(len(ids)) < mask, mask_id, ids)
    if shuffle > 0:
        places = np.flatnonzero(rng.random(len(ids)) < shuffle)
        ids = ids.copy()
        ids[places] = ids[rng.permutation(places)]
    return ids.astype(np.int32, copy=False)


def ordinary(count: int, rng: np.random.Generator, vocabulary: int, special: frozenset[int]) -> Ids:
    """Draw ``count`` tokens uniformly from the vocabulary's ids that are not special: int64 [count]."""
    held_out = np.asarray(sorted(token for token in special if 0 <= token < vocabulary), dtype=np.int64)
    if len(held_out) >= vocabulary:
        raise UsageError(f"replace needs a vocabulary with ordinary tokens, not one of {vocabulary} ids")
    ranks = rng.integers(vocabulary - len(held_out), size=count)
    # a rank among ordinary ids becomes an id by stepping over the special ones below it
    return ranks + np.searchsorted(held_out - np.arange(len(held_out)), ranks, side="right")
