"""Gated background subtraction of the N-click class.

A collision-free outcome s is seen as it is with gain g_s; what else looks like it is background B_s
(:class:`~qpu_sdk.mitigation.forward.Forward`), and the counts are ``n_s ~ Poisson(A (g_s pi_s + B_s))``, with
``B = max(P_model - g pi_model, 0)``. The gains hold the detectors' response and what second photons do to it. They are
undone first and always, ``q = (n / g) / sum(n / g)``, so that with ``b ~ B / g``, sum 1, and ``c = sum pi_model /
sum(pi_model + B / g)``::

    E[q] = c pi + (1 - c) b,             pi_lambda = (q - lambda (1 - c) b) / (1 - lambda (1 - c))

Subtracting everything, lambda = 1, is unbiased and multiplies the variance by 1 / c^2; with few events that does more
harm than good. The gate is the lambda of 0, 0.01, ..., 1 with the least expected squared error::

    ((1 - c) (1 - lambda) / (1 - lambda (1 - c)))^2 D  +  V / (1 - lambda (1 - c))^2
    V = sum_s var(q_s),        D = max(|b - q|^2 - V, 0) / c^2, an estimate of |b - pi|^2

With even gains ``V = (1 - sum q^2) / n``. It is taken at counts smoothed by Laplace's rule: the relative frequencies of
one event, or of a few equal ones, would have no variance, and the gate would open on them.

What is known of the answer: the background is the interference of N - 1 photons or fewer, but for a small remainder,
bunched outcomes with a second photon (0.3 % of the class at 6 % transmittance, up to 2 % at 30 %), which is of modelled
N-photon terms; and c takes the modelled share of collision-free outcomes, a single number. Unfolding needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import MitigationError
from .forward import Forward
from .simplex import project
from .uncertainty import Remainder, Reweighted

#: Values of lambda that are tried.
GATES: FloatArray = np.linspace(0.0, 1.0, 101)
#: Least gain relative to the largest that is undone, and least share of signal in the N-click class.
LEAST_GAIN, LEAST_SIGNAL = 1e-12, 1e-6


@final
@dataclass(frozen=True, eq=False)
class Subtracted:
    """What is left of the N-click class.

    :param probabilities: ``(C(M, N),)``, sum 1.
    :param unprojected: pi_lambda, before negative entries were taken away; sums to 1, ``(C(M, N),)``.
    :param uncertainty: of ``unprojected`` at this lambda.
    :param gate: lambda.
    :param background: b, ``(C(M, N),)``.
    :param remains: share of it in ``probabilities``, (1 - c) (1 - lambda) / (1 - lambda (1 - c)).
    :param kept: c / (1 - lambda (1 - c)), what errors of the class become, of those that full subtraction has.
    :param signal_share: of the N-click class as counted, ``sum g pi_model / sum P_model``; with even gains it is c.
    """

    probabilities: FloatArray = field(repr=False)
    unprojected: FloatArray = field(repr=False)
    uncertainty: Remainder = field(repr=False)
    gate: float
    signal_share: float
    background: FloatArray = field(repr=False)
    remains: float
    kept: float

    @property
    def covariance(self) -> FloatArray:
        """Of ``unprojected``, ``(C(M, N), C(M, N))``."""
        return self.uncertainty.covariance()

    @property
    def background_share(self) -> float:
        """1 - ``signal_share``."""
        return 1.0 - self.signal_share

    def bias(self, model: Forward) -> FloatArray:
        """What the background that was left in adds, by the model, ``(C(M, N),)``."""
        pi = model.ideal[model.space.free]
        return np.asarray(self.remains * (self.background - pi / pi.sum()))


def subtract(numbers: FloatArray, model: Forward, *, gate: float | None = None, misfit: float = 0.0) -> Subtracted:
    """Take as much of the modelled background away as the events bear; see the module's docstring.

    :param numbers: of the collision-free N-click patterns, lexicographic, ``(C(M, N),)``.
    :param model: of the program that was run.
    :param gate: lambda; None to choose it.
    :param misfit: sum of the variances of conditional probabilities because the circuit is not what was asked for.
    :raises MitigationError: when there is no event, numbers do not fit, or the model has no signal.

    >>> from qpu_sdk.mitigation.forward import forward
    >>> from qpu_sdk.photonics.noise import Noise
    >>> first, second = np.eye(3, dtype=complex), np.eye(3, dtype=complex)
    >>> first[:2, :2] = second[1:, 1:] = np.array([[0.8, 0.6j], [0.6j, 0.8]])
    >>> noise = Noise(indistinguishability=0.8).at((0, 1), modes=3)
    >>> model = forward((second @ first)[:, :2], noise)
    >>> seen = 1e5 * model.model[model.space.full]
    >>> found = subtract(seen, model)
    >>> (seen / seen.sum()).round(3).tolist(), found.probabilities.round(3).tolist(), round(found.signal_share, 3)
    ([0.302, 0.17, 0.528], [0.173, 0.097, 0.73], 0.643)
    """
    here = model.space
    _check(numbers, model, gate)
    gain, pi = model.gain, model.ideal[here.free]
    background = np.maximum(model.model[here.full] - gain * pi, 0.0)
    weights = gain.mean() / gain  # near 1, so that weighted counts are still about counts
    signal, rest = float((weights * gain * pi).sum()), weights * background
    lost = float(rest.sum())
    c = signal / (signal + lost)
    b = rest / lost if lost > 0.0 else np.full(len(pi), 1.0 / len(pi))  # of nothing to subtract any shape will do
    q = weights * numbers / (weights * numbers).sum()
    chosen = _gate(q, b, c, _noise(numbers, weights) + c**2 * misfit) if gate is None else gate
    left = 1.0 - chosen * (1.0 - c)
    plain = (q - chosen * (1.0 - c) * b) / left
    return Subtracted(
        probabilities=project(plain),
        unprojected=plain,
        uncertainty=Remainder(_relative(numbers, weights), chosen * (1.0 - c) * b, left),
        gate=float(chosen),
        signal_share=float((gain * pi).sum()) / float((gain * pi + background).sum()),
        background=b,
        kept=c / left,
        remains=(1.0 - c) * (1.0 - float(chosen)) / left,
    )


def _check(numbers: FloatArray, model: Forward, gate: float | None) -> None:
    full, photons = model.space.full, model.space.photons
    if numbers.shape != full.shape or not np.isfinite(numbers).all() or numbers.min() < 0.0:
        raise MitigationError(
            f"numbers of shape {numbers.shape} are not those of {len(full)} outcomes, zero or more. "
            "Use Counts.collision_free()."
        )
    if numbers.sum() <= 0.0:
        raise MitigationError(f"there is no collision-free {photons}-photon event. Use more shots or fewer photons.")
    if gate is not None and not 0.0 <= gate <= 1.0:
        raise MitigationError(f"gate is {gate}; it must be within 0..1. Use 1 to subtract everything.")
    gain = model.gain
    weakest = int(gain.argmin())
    if gain[weakest] <= LEAST_GAIN * gain.max():
        modes = np.flatnonzero(model.space.patterns[full[weakest]]).tolist()
        raise MitigationError(
            f"the device never shows {photons} interfering photons in modes {modes}: gain {gain[weakest]:.3g}. Check "
            "the record's efficiencies and indistinguishability, or use method post-select."
        )
    share = float(model.ideal[model.space.free] @ gain) / max(float(model.model[full].sum()), 1e-300)
    if share < LEAST_SIGNAL:
        raise MitigationError(
            f"{share:.2g} of the events of {photons} clicks are signal, {LEAST_SIGNAL} is the least: all photons of "
            "this program bunch. Use another program, or method post-select."
        )


def _relative(numbers: FloatArray, weights: FloatArray) -> Reweighted:
    return Reweighted(weights * numbers, weights**2 * numbers, weights)


def _noise(numbers: FloatArray, weights: FloatArray) -> float:
    """V, total variance of reweighted frequencies, at counts smoothed by Laplace's rule."""
    total = float(numbers.sum())
    smoothed = (numbers + 1.0) * (total / (total + len(numbers)))
    return float(_relative(smoothed, weights).variances().sum())


def _gate(q: FloatArray, b: FloatArray, c: float, noise: float) -> float:
    """lambda of the least expected squared error."""
    distance = max(float(((b - q) ** 2).sum()) - noise, 0.0) / c**2
    left = 1.0 - GATES * (1.0 - c)
    error = ((1.0 - c) * (1.0 - GATES) / left) ** 2 * distance + noise / left**2
    return float(GATES[int(error.argmin())])
