"""Empirical-Bayes fusion: post-selected counts with a prior made of the shots that lost photons.

The K = C(M, N) collision-free outcomes have a Dirichlet prior with mean mu and concentration kappa. The mean is the
uniform distribution plus g times the deviation from it of a recycled distribution R_k
(:func:`~qpu_sdk.mitigation.recycling.recycled`)::

    mu_s ~ max(1/K + g (R_k(s) - 1/K), 1e-4 / K),    k in {1, 2},    g in {0, 0.5, 1, 1.5, 2, 3, 4, 6}

Which k, g and kappa is decided by the evidence of the N-click counts n_s, n = sum_s n_s, with (x)_n = Gamma(x + n) /
Gamma(x) (Dirichlet-multinomial; Minka, "Estimating a Dirichlet distribution", 2000)::

    log L = sum_s log (kappa mu_s)_{n_s} - log (kappa)_n

The posterior is a Dirichlet distribution with alpha_s = n_s + kappa mu_s: the estimate is its mean, alpha_s over their
sum, and each outcome by itself has a beta distribution, Beta(alpha_s, sum alpha - alpha_s).

With g = 0 this is smoothing towards uniform, and kappa = K is Laplace's rule, which suits the output of random
circuits. It is always among the choices, and the only one where lossy shots are missing. The weight of the prior falls
as kappa / (n + kappa), so the estimate converges to what post-selection gives, whatever the prior.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import final

import numpy as np

from ..errors import MitigationError
from ..photonics.counts import Counts
from ..photonics.permanents import FloatArray
from .distribution import Uncertainty
from .recycling import MOST_LOST, numbers_of, recycled

#: Gains g that are tried with each recycled distribution, besides 0.
GAINS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: Least prior mean, in units of 1/K.
FLOOR = 1e-4
#: Range of log kappa, the points that every prior is tried at, and the spacings at which the best ones are compared and
#: kappa is found in the end.
LOG_KAPPA = (-1.0, 18.0)
GRID: FloatArray = np.linspace(*LOG_KAPPA, 20)
COARSE, FINEST = 0.2, 1e-5
#: How many of the priors, the best ones of the grid, are compared.
FINALISTS = 3
#: Evidences that differ by less are the same.
SAME = 1e-9
#: Coefficients B_2k / (2k (2k - 1)) of Stirling's series.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
#: Most Newton steps to a quantile, and most terms of a continued fraction.
MAX_STEPS, MAX_TERMS = 100, 10_000
EPSILON = float(np.finfo(np.float64).eps)


@final
@dataclass(frozen=True, eq=False)
class Fusion(Uncertainty):
    """The estimate of the collision-free distribution and what it rests on.

    :param probabilities: posterior mean, ``(K,)``, sums to 1.
    :param prior: mu, ``(K,)``.
    :param concentration: kappa, how many events the prior is worth.
    :param lost: k, photons lost in the shots that the prior is made of; 0 for the uniform prior.
    :param gain: g.
    :param log_evidence: log L of the events in the order they came.
    :param posterior: alpha, parameters of the posterior Dirichlet distribution, ``(K,)``.
    """

    probabilities: FloatArray = field(repr=False)
    prior: FloatArray = field(repr=False)
    concentration: float
    lost: int
    gain: float
    log_evidence: float
    posterior: FloatArray = field(repr=False)

    def covariance(self) -> FloatArray:
        """Of the Dirichlet posterior, ``(diag(p) - p p^T) / (sum alpha + 1)``."""
        p = self.probabilities
        return np.asarray((np.diag(p) - np.outer(p, p)) / (self.posterior.sum() + 1.0))

    def variances(self) -> FloatArray:
        """Its diagonal."""
        p = self.probabilities
        return np.asarray(p * (1.0 - p) / (self.posterior.sum() + 1.0))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Credible interval of each outcome by itself, with equal probability below and above.

        It holds the truth with probability ``level`` when the truth is drawn from the prior; it does not know of noise
        other than loss.

        :returns: lower and upper ends, ``(K,)`` each.
        :raises MitigationError: unless ``0 < level < 1``.

        >>> counts = Counts(photons=1, outcomes=np.eye(2, dtype=np.uint8), numbers=np.array([30, 10]))
        >>> low, high = fuse(counts).interval(0.9)
        >>> low.round(2).tolist(), high.round(2).tolist()
        ([0.61, 0.17], [0.83, 0.39])
        """
        if not 0.0 < level < 1.0:
            raise MitigationError(f"the level of an interval is {level}; it must be between 0 and 1, such as 0.95.")
        a = self.posterior
        if len(a) == 1:
            return np.ones(1), np.ones(1)
        b = a.sum() - a
        # An upper end is 1 less the lower end of all other outcomes together.
        x, rest = beta_quantile(0.5 * (1.0 - level), np.concatenate([a, b]), np.concatenate([b, a]))
        return x[: len(a)], rest[len(a) :]


def fuse(counts: Counts) -> Fusion:
    """The posterior under the prior with the largest evidence; see the module's docstring.

    :raises MitigationError: when the counts hold no collision-free N-photon event.
    :raises ProgramError: unless ``1 <= photons <= modes``.

    >>> outcomes = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 1, 0]])
    >>> fusion = fuse(Counts(photons=2, outcomes=outcomes, numbers=np.array([6, 2, 90, 60])))
    >>> fusion.lost, fusion.gain, fusion.probabilities.round(3).tolist()
    (1, 3.0, [0.781, 0.219, 0.0])
    """
    rows = recycled(counts)
    if not rows[0].any():
        raise MitigationError(
            f"no collision-free {counts.photons}-photon event in {counts.shots} shots. Use more shots or fewer photons."
        )
    numbers = numbers_of(counts, counts.photons)
    candidates = list(priors(rows))
    on_grid = [log_evidence(numbers, prior, np.exp(GRID)) for _, _, prior in candidates]
    # The uniform prior comes first, so that another one has to be better.
    finalists = sorted(np.argsort([-_vertex(values) for values in on_grid], kind="stable")[:FINALISTS])
    starts = {i: float(GRID[_last_largest(on_grid[i])]) for i in finalists}
    best = max(finalists, key=lambda i: _refine(numbers, candidates[i][2], starts[i], finest=COARSE)[0])
    lost, gain, prior = candidates[best]
    value, log_kappa = _refine(numbers, prior, starts[best], finest=FINEST)
    kappa = math.exp(log_kappa)
    posterior = numbers + kappa * prior
    return Fusion(posterior / posterior.sum(), prior, kappa, lost, gain, value, posterior)


def priors(rows: FloatArray) -> Iterator[tuple[int, float, FloatArray]]:
    """k, g and mu of every prior that can be made of R_0, R_1 and R_2, ``(3, K)``; the uniform one, k = 0, first."""
    size = rows.shape[1]
    yield 0, 0.0, np.full(size, 1.0 / size)
    for lost in range(1, MOST_LOST + 1):
        if rows[lost].any():
            for gain in GAINS:
                mean = np.maximum(1.0 / size + gain * (rows[lost] - 1.0 / size), FLOOR / size)
                yield lost, gain, mean / mean.sum()


def log_evidence(numbers: FloatArray, prior: FloatArray, kappa: FloatArray) -> FloatArray:
    """log L of numbers of events ``(K,)`` under a prior mean ``(K,)``, for each concentration, ``(G,) -> (G,)``.

    One event says nothing about the concentration:

    >>> log_evidence(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([1.0, 100.0])).round(3).tolist()
    [-0.693, -0.693]
    """
    seen = numbers > 0.0
    alpha = kappa[:, None] * prior[seen]
    return np.asarray(log_rising(alpha, numbers[seen]).sum(axis=1) - log_rising(kappa, numbers.sum()))


def _last_largest(values: FloatArray) -> int:
    """Where the evidence is largest; the largest concentration where it does not depend on it."""
    return int(np.flatnonzero(values >= values.max() - SAME)[-1])


def _vertex(values: FloatArray) -> float:
    """Largest value of the parabola through the largest of equally spaced values and its neighbours."""
    i = _last_largest(values)
    if not 0 < i < len(values) - 1:
        return float(values[i])
    below, top, above = values[i - 1 : i + 2]
    curvature = 2.0 * top - below - above
    return float(top + (above - below) ** 2 / (8.0 * curvature)) if curvature > 0.0 else float(top)


def _refine(numbers: FloatArray, prior: FloatArray, log_kappa: float, *, finest: float) -> tuple[float, float]:
    """Largest evidence next to a point of the grid, and its log kappa: grids that are eight times finer each time."""
    spacing, value = float(GRID[1] - GRID[0]), -math.inf
    while spacing > finest:
        low, high = max(log_kappa - spacing, LOG_KAPPA[0]), min(log_kappa + spacing, LOG_KAPPA[1])
        points = np.linspace(low, high, 17)
        values = log_evidence(numbers, prior, np.exp(points))
        spacing, value, log_kappa = (high - low) / 16.0, _vertex(values), float(points[_last_largest(values)])
    return value, log_kappa


# -- gamma and beta functions ------------------------------------------------------------------------------------


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
