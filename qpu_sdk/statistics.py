"""Statistics that several rooms need: chi-square tests, distances of distributions, quantiles, correlations."""

from __future__ import annotations

from contextlib import suppress
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .arrays import FloatArray, real, reals
from .errors import DataError, MitigationError
from .words import short


class HasProbabilities(Protocol):
    """What knows its probabilities: a distribution, or a program."""

    @property
    def probabilities(self) -> Any:
        """``(K,)``, or a method that computes them."""


def correlations(covariance: FloatArray) -> FloatArray:
    """Covariance over the product of standard deviations, ``(P, P)``; what has no variance counts as 1.

    >>> correlations(np.array([[4.0, 1.0], [1.0, 1.0]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    variance = np.diag(covariance)
    scale = np.sqrt(np.where(variance > 0.0, variance, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by whoever reads a record
        return np.asarray(covariance / scale[:, None] / scale)


#: Smallest expected number in a bin of a chi-square sum; rarer outcomes are put together.
MIN_EXPECTED = 5.0


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Probability that chi-square with ``degrees`` degrees of freedom exceeds ``statistic >= 0``.

    Gamma(k/2, x/2) / Gamma(k/2) for k degrees (DLMF 8.2.4), with full relative precision in far tails.

    >>> round(chi_square_tail(16.92, 9), 3), f"{chi_square_tail(300.0, 9):.3g}"
    (0.05, '2.61e-59')
    """
    from scipy.special import chdtrc  # slow to import

    return float(chdtrc(degrees, statistic))


def put_together(expected: FloatArray) -> npt.NDArray[np.bool_]:
    """Which bins are one bin, ``(B,)``: those that expect too few and, so that the sum does not, the smallest other."""
    rare = expected < MIN_EXPECTED
    if rare.any():
        rare |= expected <= expected[~rare].min(initial=np.inf)
    return np.asarray(rare)


def merged(rows: FloatArray, expected: FloatArray) -> FloatArray:
    """Rows of something by bin, ``(R, B)``, with those that :func:`put_together` says as one bin, the last.

    >>> merged(np.array([[7.0, 1.0, 2.0, 9.0]]), np.array([6.0, 1.0, 4.0, 9.0])).tolist()
    [[9.0, 10.0]]
    """
    rare = put_together(expected)
    if not rare.any():
        return rows
    return np.concatenate([rows[:, ~rare], rows[:, rare].sum(axis=1, keepdims=True)], axis=1)


def chi_square(observed: FloatArray, expected: FloatArray) -> tuple[float, int]:
    """Pearson's sum and its degrees of freedom; bins that expect fewer than :data:`MIN_EXPECTED` are one bin.

    >>> chi_square(np.array([12.0, 8.0]), np.array([10.0, 10.0]))
    (0.8, 1)
    """
    observed, expected = merged(np.stack([observed, expected]), expected)
    return float(((observed - expected) ** 2 / expected).sum()), len(expected) - 1


def total_variation(p: HasProbabilities | npt.ArrayLike, q: HasProbabilities | npt.ArrayLike) -> float:
    """``sum |p - q| / 2``.

    :param p: ``(K,)``, or anything that has ``probabilities``, such as a distribution; likewise q.
    :raises DataError: unless both are of one shape ``(K,)``.

    >>> total_variation(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    0.5
    """
    a, b = _probabilities(p), _probabilities(q)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"probabilities of shapes {a.shape} and {b.shape} have no distance. Give two of one length.")
    return 0.5 * float(np.abs(a - b).sum())


def _probabilities(p: HasProbabilities | npt.ArrayLike) -> FloatArray:
    found = getattr(p, "probabilities", p)
    found = found() if callable(found) else found  # a program computes its own
    try:
        return reals(found, "a probability", DataError)
    except DataError as error:
        reason = str(error).partition(". ")[0]
        raise DataError(
            f"a {type(p).__name__} holds no probabilities: {reason}. Give numbers, or a distribution."
        ) from None


def normal_quantile(level: float) -> float:
    """z such that a normal variable is within +-z with probability ``level``.

    :raises MitigationError: unless ``0 < level < 1``.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    with suppress(MitigationError):
        found = real(level, "level", MitigationError)
        if 0.0 < found < 1.0:
            return NormalDist().inv_cdf(0.5 + found / 2.0)
    raise MitigationError(f"the level of an interval is {short(level)}; it must be between 0 and 1, such as 0.95.")


def student_quantile(level: float, degrees: int) -> float:
    """t such that Student's variable with so many degrees of freedom is below it with probability ``level``.

    >>> round(student_quantile(0.975, 3), 3)
    3.182
    """
    from scipy.special import stdtrit  # slow to import

    return float(stdtrit(degrees, level))


def sampling_distance(p: FloatArray, events: float) -> float:
    """Expected total variation distance between ``p`` and its estimate from that many events; 1 without events.

    ``sum sqrt(2 p (1 - p) / (pi N)) / 2``, the mean distance of normal variables with the variances of a binomial.

    >>> round(sampling_distance(np.full(126, 1 / 126), 1000), 2), sampling_distance(np.array([0.5, 0.5]), 0)
    (0.14, 1.0)
    """
    if events <= 0.0:
        return 1.0
    return min(1.0, float(np.sqrt(p * (1.0 - p) / (2.0 * np.pi * events)).sum()))


#: Coefficients B_2k / (2k (2k - 1)) of Stirling's series.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def log_rising(x: FloatArray, n: FloatArray) -> FloatArray:
    """log (x)_n = log Gamma(x + n) - log Gamma(x) for x > 0 and n >= 0, elementwise.

    Stirling's series at x + 8 and x + n + 8, and Gamma(x + 8) = x (x + 1) ... (x + 7) Gamma(x) (DLMF 5.11.1, 5.5.1).
    It has the digits that a difference of two log-gammas loses when x is large: 1e-9 at x = 1e6.

    >>> log_rising(np.array([3.0, 1e8]), np.array([2.0, 1.0])).round(6).tolist()
    [2.484907, 18.420681]
    """
    y = x + 8.0
    return np.asarray(
        (y - 0.5) * np.log1p(n / y)
        + n * (np.log(y + n) - 1.0)
        + (_tail(y + n) - _tail(y))
        + np.log(_eight(x) / _eight(x + n))
    )


def _eight(x: FloatArray) -> FloatArray:
    """x (x + 1) ... (x + 7)."""
    q = x * (x + 7.0)
    return np.asarray(q * (q + 6.0) * (q + 10.0) * (q + 12.0))


def _tail(y: FloatArray) -> FloatArray:
    """Stirling's series after its leading terms; the first term left out is 1e-15 at y = 8."""
    r = 1.0 / (y * y)
    out = np.full_like(r, STIRLING[-1])
    for coefficient in STIRLING[-2::-1]:
        out *= r
        out += coefficient
    return np.asarray(out / y)


def beta_quantile(q: float, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x and 1 - x with I_x(a, b) = q, the regularised incomplete beta function (DLMF 8.17.2), elementwise.

    :param a: positive, ``(K,)``; likewise b.

    >>> x, rest = beta_quantile(0.5, np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    >>> x.round(6).tolist(), rest.round(6).tolist()
    ([0.5, 0.707107], [0.5, 0.292893])
    """
    from scipy.special import betainccinv, betaincinv  # slow to import

    return np.asarray(betaincinv(a, b, q)), np.asarray(betainccinv(b, a, q))
