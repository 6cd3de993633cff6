"""What mitigation returns: a collision-free distribution, how sure it is, and how it came about."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..photonics.counts import Counts
from .uncertainty import Multinomial, Uncertainty

#: Probabilities up to this are rounding errors, and variances up to its square.
ROUNDING = 1e-14


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
