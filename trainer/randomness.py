"""All chance in training: a function of what is drawn for, never of which worker draws or when.

So the same run with no workers or four, straight or resumed, sees the same pairs. Knows nothing of texts.
"""

from __future__ import annotations

import numpy as np

MASK = 2**64 - 1


def generator(seed: int, *place: int) -> np.random.Generator:
    """Make the generator of one place, such as (epoch, example, view): a Philox stream keyed by seed and place.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    key = mix(seed)
    for number in place:
        key = mix(key ^ mix(number + 1))
    return np.random.Generator(np.random.Philox(key=key))


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order ``count`` examples for one epoch: int64 [count]."""
    return generator(seed, epoch).permutation(count)


def mix(number: int) -> int:
    """Scatter a 64-bit integer: SplitMix64's finaliser (Steele et al., OOPSLA 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)
