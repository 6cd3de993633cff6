"""Does the model fit, does it predict, did the device drift?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import CalibrationError
from ..statistics import chi_square_tail, merged
from .likelihood import Observation, expected, slopes
from .parameters import Parameters
from .parts import ChiSquare


@final
@dataclass(frozen=True, eq=False)
class Binned:
    """Counts of one setting against their expectation, in units of its standard deviation, rare patterns together.

    :param residuals: ``(B,)``.
    :param slopes: derivatives of the expectation by the parameters, ``(P, B)``.
    """

    residuals: FloatArray
    slopes: FloatArray

    def used(self, covariance: FloatArray) -> float:
        """Degrees of freedom that the fit takes: what the bins tell of the parameters, of all that is known of them."""
        return float(np.sum(covariance * (self.slopes @ self.slopes.T)))


def binned(observation: Observation, parameters: Parameters, *, most_clicks: int) -> Binned:
    """Counts of one setting beside what the fitted parameters expect, patterns below five expected counts together.

    :param most_clicks: of the patterns kept apart.
    """
    rows = np.stack([observation.observed(), expected(observation, parameters, most_clicks=most_clicks)])
    rows = np.concatenate([rows, slopes(observation, parameters, most_clicks=most_clicks)])
    rows = rows if observation.windows is not None else rows[:, 1:]  # unknown windows: the empty bin is 0 of 0
    rows = merged(rows, rows[1])
    rows[0] -= rows[1]
    rows[[0, *range(2, len(rows))]] /= np.sqrt(rows[1])  # Poisson: the variance is the expectation
    return Binned(rows[0], rows[2:])


def setting_test(binned: Binned, covariance: FloatArray, *, fitted: bool) -> ChiSquare:
    """Pearson's test of one setting; what was not fitted also differs by the errors of the parameters."""
    statistic, degrees = float(binned.residuals @ binned.residuals), len(binned.residuals) - 1
    if not fitted:
        along, known = binned.slopes @ binned.residuals, binned.slopes @ binned.slopes.T
        # Woodbury, in the form without an inverse of the covariance, which the gauge makes singular.
        inner = np.linalg.solve(np.eye(len(along)) + known @ covariance, along)
        statistic = max(0.0, statistic - float(along @ covariance @ inner))
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees) if degrees else None)


def joint_test(tests: Sequence[ChiSquare], *, less: int = 0) -> ChiSquare:
    """Independent tests as one: statistics and degrees of freedom add.

    :param less: degrees of freedom that a fit took.
    """
    statistic, degrees = sum(t.chi2 for t in tests), max(1, sum(t.dof for t in tests) - less)  # few bins may leave none
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees))


def same_distribution(first: Observation, last: Observation) -> ChiSquare:
    """Whether two runs of one circuit are samples of one distribution: the two-sample chi-square test.

    :raises CalibrationError: when one of them brought no shots.
    """
    a, b = first.observed()[1:], last.observed()[1:]  # clicks only: empty windows are often unknown
    order = np.argsort(a + b)[::-1]
    a, b = a[order], b[order]
    common = (a + b) >= 20.0  # ten each in two equal runs; below five the tail is not chi-square
    rows = np.array([np.append(x[common], x[~common].sum()) for x in (a, b)])
    rows = rows[:, rows.sum(axis=0) > 0]
    total = rows.sum(axis=1)
    if not total.all():
        raise CalibrationError("the first setting or its repeat brought no shots. Measure again.")
    k = np.sqrt(total[::-1] / total)  # runs of unequal length then expect the same, and the variance stays a + b
    statistic = float((((k[:, None] * rows)[0] - (k[:, None] * rows)[1]) ** 2 / rows.sum(axis=0)).sum())
    degrees = rows.shape[1] - 1
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees) if degrees else None)
