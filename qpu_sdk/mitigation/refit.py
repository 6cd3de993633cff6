"""The parameters of a device as one program's own counts tell them, a record's being no more than a prior.

Where a record does not predict counts, these know better what the device is like now. A Gauss-Newton iteration maximises

    - 1/2 sum_T (n_T - mu_T(x))^2 / (mu_T + e^2 u_T)  -  1/2 sum_i (x_i / sigma_i)^2

over the logarithms x of :class:`~qpu_sdk.mitigation.counted.Counted`, with the phase error e of
:mod:`~qpu_sdk.mitigation.misfit` at every step and the widths sigma of the prior. Errors are those of the estimate when
phases do what e says (White's sandwich, Econometrica 48, 817): what one wrong phase changes, it changes in many patterns.

No estimate may see its answer: efficiencies are told by patterns of fewer than N clicks alone, and I, g2 and the common
transmission are three numbers. Where nothing of fewer clicks is there, only I and g2 are told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import FloatArray
from .counted import SCALARS, Counted
from .misfit import Misfit, misfit

#: Steps of the iteration at most, and the longest of them and of x.
STEPS, LONGEST, FARTHEST = 8, 1.0, 3.0
#: A step shorter than this in every parameter, in its standard errors, ends it.
SHORT = 0.3
#: Of the differences that derivatives are taken from.
DIFFERENCE = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Refit:
    """Parameters that counts tell.

    :param x: ``(3 + M,)``.
    :param covariance: of x, ``(3 + M, 3 + M)``.
    :param misfit: what is left.
    """

    x: FloatArray = field(repr=False)
    covariance: FloatArray = field(repr=False)
    misfit: Misfit


def refit(seen: Counted, widths: FloatArray) -> Refit:
    """Fit the parameters of a device to the counts of one program; see the module's docstring.

    :param widths: sigma, ``(3 + M,)``.
    """
    x = np.zeros(SCALARS + seen.program.modes)
    precision = widths**-2.0
    # sqrt(I) is a probability: beyond 1 nothing changes, and no derivative would lead back.
    roof = np.full(len(x), FARTHEST)
    roof[0] = max(-2.0 * float(np.log(np.max(seen.base.common))), 0.0) if seen.base.pairs is None else FARTHEST
    for _ in range(STEPS):
        left = misfit(seen, x)
        slope, weights = _slopes(seen, x), _weights(seen, left)
        information = (slope * weights) @ slope.T + np.diag(precision)
        move = np.linalg.solve(information, (slope * weights) @ (seen.numbers - left.expected) - precision * x)
        move = np.clip(move, -LONGEST, LONGEST)
        x = np.clip(x + move, -FARTHEST, roof)
        if np.abs(move * np.sqrt(np.diag(information))).max() < SHORT:
            break
    left = misfit(seen, x)
    return Refit(x, _sandwich(slope, _weights(seen, left), left, precision), left)


def _weights(seen: Counted, left: Misfit) -> FloatArray:
    """One over the variance of every pattern, ``(K,)``; half a count is the least variance."""
    return np.where(seen.used, 1.0 / (np.maximum(left.expected, 0.5) + left.variances), 0.0)


def _slopes(seen: Counted, x: FloatArray) -> FloatArray:
    """d mu / d x, as far as a pattern may tell of a parameter, ``(3 + M, K)``."""
    steps = DIFFERENCE * np.eye(len(x))
    moved = seen.expected(seen.patterns(np.concatenate([x + steps, x - steps])))
    slope = (moved[: len(x)] - moved[len(x) :]) / (2.0 * DIFFERENCE)
    slope[SCALARS:, seen.clicks == seen.photons] = 0.0
    if seen.filtered:
        slope[2:] = 0.0
    return np.asarray(slope)


def _sandwich(slope: FloatArray, weights: FloatArray, left: Misfit, precision: FloatArray) -> FloatArray:
    """Covariance of x, ``(3 + M, 3 + M)``."""
    bread = np.linalg.inv((slope * weights) @ slope.T + np.diag(precision))
    phases = (left.changes * weights) @ slope.T
    meat = (slope * weights**2 * np.maximum(left.expected, 0.5)) @ slope.T + phases.T @ phases / len(phases)
    return np.asarray(bread @ (meat + np.diag(precision)) @ bread)
