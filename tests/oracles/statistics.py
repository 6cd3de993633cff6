"""Bounds for random numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import chisquare


def chi_square_p(observed: npt.ArrayLike, expected: npt.ArrayLike, *, smallest: float = 5.0) -> float:
    """p-value of Pearson's chi-square; bins that expect fewer than ``smallest`` are added to the next larger ones."""
    seen, hoped = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    order = np.argsort(hoped)
    bins: list[list[float]] = [[0.0, 0.0]]
    for i in order:
        if bins[-1][1] >= smallest:
            bins.append([0.0, 0.0])
        bins[-1][0] += seen[i]
        bins[-1][1] += hoped[i]
    pairs = np.array(bins)
    return float(chisquare(pairs[:, 0], pairs[:, 1] * pairs[:, 0].sum() / pairs[:, 1].sum()).pvalue)
