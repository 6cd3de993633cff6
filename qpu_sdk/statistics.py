"""Statistics that several rooms need: chi-square tests, distances of distributions, quantiles, correlations."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import FloatArray
from .errors import MitigationError


def correlations(covariance: FloatArray) -> FloatArray:
    """Covariance over the product of standard deviations, ``(P, P)``; what has no variance counts as 1.

    >>> correlations(np.array([[4.0, 1.0], [1.0, 1.0]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    variance = np.diag(covariance)
    scale = np.sqrt(np.where(variance > 0.0, variance, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(covariance / scale[:, None] / scale)


def sampling_floor(p: FloatArray, events: int) -> float:
    """Mean distance of so many perfect events, ``sum sqrt(2 p (1 - p) / (pi N)) / 2``; 1 without events.

    >>> round(sampling_floor(np.full(126, 1 / 126), 1000), 2)
    0.14
    """
    if events == 0:
        return 1.0
    return min(1.0, 0.5 * float(np.sqrt(2.0 * p * (1.0 - p) / (np.pi * events)).sum()))


#: Smallest expected number in a bin of a chi-square sum; rarer outcomes are put together.
MIN_EXPECTED = 5.0


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Probability that chi-square with ``degrees`` degrees of freedom exceeds ``statistic``.

    By Wilson and Hilferty (PNAS 17, 684 (1931)), (X/k)^(1/3) is nearly normal with mean 1 - 2/(9k) and variance
    2/(9k). Far tails come out a little too large (for k >= 5 by less than a factor 2 at 1e-6 above, 60 below), so
    a threshold on them rejects a device that is right less often than it says.

    >>> round(chi_square_tail(16.92, 9), 3)
    0.05
    """
    variance = 2.0 / (9.0 * degrees)
    z = (math.cbrt(statistic / degrees) - (1.0 - variance)) / math.sqrt(variance)
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def put_together(expected: FloatArray) -> npt.NDArray[np.bool_]:
    """Which bins are one bin: those that expect too few and, so that the sum does not, the smallest of the others."""
    rare = expected < MIN_EXPECTED
    if rare.any():
        rare |= expected <= expected[~rare].min(initial=np.inf)
    return np.asarray(rare)


def chi_square(observed: FloatArray, expected: FloatArray) -> tuple[float, int]:
    """Pearson's sum and its degrees of freedom; bins that expect fewer than :data:`MIN_EXPECTED` are one bin.

    >>> chi_square(np.array([12.0, 8.0]), np.array([10.0, 10.0]))
    (0.8, 1)
    """
    rare = put_together(expected)
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    return float(((observed - expected) ** 2 / expected).sum()), len(expected) - 1


def total_variation(p: FloatArray, q: FloatArray) -> float:
    """``sum |p - q| / 2``.

    >>> total_variation(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    0.5
    """
    return 0.5 * float(np.abs(p - q).sum())


def normal_quantile(level: float) -> float:
    """z such that a normal variable is within +-z with probability ``level``."""
    if not 0.0 < level < 1.0:
        raise MitigationError(f"the level of an interval is {level}; it must be between 0 and 1, such as 0.95.")
    return NormalDist().inv_cdf(0.5 + level / 2.0)


#: Coefficients B_2k / (2k (2k - 1)) of Stirling's series.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
#: Most Newton steps to a quantile, and most terms of a continued fraction.
MAX_STEPS, MAX_TERMS = 100, 10_000
EPSILON = float(np.finfo(np.float64).eps)


def log_gamma(x: FloatArray) -> FloatArray:
    """log Gamma(x) for ``0 < x < 1e38``, elementwise, to 1e-14.

    Stirling's series at x + 8, and Gamma(x + 8) = x (x + 1) ... (x + 7) Gamma(x) (DLMF 5.11.1, 5.5.1).

    >>> log_gamma(np.array([0.5, 5.0])).round(6).tolist()
    [0.572365, 3.178054]
    """
    y = x + 8.0
    return np.asarray((y - 0.5) * np.log(y) - y + 0.5 * math.log(2.0 * math.pi) + _tail(y) - np.log(_eight(x)))


def log_rising(x: FloatArray, n: FloatArray) -> FloatArray:
    """log (x)_n = log Gamma(x + n) - log Gamma(x) for x > 0 and n >= 0, elementwise.

    Relative to its own size it has the digits that the difference of two :func:`log_gamma` loses when x is large.

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
    """x and 1 - x with I_x(a, b) = q, the regularised incomplete beta function, elementwise.

    With x = 1 / (1 + e^-t), log I_x is concave in t, since its density x^a (1 - x)^b / B(a, b) is log-concave: Newton's
    steps on log I_x = log q converge from anywhere.

    :param a: positive, ``(K,)``; likewise b.

    >>> x, rest = beta_quantile(0.5, np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    >>> x.round(6).tolist(), rest.round(6).tolist()
    ([0.5, 0.707107], [0.5, 0.292893])
    """
    log_b = log_gamma(np.minimum(a, b)) - log_rising(np.maximum(a, b), np.minimum(a, b))
    log_q = math.log(q)
    left = (log_q + np.log(a) + log_b) / a  # I_x is close to x^a / (a B) far to the left
    near = np.log(a / b) + NormalDist().inv_cdf(q) * np.sqrt(1.0 / a + 1.0 / b)
    t = np.where(a > 1.0, near, left)
    enough = 1e-11 + 1e-14 * (a + b)  # log I_x has this rounding error
    for _ in range(MAX_STEPS):
        log_i, slope = _log_incomplete_beta(t, a, b, log_b)
        t = t + (log_q - log_i) / slope
        if (np.abs(log_q - log_i) <= enough).all():
            break
    return np.exp(-np.logaddexp(0.0, -t)), np.exp(-np.logaddexp(0.0, t))


def _log_incomplete_beta(
    t: FloatArray, a: FloatArray, b: FloatArray, log_b: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """log I_x(a, b) and its derivative by t = log x / (1 - x)."""
    log_x, log_rest = -np.logaddexp(0.0, -t), -np.logaddexp(0.0, t)
    log_density = a * log_x + b * log_rest - log_b
    x, rest = np.exp(log_x), np.exp(log_rest)
    right = x > (a + 1.0) / (a + b + 2.0)  # there the fraction of 1 - I_x(a, b) = I_{1-x}(b, a) converges faster
    fraction = _fraction(
        np.where(right, rest, x), np.where(right, x, rest), np.where(right, b, a), np.where(right, a, b)
    )
    above = np.exp(np.where(right, log_density, -np.inf)) / fraction
    log_i = np.where(right, np.log1p(-np.minimum(above, 1.0 - EPSILON)), log_density - np.log(fraction))
    return log_i, np.where(right, np.exp(np.minimum(log_density - log_i, 700.0)), fraction)


def _fraction(x: FloatArray, rest: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """The continued fraction F in I_x(a, b) = x^a (1 - x)^b / (B(a, b) F), with rest = 1 - x.

    F = u_0 + v_1 / (u_1 + v_2 / (u_2 + ...)) of Didonato and Morris, ACM TOMS 18, 360 (1992), by Lentz's method. It
    takes about sqrt(max(a, b)) terms at x < (a + 1) / (a + b + 2).
    """
    excess = a * rest - b * x + 1.0
    out = a * excess / (a + 1.0)
    c, d = out, np.zeros_like(x)
    for m in range(1, MAX_TERMS):
        odd = a + (2 * m - 1)
        v = (a + (m - 1)) * (a + b + (m - 1)) * (m * (b - m)) * (x / odd) ** 2
        u = m + m * (b - m) * x / odd + (a + m) * (excess + m * (1.0 + rest)) / (odd + 2.0)
        d = 1.0 / (u + v * d)
        c = u + v / c
        change = c * d
        out = out * change
        if (np.abs(change - 1.0) <= 4.0 * EPSILON).all():
            break
    return np.asarray(out)


def sampling_distance(p: np.ndarray[Any, np.dtype[np.float64]], events: float) -> float:
    """Expected total variation distance of an estimate from that many events.

    >>> round(sampling_distance(np.full(4, 0.25), 1e4), 4)
    0.0069
    """
    return min(1.0, float(np.sqrt(p * (1.0 - p) / (2.0 * np.pi * max(events, 1e-12))).sum()))
