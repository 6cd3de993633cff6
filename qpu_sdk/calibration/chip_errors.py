"""Errors of phases, or of mixing angles? Which of the two explains better what is left between counts and model.

Errors of all phases, anew in every setting, and of mixing angles alone move counts by other patterns: with V the
variance of a pattern that either explains, the one is taken with the larger
``- 1/2 sum_T ((n_T - mu_T)^2 / V_T + log V_T)``, when the difference is more than chance: patterns that one wrong phase
moves together count once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..photonics.program import Program
from .counted import Counted
from .misfit import Misfit, misfit
from .parts import Measured

#: By how much the log-likelihoods must differ: a factor of seven.
MORE_LIKELY = 2.0
#: A uniform error has this standard deviation, in units of its largest.
OF_UNIFORM = 3.0**-0.5


@final
@dataclass(frozen=True)
class ChipErrors:
    """Sizes of what is left.

    :param phase: largest error of a phase; None where mixing angles explain it.
    :param angle: standard deviation of mixing angles; None where phases explain it.
    :param note: in words.
    """

    phase: Measured | None
    angle: Measured | None
    note: str


def chip_errors(seen: Sequence[Counted], x: FloatArray, left: Misfit) -> ChipErrors:
    """Sizes of the errors that explain what parameters leave.

    :param left: the misfit of phases at x.
    """
    phases, independent = _log_likelihood(seen, left)
    turned = [replace(one, errors=one.errors * _mixing(one.program)) for one in seen]
    angles = misfit(turned, x)
    by_angles, _ = _log_likelihood(turned, angles)
    more = (by_angles - phases) * independent
    if more > MORE_LIKELY:
        size, error = OF_UNIFORM * angles.phase_error, _error(angles)
        return ChipErrors(None, _rad(size, OF_UNIFORM * error), "Mixing angles explain what is left, and not phases.")
    which = "Phases explain what is left, and not mixing angles."
    if more > -MORE_LIKELY:
        which = "Phases stand for what is left; the counts do not tell them from mixing angles."
    return ChipErrors(_rad(left.phase_error, _error(left)), None, which)


def _mixing(program: Program) -> FloatArray:
    """Which phases are mixing angles, ``(declared,)``."""
    out = np.zeros(program.mesh.declared)
    out[[gate.theta for gate in program.mesh.gates]] = 1.0
    return out


def _log_likelihood(seen: Sequence[Counted], left: Misfit) -> tuple[float, float]:
    """Of what is left, and how many of its terms are independent, as a share."""
    total, terms, told = 0.0, 0, 0.0
    for one, drawn in zip(seen, left.programs, strict=True):
        used = one.used & (drawn.expected > 0.0)
        mu, unit = drawn.expected[used], left.scale * drawn.changes[:, used]
        variance = mu + (unit**2).mean(axis=0)
        total -= 0.5 * float(((one.numbers[used] - mu) ** 2 / variance + np.log(variance)).sum())
        terms += int(used.sum())
        told += participating(unit / np.sqrt(variance))
    return total, min(1.0, told / max(terms, 1))


def participating(unit: FloatArray) -> float:
    """(tr G)^2 / tr G^2 of the covariance of draws, ``(D, K)``: how many independent changes they are of."""
    gram = unit @ unit.T
    return float(np.trace(gram)) ** 2 / max(float((gram**2).sum()), 1e-300)


def _error(left: Misfit) -> float:
    """Of a size that so many independent changes tell, each by its square."""
    told = sum(
        participating(left.scale * d.changes / np.sqrt(d.expected + left.scale**2 * d.squares + 1e-9))
        for d in left.programs
    )
    return left.phase_error / float(np.sqrt(2.0 * max(told, 1.0)))


def _rad(value: float, error: float) -> Measured:
    return Measured(value=value, standard_error=error, unit="rad")
