"""How far counts are from what record and program predict, said as a size of phase errors.

With mu_T the expected number of pattern T, and u_T the mean square change of it by phase errors within +-1 radian, as
drawn, an error e makes the counts differ from mu by the variance ``mu + c + e^2 u``, c that of the calibration. So

    e^2 = sum_T w_T ((n_T - mu_T)^2 - mu_T - c_T) / sum_T w_T u_T,       w_T = u_T / (mu_T + c_T + e^2 u_T)^2,

is the estimate of least variance, found by iteration. Phases are what e is named after. Whatever else changes where
photons go, such as imperfect beam splitters, crosstalk or losses inside the chip, looks much like them and is in e too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import ComplexArray, FloatArray
from .counted import Counted

#: First size of the drawn errors, radians, in which changes are linear, and the largest.
PHASE_STEP, LARGEST_STEP = 0.01, 0.9
#: Errors above this are drawn again at their size, so often at most, until it changes by less than this share.
LINEAR, REDRAWN, SETTLED = 0.04, 3, 0.15
#: Patterns that expect fewer counts are left out: a single rare one could outweigh all others.
LEAST_EXPECTED = 5.0
ITERATIONS = 12


@final
@dataclass(frozen=True, eq=False)
class Misfit:
    """Counts against the expectation of one set of parameters.

    :param phase_error: e, radians.
    :param expected: mu, ``(K,)``.
    :param drawn: changes of mu by phase errors of size ``step``, one draw a row, ``(D, K)``.
    :param shifted: columns of the circuits of these draws, ``(D, M, N)``.
    :param step: radians.
    """

    phase_error: float
    expected: FloatArray = field(repr=False)
    drawn: FloatArray = field(repr=False)
    shifted: ComplexArray = field(repr=False)
    step: float

    @property
    def changes(self) -> FloatArray:
        """Of mu by phase errors of size e, ``(D, K)``."""
        return self.drawn * (self.phase_error / self.step)

    @property
    def variances(self) -> FloatArray:
        """e^2 u, of every pattern, ``(K,)``."""
        return np.asarray((self.changes**2).mean(axis=0))


def misfit(seen: Counted, x: FloatArray, *, calibration: FloatArray | float = 0.0) -> Misfit:
    """The size of phase errors that explains the counts at some parameters.

    :param x: see :class:`~qpu_sdk.mitigation.counted.Counted`, ``(3 + M,)``.
    :param calibration: c, variances of mu by the errors of the parameters, ``(K,)``.
    """
    mu = seen.expected(seen.patterns(x[None])[0])
    known, excess, likely = mu + calibration, (seen.numbers - mu) ** 2 - mu - calibration, mu > LEAST_EXPECTED
    step = PHASE_STEP
    for _ in range(REDRAWN):
        shifted = seen.shifted(step)
        drawn = seen.expected(seen.patterns(x[None], shifted)) - mu
        e = step * relative_size(excess[likely], known[likely], (drawn[:, likely] ** 2).mean(axis=0))
        if e < LINEAR or abs(e / step - 1.0) < SETTLED:
            break
        step = min(e, LARGEST_STEP)
    return Misfit(min(e, LARGEST_STEP), mu, drawn, shifted, step)


def relative_size(excess: FloatArray, known: FloatArray, unit: FloatArray) -> float:
    """e in units of the step by the module's formula, of squares ``(K,)`` less ``known`` variances, at ``unit`` ones."""
    squared = 0.0
    for _ in range(ITERATIONS):
        weights = unit / (known + squared * unit) ** 2
        before = squared
        squared = max(float(weights @ excess) / max(float(weights @ unit), 1e-300), 0.0)
        if abs(squared - before) <= 1e-3 * squared:
            break
    return math.sqrt(squared)
