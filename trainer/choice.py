"""Which of many settings to believe: near the default unless the data insist, and judged on queries that chose nothing.

Pure functions of arrays: one row a setting, one column a query. Knows nothing of what the settings set.
"""

from __future__ import annotations

import numpy as np

FOLDS = 10
REPEATS = 10


def choose(values: np.ndarray, distances: np.ndarray) -> int:
    """Choose a setting by the one-standard-error rule, shrunk towards the default: its row.

    values [S, Q] are a measure of each setting and query, distances [S] how far a setting lies from the default (0). Of
    all settings that lag behind the best one by no more than the standard error of that lag, the nearest to the default
    is taken, of equally near ones the better. With few queries that is the default itself.
    Source: Breiman et al., "Classification and Regression Trees", 1984, with the paired difference's standard error.
    """
    lags = values[values.mean(axis=1).argmax()] - values
    errors = (
        lags.std(axis=1, ddof=1) / np.sqrt(values.shape[1]) if values.shape[1] > 1 else np.full(len(values), np.inf)
    )
    means = lags.mean(axis=1)
    near = np.flatnonzero(means <= errors)
    return int(near[np.lexsort((means[near], distances[near]))[0]])


def cross_validate(
    values: np.ndarray, distances: np.ndarray, groups: np.ndarray, *, repeats: int = REPEATS, seed: int = 0
) -> np.ndarray:
    """Tell what choosing brings on queries that had no part in the choice: each query's gain over the default [Q].

    Ten folds (fewer where there are fewer groups), several times over other folds, averaged. groups [Q]: queries of one
    group (the same text) always lie in one fold.
    """
    default = int(distances.argmin())
    generator = np.random.default_rng(seed)
    names, group_of = np.unique(groups, return_inverse=True)
    folds = min(FOLDS, len(names))
    gains = np.zeros(values.shape[1])
    for _ in range(repeats):
        fold_of = (generator.permutation(len(names)) % folds)[group_of]
        for fold in range(folds):
            asked = fold_of == fold
            if asked.all():
                continue  # a single group: nothing is left to choose by
            chosen = choose(values[:, ~asked], distances)
            gains[asked] += values[chosen, asked] - values[default, asked]
    return gains / repeats
