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
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import MitigationError
from ..photonics.counts import Counts
from ..statistics import beta_quantile, log_rising
from .recycling import MOST_LOST, numbers_of, recycled
from .uncertainty import Uncertainty

#: Gains g that are tried with each recycled distribution, besides 0.
#: Each lost photon blurs the distribution, so the deviation has to be made larger again.
GAINS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: Least prior mean, in units of 1/K.
#: With a mean of 0, a single event there would make the evidence 0.
FLOOR = 1e-4
#: Range of log kappa, the points that every prior is tried at, and the spacings at which the best ones are compared and
#: kappa is found in the end.
LOG_KAPPA = (-1.0, 18.0)
LOG_KAPPA_GRID: FloatArray = np.linspace(*LOG_KAPPA, 20)
COARSE, FINEST = 0.2, 1e-5
#: How many of the priors, the best ones of the grid, are compared.
FINALISTS = 3
#: Evidences that differ by less are the same.
EQUALLY_LIKELY = 1e-9


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
        """Its diagonal.

        :returns: ``(K,)``.
        """
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
    on_grid = [log_evidence(numbers, prior, np.exp(LOG_KAPPA_GRID)) for _, _, prior in candidates]
    # The uniform prior comes first, so that another one has to be better.
    finalists = sorted(np.argsort([-_vertex(values) for values in on_grid], kind="stable")[:FINALISTS])
    starts = {i: float(LOG_KAPPA_GRID[_last_largest(on_grid[i])]) for i in finalists}
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
    seen = numbers > 0.0  # (x)_0 is 1: outcomes without events add nothing
    alpha = kappa[:, None] * prior[seen]
    return np.asarray(log_rising(alpha, numbers[seen]).sum(axis=1) - log_rising(kappa, numbers.sum()))


def _last_largest(values: FloatArray) -> int:
    """Where the evidence is largest; the largest concentration where it does not depend on it."""
    return int(np.flatnonzero(values >= values.max() - EQUALLY_LIKELY)[-1])


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
    spacing, value = float(LOG_KAPPA_GRID[1] - LOG_KAPPA_GRID[0]), -math.inf
    while spacing > finest:
        low, high = max(log_kappa - spacing, LOG_KAPPA[0]), min(log_kappa + spacing, LOG_KAPPA[1])
        points = np.linspace(low, high, 17)
        values = log_evidence(numbers, prior, np.exp(points))
        spacing, value, log_kappa = (high - low) / 16.0, _vertex(values), float(points[_last_largest(values)])
    return value, log_kappa
