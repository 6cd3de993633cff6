"""What the covariance of a record must be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..statistics import correlations
from .parts import Measured

#: How far a covariance may be from symmetric and from positive semidefinite, as a correlation.
#: An inverse of a badly conditioned information has errors far above one rounding.
CORRELATION_TOLERANCE = 1e-8


def check_covariance(names: Sequence[str], rows: Sequence[Sequence[float]], known: Mapping[str, Measured]) -> None:
    """Check that a covariance is one, and of these numbers.

    :param known: every number of the record by name.
    :raises ValueError: with the first thing that is wrong.
    """
    if len(set(names)) < len(names) or not set(names) <= set(known):
        odd = next((n for n in names if n not in known), "one of them twice")
        raise ValueError(f"parameters name {odd:.60}; each must be a number of the record, once")
    if [len(row) for row in rows] != [len(names)] * len(names):
        raise ValueError(f"covariance is not {len(names)} rows of {len(names)}, as parameters ask")
    covariance = np.array(rows, dtype=np.float64).reshape(len(names), len(names))
    for name, variance in zip(names, np.diag(covariance).tolist(), strict=True):
        error = known[name].standard_error
        if error is None or not math.isclose(variance, error * error, rel_tol=1e-6, abs_tol=1e-300):
            raise ValueError(f"covariance of {name} is {variance}; its standard_error is {error}, the root of that")
    correlation = correlations(covariance)
    if not np.isfinite(correlation).all() or np.abs(correlation - correlation.T).max(initial=0.0) > (
        CORRELATION_TOLERANCE
    ):
        raise ValueError("covariance is not symmetric")
    if names and np.linalg.eigvalsh(correlation)[0] < -CORRELATION_TOLERANCE * len(names):
        raise ValueError("covariance is not positive semidefinite")
