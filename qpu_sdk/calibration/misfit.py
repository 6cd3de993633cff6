"""How far counts are from what record and program predict, said as a size of phase errors.

With mu_T the expected number of pattern T, c_T its variance by errors of the parameters, and u_T the mean square change
of it by phase errors within +-1 radian, as drawn, an error e makes the counts differ from mu by mu + c + e^2 u. So

    e^2 = sum_T w_T ((n_T - mu_T)^2 - mu_T - c_T) / sum_T w_T u_T,       w_T = u_T / (mu_T + c_T + e^2 u_T)^2,

is the estimate of least variance, found by iteration. Phases are what e is named after. Whatever else changes where
photons go, such as imperfect beam splitters, crosstalk or losses inside the chip, looks much like them and is in e too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
class Drawn:
    """One program beside its expectation.

    :param expected: mu, ``(K,)``.
    :param changes: of mu by phase errors of one size, one draw a row, ``(D, K)``.
    :param shifted: columns of the circuits of these draws, ``(D, M, N)``.
    """

    expected: FloatArray = field(repr=False)
    changes: FloatArray = field(repr=False)
    shifted: ComplexArray = field(repr=False)

    @property
    def squares(self) -> FloatArray:
        """Mean squares of the changes, ``(K,)``."""
        return np.asarray((self.changes**2).mean(axis=0))


@final
@dataclass(frozen=True, eq=False)
class Misfit:
    """Counts of some programs against the expectation of one set of parameters.

    :param phase_error: e, radians.
    :param step: at which phase errors were drawn, radians.
    """

    phase_error: float
    step: float
    programs: tuple[Drawn, ...] = field(repr=False)

    @property
    def scale(self) -> float:
        """e in steps."""
        return self.phase_error / self.step


def misfit(seen: Sequence[Counted], x: FloatArray, *, calibration: Sequence[FloatArray] | None = None) -> Misfit:
    """The size of phase errors that explains counts at some parameters.

    :param x: see :class:`~qpu_sdk.calibration.counted.Axes`, ``(P,)``.
    :param calibration: c of each program, ``(K,)``; 0 unless given.
    """
    step = PHASE_STEP
    for _ in range(REDRAWN):
        drawn = tuple(_drawn(one, x, step) for one in seen)
        spread = [np.zeros(len(one.numbers)) for one in seen] if calibration is None else calibration
        likely = np.concatenate([d.expected for d in drawn]) > LEAST_EXPECTED
        n, mu, c, unit = (
            np.concatenate(parts)[likely]
            for parts in (
                [one.numbers for one in seen],
                [d.expected for d in drawn],
                spread,
                [d.squares for d in drawn],
            )
        )
        e = min(step * relative_size((n - mu) ** 2 - mu - c, mu + c, unit), LARGEST_STEP)
        found = Misfit(e, step, drawn)
        if e < LINEAR or abs(e / step - 1.0) < SETTLED:
            break
        step = e
    return found


def _drawn(seen: Counted, x: FloatArray, step: float) -> Drawn:
    mu, shifted = seen.expected(seen.patterns(x[None])[0]), seen.shifted(step)
    return Drawn(mu, seen.expected(seen.patterns(x[None], shifted)) - mu, shifted)


def relative_size(excess: FloatArray, known: FloatArray, unit: FloatArray) -> float:
    """e in units of the step by the module's formula, of squares less known variances, ``(K,)``, at ``unit`` ones."""
    squared = 0.0
    for _ in range(ITERATIONS):
        weights = unit / (known + squared * unit) ** 2
        before = squared
        squared = max(float(weights @ excess) / max(float(weights @ unit), 1e-300), 0.0)
        if abs(squared - before) <= 1e-3 * squared:
            break
    return math.sqrt(squared)
