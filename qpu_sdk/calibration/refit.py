"""Parameters of a device as counts of known programs tell them, where others are no more than a prior.

A Gauss-Newton iteration maximises, over all programs and patterns,

    - 1/2 sum_T (n_T - mu_T(x))^2 / (mu_T + e^2 u_T)  -  1/2 sum_i (x_i / sigma_i)^2

over the logarithms x of :class:`~qpu_sdk.calibration.counted.Axes`, with the phase error e of
:mod:`~qpu_sdk.calibration.misfit` at every step and the widths sigma of the prior; a width of 0 holds a parameter.
Errors are those of the estimate when phases do what e says (White's sandwich, Econometrica 48, 817): what one wrong
phase changes, it changes in many patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import FloatArray, IntArray
from .counted import Axes, Counted
from .misfit import Drawn, Misfit, misfit

#: Steps of the iteration at most, and the longest of them and of x.
STEPS, LONGEST, FARTHEST = 8, 1.0, 4.0
#: A step shorter than this in every parameter, in its standard errors, ends it.
SHORT = 0.3
#: Of the differences that derivatives are taken from.
DIFFERENCE = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Refit:
    """Parameters that counts tell.

    :param x: ``(P,)``.
    :param covariance: of x, ``(P, P)``; 0 where a parameter was held.
    :param misfit: what is left.
    """

    x: FloatArray = field(repr=False)
    covariance: FloatArray = field(repr=False)
    misfit: Misfit


def refit(seen: Sequence[Counted], widths: FloatArray, *, blind: bool) -> Refit:
    """Fit the parameters of a device to counts; see the module's docstring.

    :param widths: sigma, ``(P,)``.
    :param blind: True for an estimate that must not see its answer: efficiencies are then told by patterns of fewer
        than N clicks alone, and where there are none, only I and g2 are told.
    """
    axes, free = seen[0].axes, np.flatnonzero(widths)
    x, roof = np.zeros(axes.size), _roof(seen, axes)
    precision = widths[free] ** -2.0
    for _ in range(STEPS):
        left = misfit(seen, x)
        slopes = [_slopes(one, x, free, blind=blind) for one in seen]
        parts = [_weighted(one, s, d, left.scale) for one, s, d in zip(seen, slopes, left.programs, strict=True)]
        information = sum((w @ s.T for w, s in zip(parts, slopes, strict=True)), np.diag(precision))
        apart = zip(parts, seen, left.programs, strict=True)
        gradient = sum((w @ (one.numbers - d.expected) for w, one, d in apart), -precision * x[free])
        move = np.clip(np.linalg.solve(information, gradient), -LONGEST, LONGEST)
        x[free] = np.clip(x[free] + move, -FARTHEST, roof[free])
        if np.abs(move * np.sqrt(np.diag(information))).max() < SHORT:
            break
    covariance = np.zeros((axes.size, axes.size))
    covariance[np.ix_(free, free)] = _sandwich(parts, information, left, precision)
    return Refit(x, covariance, misfit(seen, x))


def _roof(seen: Sequence[Counted], axes: Axes) -> FloatArray:
    """sqrt(I) is a probability: beyond 1 nothing changes, and no derivative would lead back; ``(P,)``."""
    roof = np.full(axes.size, FARTHEST)
    if seen[0].base.pairs is None:
        roof[0] = max(-2.0 * float(np.log(max(float(np.max(seen[0].base.common)), 1e-3))), 0.0)
    return roof


def _slopes(seen: Counted, x: FloatArray, free: IntArray, *, blind: bool) -> FloatArray:
    """d mu / d x, as far as a pattern may tell of a parameter, ``(F, K)``."""
    steps = DIFFERENCE * np.eye(len(x))[free]
    moved = seen.expected(seen.patterns(np.concatenate([x + steps, x - steps])))
    slope = (moved[: len(steps)] - moved[len(steps) :]) / (2.0 * DIFFERENCE)
    if blind:
        slope[np.ix_(free >= seen.axes.scalars.stop, seen.clicks == seen.photons)] = 0.0
        if seen.filtered:
            slope[free >= 2] = 0.0
    return np.asarray(slope)


def _weighted(seen: Counted, slope: FloatArray, drawn: Drawn, scale: float) -> FloatArray:
    """Slopes over the variance of every pattern, ``(F, K)``; half a count is the least variance."""
    variance = np.maximum(drawn.expected, 0.5) + scale**2 * drawn.squares
    return np.where(seen.used, slope / variance, 0.0)


def _sandwich(parts: list[FloatArray], information: FloatArray, left: Misfit, precision: FloatArray) -> FloatArray:
    """Covariance of the free parameters, ``(F, F)``."""
    bread, meat = np.linalg.inv(information), np.diag(precision)
    for weighted, drawn in zip(parts, left.programs, strict=True):
        phases = left.scale * drawn.changes @ weighted.T
        meat = meat + (weighted * np.maximum(drawn.expected, 0.5)) @ weighted.T + phases.T @ phases / len(phases)
    return np.asarray(bread @ meat @ bread)
