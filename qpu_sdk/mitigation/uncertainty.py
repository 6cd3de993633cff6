"""How sure an estimate is: multinomial, reweighted, replicas, posterior."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import MitigationError
from ..statistics import normal_quantile


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
        """overhead (diag(p) - p p^T) / samples; see :meth:`_shrunk` for events that are all alike.

        :returns: ``(K, K)``.
        """
        p, n = self._shrunk()
        return np.asarray((np.diag(p) - np.outer(p, p)) / n)

    def variances(self) -> FloatArray:
        """overhead p (1 - p) / samples, ``(K,)``, likewise."""
        p, n = self._shrunk()
        return np.asarray(p * (1.0 - p) / n)

    def _shrunk(self) -> tuple[FloatArray, float]:
        """Probabilities and events that errors are worked out from.

        Where all events are of one outcome the formula gives errors of 0, as if one event were certainty: then they are
        those of the Dirichlet posterior with mean (n p + 1/K) / (n + 1) (Perks, J. Inst. Actuaries 73, 285).
        """
        p, n = self.probabilities, self.samples / self.overhead
        if n > 0.0 and (p.max() < 1.0 or len(p) == 1):
            return p, n
        return (n * p + 1.0 / len(p)) / (n + 1.0), n + 2.0

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Wilson's score interval (J. Am. Stat. Assoc. 22, 209 (1927)), which is sensible for zero events too."""
        if self.samples == 0:  # nothing was seen, so that nothing is known
            return np.zeros(len(self.probabilities)), np.ones(len(self.probabilities))
        z2 = normal_quantile(level) ** 2
        n, p = self.samples / self.overhead, self.probabilities
        middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n)
        half = np.sqrt(z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))) / (1.0 + z2 / n)
        return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


@final
@dataclass(frozen=True, eq=False)
class Reweighted(Uncertainty):
    """Relative frequencies of independent events with weights: ``p = x / sum x``, x with variances v.

    The covariance is ``(diag(v) - p v^T - v p^T + sum(v) p p^T) / (sum x)^2``. The interval is Wilson's, which is
    sensible for zero events: with c, what one event adds to p, and sigma, the error of p, ::

        (p + z^2 c / 2  -+  z sqrt(sigma^2 + z^2 c^2 / 4)) / (1 + z^2 c)

    :param numbers: x, ``(K,)``.
    :param spread: v, ``(K,)``.
    :param weights: what one event adds to x, ``(K,)``.
    """

    numbers: FloatArray = field(repr=False)
    spread: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)

    def covariance(self) -> FloatArray:
        """See the class's docstring, ``(K, K)``."""
        total = self.numbers.sum()
        p, v = self.numbers / total, self.spread / total**2
        mixed = np.outer(p, v)
        return np.asarray(np.diag(v) - mixed - mixed.T + v.sum() * np.outer(p, p))

    def variances(self) -> FloatArray:
        """Its diagonal, ``(K,)``."""
        total = self.numbers.sum()
        p, v = self.numbers / total, self.spread / total**2
        return np.asarray(np.maximum(v * (1.0 - 2.0 * p) + v.sum() * p**2, 0.0))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Wilson's score interval with weights, within 0..1.

        :raises MitigationError: unless ``0 < level < 1``.
        :returns: lower and upper ends, ``(K,)`` each.
        """
        if not 0.0 < level < 1.0:
            raise MitigationError(f"the level of an interval is {level}; it must be between 0 and 1, such as 0.95.")
        z2 = NormalDist().inv_cdf(0.5 + level / 2.0) ** 2
        total = self.numbers.sum()
        p, c = np.maximum(self.numbers / total, 0.0), self.weights / total
        middle = (p + 0.5 * z2 * c) / (1.0 + z2 * c)
        half = np.sqrt(z2 * (self.variances() + 0.25 * z2 * c**2)) / (1.0 + z2 * c)
        return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)


@final
@dataclass(frozen=True, eq=False)
class Remainder(Uncertainty):
    """Of ``(q - lost) / left``, with q relative frequencies; so is its interval, within 0..1.

    Outcomes without an event have one as long as that of :class:`Reweighted`, and not none. The bias of what was left
    in is not in it.

    :param seen: of q.
    :param lost: lambda (1 - c) b, ``(K,)``.
    :param left: 1 - lambda (1 - c).
    """

    seen: Reweighted
    lost: FloatArray = field(repr=False)
    left: float

    def covariance(self) -> FloatArray:
        """That of q over left^2.

        :returns: ``(K, K)``.
        """
        return self.seen.covariance() / self.left**2

    def variances(self) -> FloatArray:
        """Its diagonal.

        :returns: ``(K,)``.
        """
        return self.seen.variances() / self.left**2

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Both ends of q's interval in the place of q.

        :returns: lower and upper ends, ``(K,)`` each.
        """
        low, high = ((end - self.lost) / self.left for end in self.seen.interval(level))
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


@final
@dataclass(frozen=True, eq=False)
class Replicas(Uncertainty):
    """The spread of the estimate over resampled counts.

    A regularised estimate has a bias that its replicas share: these intervals hold its mean, not the truth.

    :param values: one estimate a row, ``(B, K)``.
    """

    values: FloatArray = field(repr=False)

    def covariance(self) -> FloatArray:
        """Of the replicas.

        :returns: ``(K, K)``.
        """
        return np.atleast_2d(np.cov(self.values, rowvar=False))

    def variances(self) -> FloatArray:
        """Of the replicas.

        :returns: ``(K,)``.
        """
        return np.asarray(self.values.var(axis=0, ddof=1))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Percentiles of the replicas.

        :returns: lower and upper ends, ``(K,)`` each.
        """
        normal_quantile(level)
        low, high = np.quantile(self.values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
        return low, high


@final
@dataclass(frozen=True, eq=False)
class Shared(Uncertainty):
    """Errors that outcomes share, added to those of another kind in quadrature.

    :param own: the other kind.
    :param probabilities: the estimate, ``(K,)``.
    :param rows: one for every independent cause of a common error, in probabilities, ``(F, K)``.
    """

    own: Uncertainty
    probabilities: FloatArray = field(repr=False)
    rows: FloatArray = field(repr=False)

    def covariance(self) -> FloatArray:
        """The sum of both.

        :returns: ``(K, K)``.
        """
        return np.asarray(self.own.covariance() + self.rows.T @ self.rows)

    def variances(self) -> FloatArray:
        """Its diagonal.

        :returns: ``(K,)``.
        """
        return np.asarray(self.own.variances() + (self.rows**2).sum(axis=0))

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Each end as far as both together.

        :returns: lower and upper ends, ``(K,)`` each.
        """
        low, high = self.own.interval(level)
        p, common = self.probabilities, normal_quantile(level) ** 2 * (self.rows**2).sum(axis=0)
        low = p - np.sqrt(np.maximum(p - low, 0.0) ** 2 + common)
        high = p + np.sqrt(np.maximum(high - p, 0.0) ** 2 + common)
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
