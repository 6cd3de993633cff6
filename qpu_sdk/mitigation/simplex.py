"""The nearest distribution: Euclidean projection on the probability simplex.

With u the entries in descending order and ``tau_k = (u_1 + ... + u_k - 1) / k``::

    rho = last k with u_k > tau_k,        p = max(v - tau_rho, 0)

O(K log K) (Held, Wolfe and Crowder, Math. Programming 6, 62 (1974); Duchi et al., ICML 2008). Estimates that subtract
something have negative entries; this takes them away with the least change of the others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import MitigationError


def project(v: npt.ArrayLike) -> FloatArray:
    """The distributions nearest to the rows of v, ``(..., K) -> (..., K)``.

    :raises MitigationError: when there is no entry, or one is not finite.

    >>> project([0.7, 0.5, -0.2]).round(3).tolist()
    [0.6, 0.4, 0.0]
    """
    rows = np.asarray(v, dtype=np.float64)
    if rows.ndim == 0 or rows.shape[-1] == 0 or not np.isfinite(rows).all():
        raise MitigationError(f"an estimate of shape {rows.shape} has no entry or one that is not finite. Check it.")
    top = rows.max(axis=-1, keepdims=True)
    # What is 1 below the largest becomes 0 anyway; so nothing overflows, and digits are kept.
    shifted = np.subtract(rows, top, out=np.full(rows.shape, -1.0), where=rows >= top - 1.0)
    descending = -np.sort(-shifted, axis=-1)
    tau = (np.cumsum(descending, axis=-1) - 1.0) / np.arange(1, rows.shape[-1] + 1)
    last = (descending > tau).sum(axis=-1, keepdims=True) - 1
    return np.asarray(np.maximum(shifted - np.take_along_axis(tau, last, axis=-1), 0.0))
