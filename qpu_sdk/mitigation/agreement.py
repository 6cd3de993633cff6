"""Do a record and a program predict the counts at hand? How far not, what that costs, and what is corrected then.

Three questions, in this order, before anything is subtracted or unfolded:

1. *Does the record describe the device?* The size e of the phase errors that would explain the counts
   (:mod:`~qpu_sdk.calibration.misfit`) is compared with what the record leaves open. Where it is more, the parameters
   are told anew by the counts themselves (:mod:`~qpu_sdk.calibration.refit`). They replace the record's where they
   explain most of it, where the record's own fit was poor, and always what a vendor publishes.
2. *What is left?* e of the counts, or of the record, whichever is larger, is in every error bar: as drawn, with its
   correlations.
3. *How much background may be subtracted?* With c the share of signal in the N-click class, D = |b - pi|^2 what the
   background does and V the variance of conditional probabilities by all of that, subtracting a share lambda leaves

       ((1 - c) (1 - lambda) / (1 - lambda (1 - c)))^2 D + c^2 V / (1 - lambda (1 - c))^2.

   The lambda of the least error is taken. Where the circuit is not what was asked for, subtracting makes that larger by
   1 / c, and doing nothing is better than doing it well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from ..arrays import FloatArray, IntArray
from ..calibration.counted import Counted, ideal_distributions, moved, patterns_of
from ..calibration.misfit import LARGEST_STEP, Misfit, misfit, relative_size
from ..calibration.priors import OF_VENDORS, widths_of, with_some_g2
from ..calibration.record import CalibrationRecord
from ..calibration.refit import Refit, refit
from ..photonics.noise import Noise, mean_pair
from ..seeds import child_seed
from ..statistics import chi_square_tail, merged
from .background import GATES
from .distribution import MethodReport
from .draws import drawn_noises
from .forward import Forward

#: Draws of the parameters.
CALIBRATION_DRAWS = 16
#: Phase errors up to this, radians, and up to so many times those of the record, need no explanation.
USUAL, TIMES = 0.03, 1.5
#: Weight of the record's phase error, as a square, beside that of counts that tell their own.
USUALLY = 0.25
#: A refit is taken for a contradiction when it leaves less than this of the phase error that the record leaves: phase
#: errors can be taken for efficiencies by half.
EXPLAINED = 0.33
#: Below this p-value the events differ from the expectation by more than e says, and e is taken from them.
SURPRISING = 0.01
#: Shares of the background that count as all and as nothing.
ALL, NOTHING = 0.95, 0.05


@final
@dataclass(frozen=True, eq=False)
class Agreement:
    """What counts, record and program say of each other.

    :param noise: to correct with: the record's, or as the counts tell it.
    :param phase_error: e, radians: of everything that changes where photons go.
    :param measured: True when e came from these counts and not from the record.
    :param chi2: of the N-click class against its expectation, which knows nothing of these events but their number.
    :param parameters: patterns of draws of the parameters, ``(F, K)``, and of the parameters themselves, ``(K,)``.
    :param full: where the N-click class is among the patterns.
    :param report: on the record, for the history.
    """

    noise: Noise
    phase_error: float
    measured: bool
    chi2: float
    dof: int
    parameters: tuple[FloatArray, FloatArray] = field(repr=False)
    left: Misfit = field(repr=False)
    full: IntArray = field(repr=False)
    report: MethodReport

    @property
    def p_value(self) -> float | None:
        """Of ``chi2``; None where there is nothing to test."""
        return chi_square_tail(self.chi2, self.dof) if self.dof > 0 else None

    def verdict(self, share: float) -> str:
        """How much of a correction these counts bear, and why, in one line.

        :param share: of the background that was subtracted.
        """
        p = "" if self.p_value is None else f" (events against prediction: p = {self.p_value:.2g})"
        size = f"phase errors of {self.phase_error:.2g} rad {'shown' if self.measured else 'of the record'}"
        if share < NOTHING:
            return f"These counts bear detector response and no more: {self.report.why}; {size}."
        if share < ALL:
            return f"These counts bear {100 * share:.0f} % of the correction: {self.report.why}; {size}."
        return f"These counts bear the correction: {self.report.why}{p}."

    def rows(self, model: Forward, p: FloatArray) -> FloatArray:
        """Errors that all outcomes of an estimate share, one draw a row: the sum of their squares is the variance.

        If drawn parameters are the truth and others are believed, the estimate is wrong by ``(P'_s - P_s) / g_s``, to
        first order, up to normalisation, with P and P' the N-click classes.

        :param p: the estimate, ``(C(M, N),)``.
        :returns: in probabilities, ``(F, C(M, N))``.
        """
        drawn, middle = self.parameters
        full = self.full
        scale = drawn.sum(axis=1, keepdims=True) / middle.sum()
        free = model.ideal[model.space.free]
        calibration = (drawn[:, full] / scale - middle[full]) / np.maximum(model.gain, 1e-300) / free.sum()
        phases = self.phases(model)
        both = [rows - p * rows.sum(axis=1, keepdims=True) for rows in (calibration, phases)]  # a factor is no error
        return np.concatenate([rows / np.sqrt(len(rows)) for rows in both])

    def phases(self, model: Forward) -> FloatArray:
        """Changes of the ideal distribution by errors of size e, one draw a row, ``(D, C(M, N))``."""
        free = model.ideal[model.space.free]
        changes = ideal_distributions(self.left.programs[0].shifted) - free / free.sum()
        return np.asarray((self.phase_error / self.left.step) * changes)


@final
@dataclass(frozen=True, eq=False)
class Allowance:
    """How much of the modelled background is taken away.

    :param share: lambda, 0..1.
    :param signal: c, of the N-click class.
    :param apart: b - pi, how the background differs from the signal in conditional probabilities, ``(C(M, N),)``.
    """

    share: float
    signal: float
    apart: FloatArray = field(repr=False)

    @property
    def bias(self) -> FloatArray:
        """What the rest of it leaves in conditional probabilities, ``(C(M, N),)``."""
        rest = (1.0 - self.signal) * (1.0 - self.share) / (1.0 - self.share * (1.0 - self.signal))
        return np.asarray(rest * self.apart)

    @property
    def kept(self) -> float:
        """c / (1 - lambda (1 - c)): what errors of the N-click class become, of those that full subtraction has."""
        return self.signal / (1.0 - self.share * (1.0 - self.signal))


def gate(agreement: Agreement, model: Forward) -> Allowance:
    """The share of the background of least expected error; see the module's docstring.

    Of the N-photon answer it takes two numbers, c and D.
    """
    here = model.space
    gain, pi = np.maximum(model.gain, 1e-300), model.ideal[here.free]
    lost = np.maximum(model.model[here.full] - gain * pi, 0.0) / gain
    signal, rest = float(pi.sum()), float(lost.sum())
    c = signal / max(signal + rest, 1e-300)
    apart = (lost / rest if rest > 0.0 else pi / signal) - pi / signal
    variance = float((agreement.rows(model, pi / signal) ** 2).sum())
    left = 1.0 - GATES * (1.0 - c)
    error = ((1.0 - c) * (1.0 - GATES) / left) ** 2 * float(apart @ apart) + c**2 * variance / left**2
    best = int(np.flatnonzero(error <= error.min() * (1.0 + 1e-9))[-1])  # of equal ones the largest
    return Allowance(float(GATES[best]), c, apart)


def agree(seen: Counted, record: CalibrationRecord, *, seed: int) -> Agreement:
    """Compare counts with what a record and a program predict; see the module's docstring.

    :param seen: with the noise of the record.
    :param seed: of the draws of parameters.
    """
    rng, start = np.random.default_rng(child_seed(seed, "parameters")), np.zeros(seen.axes.size)
    drawn = patterns_of(seen.columns[None], drawn_noises(record, seen.program, CALIBRATION_DRAWS, rng))
    left = misfit([seen], start, calibration=[_spread(seen, drawn)])
    known = _known_errors(record)
    suspicious = left.phase_error > max(USUAL, TIMES * known)
    asked = suspicious or known > USUAL or not record.licensed
    found, why = _told(seen, record, left, suspicious=suspicious) if asked else (None, "")
    if found is None:
        why = why or f"the record predicts these counts; phase errors of {left.phase_error:.2g} rad are left"
        return _agreement(seen, drawn, left, known, why)
    told = replace(seen, noise=moved(with_some_g2(seen.noise), seen.axes, found.x))
    x = rng.multivariate_normal(found.x, found.covariance, CALIBRATION_DRAWS, method="eigh")
    drawn = replace(seen, noise=with_some_g2(seen.noise)).patterns(x)
    # What the counts leave open explains a part of the misfit: it is in the error bars once.
    left = misfit([told], start, calibration=[_spread(told, drawn)])
    return _agreement(told, drawn, left, known, f"{why}; these counts tell {_numbers(seen.noise, told.noise)}")


def _known_errors(record: CalibrationRecord) -> float:
    """Largest phase error that the record speaks of, radians; mixing angles of its standard deviation are as bad."""
    phase = 0.0 if record.phase_error is None else record.phase_error.value
    angle = 0.0 if record.angle_error is None else record.angle_error.value
    return math.hypot(phase, math.sqrt(3.0) * angle)


def _told(seen: Counted, record: CalibrationRecord, left: Misfit, *, suspicious: bool) -> tuple[Refit | None, str]:
    """Parameters as the counts tell them, where these are to be taken, and why."""
    vendor, seen = OF_VENDORS.vector(seen.axes), replace(seen, noise=with_some_g2(seen.noise))
    free = refit([seen], vendor, blind=True)
    if record.origin == "vendor":
        return free, "the vendor's figures are no more than a prior"
    if free.misfit.phase_error < EXPLAINED * left.phase_error:
        return free, "the counts contradict the record, and replace its numbers by their own"
    if not record.licensed:
        widths = np.minimum(widths_of(record, seen.axes), vendor)
        return refit(
            [seen], widths, blind=True
        ), "the record's own fit was poor, and its errors are taken as so much larger"
    if not suspicious:
        return None, ""
    return (
        None,
        f"no parameters of the record explain these counts: phase errors of {left.phase_error:.2g} rad are left",
    )


def _agreement(seen: Counted, drawn: FloatArray, left: Misfit, known: float, why: str) -> Agreement:
    """With the N-click class tested, which must follow from the rest."""
    chi2, dof, own = _events(seen, left, _spread(seen, drawn), seen.full)
    surprising = dof > 0 and chi_square_tail(chi2, dof) < SURPRISING
    shown = max(left.phase_error, own if surprising else 0.0)
    # Classes of fewer clicks tell what this setting has, and the record what settings have; more of the former.
    e = known if seen.filtered else math.sqrt((1.0 - USUALLY) * shown**2 + USUALLY * known**2)
    middle = seen.patterns(np.zeros((1, seen.axes.size)))[0]
    return Agreement(
        noise=seen.noise,
        phase_error=max(e, shown),
        measured=shown >= e,
        chi2=chi2,
        dof=dof,
        parameters=(drawn, middle),
        left=left,
        full=seen.full,
        report=MethodReport("record", True, why),
    )


def _events(seen: Counted, left: Misfit, calibration: FloatArray, full: IntArray) -> tuple[float, int, float]:
    """Chi-square of the N-click class with its degrees of freedom, and the phase error that it would need."""
    [drawn] = left.programs
    share = float(seen.numbers[full].sum()) / max(float(drawn.expected[full].sum()), 1e-300)
    mu, n, unit = drawn.expected[full] * share, seen.numbers[full], drawn.squares[full] * share**2
    spread = calibration[full] * share**2
    rows = merged(np.stack([n - mu, mu, mu + left.scale**2 * unit + spread, unit, spread]), mu)
    apart, mu, variance, unit, spread = rows
    own = left.step * relative_size(apart**2 - mu - spread, mu + spread, unit)
    return float((apart**2 / np.maximum(variance, 1e-300)).sum()), rows.shape[1] - 1, min(own, LARGEST_STEP)


def _spread(seen: Counted, drawn: FloatArray) -> FloatArray:
    """Variances of expected numbers by the parameters, ``(K,)``."""
    return np.asarray(seen.expected(drawn).var(axis=0))


def _numbers(before: Noise, after: Noise) -> str:
    """What the counts say in place of the record, in words."""
    pairs = [
        ("indistinguishability", mean_pair(before.indistinguishability), mean_pair(after.indistinguishability)),
        ("g2", before.g2, after.g2),
        ("transmission", before.click_probability, after.click_probability),
    ]
    told = ", ".join(f"{name} {new:.3g} for {old:.3g}" for name, old, new in pairs)
    low = float(np.min(after.efficiency) / np.max(after.efficiency))
    return f"{told}, efficiencies down to {low:.2g} of the best"
