"""What mitigation returns: a collision-free distribution, how sure it is, and how it came about."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import final

import numpy as np

from ..errors import MitigationError
from ..photonics.counts import Counts
from ..photonics.permanents import FloatArray

#: Probabilities up to this are rounding errors, and variances up to its square.
ROUNDING = 1e-14


class Uncertainty(abc.ABC):
    """How sure an estimate of K probabilities is."""

    @abc.abstractmethod
    def covariance(self) -> FloatArray:
        """Of the probabilities, ``(K, K)``."""

    @abc.abstractmethod
    def variances(self) -> FloatArray:
        """The covariance's diagonal, ``(K,)``, without building it."""

    @abc.abstractmethod
    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends, ``(K,)`` each, that hold each probability with that level."""


@final
@dataclass(frozen=True, eq=False)
class Multinomial(Uncertainty):
    """Relative frequencies of ``samples`` independent events.

    :param overhead: variance relative to that.
    """

    probabilities: FloatArray = field(repr=False)
    samples: float
    overhead: float = 1.0

    def covariance(self) -> FloatArray:
        """overhead (diag(p) - p p^T) / samples."""
        p = self.probabilities
        return np.asarray((np.diag(p) - np.outer(p, p)) * (self.overhead / self.samples))

    def variances(self) -> FloatArray:
        """overhead p (1 - p) / samples."""
        p = self.probabilities
        return np.asarray(p * (1.0 - p) * (self.overhead / self.samples))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Wilson's score interval (J. Am. Stat. Assoc. 22, 209 (1927)), which is sensible for zero events too."""
        z2 = _quantile(level) ** 2
        n, p = self.samples / self.overhead, self.probabilities
        middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n)
        half = np.sqrt(z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))) / (1.0 + z2 / n)
        return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


@final
@dataclass(frozen=True, eq=False)
class Replicas(Uncertainty):
    """The spread of the estimate over resampled counts.

    A regularised estimate has a bias that its replicas share: these intervals hold its mean, not the truth.

    :param values: one estimate a row, ``(B, K)``.
    """

    values: FloatArray = field(repr=False)

    def covariance(self) -> FloatArray:
        """Of the replicas."""
        return np.atleast_2d(np.cov(self.values, rowvar=False))

    def variances(self) -> FloatArray:
        """Of the replicas."""
        return np.asarray(self.values.var(axis=0, ddof=1))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Percentiles of the replicas."""
        _quantile(level)
        low, high = np.quantile(self.values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
        return low, high


@final
@dataclass(frozen=True, eq=False)
class Posterior(Uncertainty):
    """A posterior on a grid for every outcome, and errors that outcomes share.

    Each outcome's rate x_s has masses on cells; p = x / sum x, so the covariance of p is
    ``J (diag(var x) + S^T S) J^T`` with ``J = 1 - p 1^T`` and x scaled to sum 1.

    :param edges: of the cells, probabilities, ``(K, G + 1)``.
    :param masses: of the cells, ``(K, G)``, rows sum to 1.
    :param shared: one row for every independent cause of a common error, in probabilities, ``(F, K)``.
    """

    edges: FloatArray = field(repr=False)
    masses: FloatArray = field(repr=False)
    shared: FloatArray = field(repr=False)

    def _moments(self) -> tuple[FloatArray, FloatArray]:
        middle = 0.5 * (self.edges[:, 1:] + self.edges[:, :-1])
        mean = (self.masses * middle).sum(axis=1)
        return mean, (self.masses * (middle - mean[:, None]) ** 2).sum(axis=1)

    def covariance(self) -> FloatArray:
        """J (diag(var x) + S^T S) J^T."""
        mean, variance = self._moments()
        jacobian = np.eye(len(mean)) - np.outer(mean / mean.sum(), np.ones(len(mean)))
        return np.asarray(jacobian @ (np.diag(variance) + self.shared.T @ self.shared) @ jacobian.T)

    def variances(self) -> FloatArray:
        """Its diagonal."""
        mean, variance = self._moments()
        p = mean / mean.sum()
        together = self.shared - self.shared.sum(axis=1, keepdims=True) * p
        return np.asarray(variance * (1.0 - 2.0 * p) + p**2 * variance.sum() + (together**2).sum(axis=0))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Equal-tailed ends of each outcome's posterior, widened by the shared errors in quadrature."""
        z = _quantile(level)
        mean, _ = self._moments()
        tail = (1.0 - level) / 2.0
        low, high = self.quantile(tail), self.quantile(1.0 - tail)
        low = np.where(low < self.edges[:, 1], 0.0, low)  # within the first cell nothing speaks against zero
        common = z**2 * (self.shared**2).sum(axis=0)
        low = mean - np.sqrt(np.maximum(mean - low, 0.0) ** 2 + common)
        high = mean + np.sqrt(np.maximum(high - mean, 0.0) ** 2 + common)
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)

    def quantile(self, level: float) -> FloatArray:
        """Linear within a cell, ``(K,)``."""
        total = np.cumsum(self.masses, axis=1)
        cell = np.minimum((total < level).sum(axis=1), self.masses.shape[1] - 1)
        row = np.arange(len(total))
        mass = np.maximum(self.masses[row, cell], 1e-300)
        share = np.clip((level - (total[row, cell] - self.masses[row, cell])) / mass, 0.0, 1.0)
        left, right = self.edges[row, cell], self.edges[row, cell + 1]
        return np.asarray(left + share * (right - left))


def total_variation(p: FloatArray, q: FloatArray) -> float:
    """``sum |p - q| / 2``.

    >>> total_variation(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    0.5
    """
    return 0.5 * float(np.abs(p - q).sum())


def _quantile(level: float) -> float:
    """z such that a normal variable is within +-z with probability ``level``."""
    if not 0.0 < level < 1.0:
        raise MitigationError(f"the level of an interval is {level}; it must be between 0 and 1, such as 0.95.")
    return NormalDist().inv_cdf(0.5 + level / 2.0)


@final
@dataclass(frozen=True)
class StepReport:
    """One step: whether it was used, and why or why not."""

    name: str
    used: bool
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.used else f"{self.name} not used: {self.why}"


@final
@dataclass(frozen=True)
class Diagnostics:
    """What tells whether to believe an estimate; None where a step has nothing to say.

    :param chi2: of the N-click class against the estimate with its noise put back, rare outcomes merged.
    :param dof: bins of that test.
    :param p_value: of that test; tiny: the estimate is not what was measured.
    :param iterations: chosen by held-out counts.
    :param background_fraction: of the N-click class: from fewer than N interfering photons, or from second photons.
    :param phase_error: largest error of a phase, radians, of the record or as the counts tell; far above what the
        device had when it was calibrated, the record does not describe it any more.
    :param negative_mass: what the projection on probabilities removed.
    """

    chi2: float | None = None
    dof: int | None = None
    p_value: float | None = None
    iterations: int | None = None
    background_fraction: float | None = None
    phase_error: float | None = None
    negative_mass: float = 0.0


@final
@dataclass(frozen=True, eq=False)
class Distribution:
    """Estimated collision-free distribution with its uncertainty.

    :param probabilities: conditional on a collision-free N-photon event, lexicographic, ``(C(M, N),)``, sum 1.
    :param samples: collision-free N-click events among the counts.
    :param shots: shots spent.
    :param uncertainty: None for that of relative frequencies.
    :param unprojected: the estimate before it was made a distribution, ``(C(M, N),)``; None where it was one.
    :param history: the steps that led here, and those that were left out.
    :param record_id: of the calibration record behind it, ``""`` for none.
    :param raw: the counts.

    >>> Distribution(probabilities=np.array([0.25, 0.75]), samples=100, shots=400).standard_errors.round(3).tolist()
    [0.043, 0.043]
    """

    probabilities: FloatArray = field(repr=False)
    samples: int
    shots: int
    uncertainty: Uncertainty | None = field(default=None, repr=False)
    unprojected: FloatArray | None = field(default=None, repr=False)
    history: tuple[StepReport, ...] = ()
    diagnostics: Diagnostics = Diagnostics()
    record_id: str = ""
    raw: Counts | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.uncertainty is None:
            object.__setattr__(self, "uncertainty", Multinomial(self.probabilities, self.samples))
        if self.unprojected is None:
            object.__setattr__(self, "unprojected", self.probabilities)

    @property
    def _sure(self) -> Uncertainty:
        assert self.uncertainty is not None
        return self.uncertainty

    @property
    def covariance(self) -> FloatArray:
        """Of the probabilities, ``(K, K)``."""
        return self._sure.covariance()

    @property
    def standard_errors(self) -> FloatArray:
        """Square roots of the covariance's diagonal, ``(K,)``, without building it."""
        return np.sqrt(np.maximum(self._sure.variances(), 0.0))

    @property
    def effective_samples(self) -> float:
        """Events of a perfect device with the same total variance, ``(1 - sum p^2) / trace(covariance)``.

        Infinite where there is no variance, or one outcome has all the probability.
        """
        variance = float(self._sure.variances().sum())
        spread = 1.0 - float((self.probabilities**2).sum())
        return spread / variance if variance > ROUNDING**2 and spread > ROUNDING else math.inf

    @property
    def overhead(self) -> float:
        """Variance relative to relative frequencies of as many events; below 1 where other clicks help."""
        effective = self.effective_samples
        return 0.0 if math.isinf(effective) else self.samples / effective

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends, ``(K,)`` each, that hold each probability with that level."""
        return self._sure.interval(level)
