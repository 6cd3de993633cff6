"""From a device to a record: run the plan as one submission, fit, predict, compare, write down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, final

import numpy as np
from pydantic import JsonValue

from ..devices.base import Device
from ..devices.conformance import chi_square_tail, put_together
from ..devices.journal import Journal
from ..devices.journalled import RAW, JournalledDevice, Terms
from ..errors import CalibrationError
from ..photonics.counts import Counts
from ..photonics.permanents import FloatArray
from .fit import Fit, Observation, Parameters, expected, fit, observe, slopes
from .plan import Setting, calibration_plan
from .record import (
    CalibrationJob,
    CalibrationRecord,
    ChiSquare,
    Identity,
    Measured,
    MeasuredPair,
    Origin,
    Unit,
    utc_text,
)

PACKAGES = ("qpu_sdk", "perceval-quandela", "numpy")


@final
@dataclass(frozen=True)
class Request:
    """What to calibrate.

    :param modes: modes of the largest program that the record is for.
    :param input_modes: inputs to calibrate.
    :param shots: of each setting.
    :param seed: of the random circuits that are kept for validation.
    :param pairs: True for an indistinguishability of every pair, False for one of all.
    :param validity_h: hours that the record should be used.
    :raises CalibrationError: when these are none.
    """

    modes: int
    input_modes: tuple[int, ...]
    shots: int
    seed: int
    pairs: bool = False
    validity_h: float = 24.0

    def __post_init__(self) -> None:
        if not 0.0 < self.validity_h < math.inf:
            raise CalibrationError(f"a record cannot be valid for {self.validity_h} h. Choose a time above 0.")


@final
@dataclass(frozen=True)
class Whose:
    """What the record says about its device beyond the counts.

    :param vendor: what the platform publishes, word for word.
    """

    identity: Identity
    origin: Origin
    vendor: Mapping[str, JsonValue]
    seed: int | None = None


def calibrate(device: Device, request: Request, whose: Whose, *, journal: Journal, terms: Terms) -> CalibrationRecord:
    """Measure a device; every job goes through the journal, so an interrupted calibration goes on where it was.

    :param journal: of this calibration alone.
    :raises CalibrationError: when the counts do not suffice, or cannot be raw.
    :raises ProgramError: when the device is too small for the plan.
    """
    plan = calibration_plan(request.modes, request.input_modes, seed=request.seed)
    programs = [setting.program for setting in plan]
    counts = JournalledDevice(device, journal, terms).submit(programs, shots=request.shots, tag="calibrate").result()
    jobs = journal.jobs()
    times = jobs[0].created, max(job.updated for job in jobs)
    return record_of(plan, counts, request, whose, times=times)


def record_of(
    plan: Sequence[Setting], counts: Sequence[Counts], request: Request, whose: Whose, *, times: tuple[str, str]
) -> CalibrationRecord:
    """The record that counts of a plan give.

    :param times: begin and end, ISO 8601.
    """
    most = most_clicks(request.modes, len(request.input_modes))
    seen = [observe(setting, c, most_clicks=most) for setting, c in zip(plan, counts, strict=True)]
    found = fit([o for o, s in zip(seen, plan, strict=True) if s.role == "fit"], most_clicks=most, pairs=request.pairs)
    binned = [_binned(o, found.parameters, most_clicks=most) for o in seen]
    tests = [_chi_square(b, found.covariance, fitted=s.role == "fit") for b, s in zip(binned, plan, strict=True)]
    used = sum(b.used(found.covariance) for b, s in zip(binned, plan, strict=True) if s.role == "fit")
    jobs = [_job(s, c, t) for s, c, t in zip(plan, counts, tests, strict=True)]
    roles = {role: [t for t, s in zip(tests, plan, strict=True) if s.role == role] for role in ("fit", "validation")}
    return CalibrationRecord(
        **vars(whose.identity),
        origin=whose.origin,
        **_numbers(found, request),
        jobs=tuple(jobs),
        fit=_together(roles["fit"], less=round(used)),
        validation=_together(roles["validation"]),
        drift=_same(seen[0], seen[-1]),
        utc_start=utc_text(datetime.fromisoformat(times[0])),
        utc_end=utc_text(datetime.fromisoformat(times[1])),
        mitigations_requested=RAW,
        mitigations_returned="none reported",
        vendor=dict(whose.vendor),
        versions=package_versions(),
        validity_h=request.validity_h,
        seed=whose.seed,
    )


def package_versions() -> dict[str, str]:
    """Versions of what a record depends on."""
    return {name: version(name) for name in PACKAGES}


def most_clicks(modes: int, inputs: int) -> int:
    """Patterns up to as many clicks as photons enter; second photons and dark counts seldom add more."""
    return min(modes, max(2, inputs))


def _numbers(found: Fit, request: Request) -> dict[str, Any]:
    """The measured numbers with their errors, and their covariance."""
    p, errors = found.parameters, dict(zip(found.parameters.names, found.standard_errors, strict=True))
    values = dict(zip(p.names, p.vector(), strict=True))

    def number(name: str, unit: Unit = "1") -> Measured:
        return Measured(value=float(values[name]), standard_error=float(errors[name]), unit=unit)

    pairs = [(j, k) for a, j in enumerate(p.inputs) for k in p.inputs[a + 1 :]]
    overlap: Measured | tuple[MeasuredPair, ...]
    if request.pairs and len(pairs) > 1:
        named = [(pair, number(f"indistinguishability[{pair[0]},{pair[1]}]")) for pair in pairs]
        overlap = tuple(MeasuredPair(modes=j, value=m.value, standard_error=m.standard_error) for j, m in named)
    else:
        overlap = number("indistinguishability")
    modes = range(request.modes)
    return {
        "brightness": Measured(value=1.0, standard_error=0.0),
        "indistinguishability": overlap,
        "g2": number("g2"),
        "input_transmissions": {j: number(f"input_transmissions[{j}]") for j in p.inputs},
        "output_efficiencies": tuple(number(f"output_efficiencies[{i}]") for i in modes),
        "dark_counts": tuple(number(f"dark_counts[{i}]", "1/window") for i in modes),
        "parameters": tuple(p.names),
        "covariance": tuple(tuple(float(x) for x in row) for row in 0.5 * (found.covariance + found.covariance.T)),
    }


def _job(setting: Setting, counts: Counts, test: ChiSquare) -> CalibrationJob:
    clicks = (counts.outcomes > 0).sum(axis=1)
    by_class = {int(k): int(counts.numbers[clicks == k].sum()) for k in np.unique(clicks[counts.numbers > 0]) if k}
    return CalibrationJob(
        name=setting.name,
        role=setting.role,
        tag=counts.tag,
        job_id=counts.job_id,
        program=setting.program.fingerprint,
        input_modes=setting.program.input_modes,
        shots=counts.shots,
        clicks=by_class,
        chi2=test.chi2,
        dof=test.dof,
    )


@final
@dataclass(frozen=True, eq=False)
class _Binned:
    """Counts of one setting against their expectation, in units of its standard deviation, rare patterns together.

    :param residuals: ``(B,)``.
    :param slopes: derivatives of the expectation by the parameters, ``(P, B)``.
    """

    residuals: FloatArray
    slopes: FloatArray

    def used(self, covariance: FloatArray) -> float:
        """Degrees of freedom that the fit takes: what the bins tell of the parameters, of all that is known of them."""
        return float(np.sum(covariance * (self.slopes @ self.slopes.T)))


def _binned(observation: Observation, parameters: Parameters, *, most_clicks: int) -> _Binned:
    rows = np.stack([observation.observed(), expected(observation, parameters, most_clicks=most_clicks)])
    rows = np.concatenate([rows, slopes(observation, parameters, most_clicks=most_clicks)])
    rows = rows if observation.windows is not None else rows[:, 1:]
    rare = put_together(rows[1])
    if rare.any():
        rows = np.concatenate([rows[:, ~rare], rows[:, rare].sum(axis=1, keepdims=True)], axis=1)
    rows[0] -= rows[1]
    rows[[0, *range(2, len(rows))]] /= np.sqrt(rows[1])
    return _Binned(rows[0], rows[2:])


def _chi_square(binned: _Binned, covariance: FloatArray, *, fitted: bool) -> ChiSquare:
    """Pearson's test of one setting; what was not fitted also differs by the errors of the parameters."""
    statistic, degrees = float(binned.residuals @ binned.residuals), len(binned.residuals) - 1
    if not fitted:
        along, known = binned.slopes @ binned.residuals, binned.slopes @ binned.slopes.T
        inner = np.linalg.solve(np.eye(len(along)) + known @ covariance, along)
        statistic = max(0.0, statistic - float(along @ covariance @ inner))
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees) if degrees else None)


def _together(tests: Sequence[ChiSquare], *, less: int = 0) -> ChiSquare:
    statistic, degrees = sum(t.chi2 for t in tests), max(1, sum(t.dof for t in tests) - less)
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees))


def _same(first: Observation, last: Observation) -> ChiSquare:
    """Whether two runs of one circuit are samples of one distribution: the two-sample chi-square test."""
    a, b = first.observed()[1:], last.observed()[1:]
    order = np.argsort(a + b)[::-1]
    a, b = a[order], b[order]
    common = (a + b) >= 20.0
    rows = np.array([np.append(x[common], x[~common].sum()) for x in (a, b)])
    rows = rows[:, rows.sum(axis=0) > 0]
    total = rows.sum(axis=1)
    if not total.all():
        raise CalibrationError("the first setting or its repeat brought no shots. Measure again.")
    k = np.sqrt(total[::-1] / total)
    statistic = float((((k[:, None] * rows)[0] - (k[:, None] * rows)[1]) ** 2 / rows.sum(axis=0)).sum())
    degrees = rows.shape[1] - 1
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees) if degrees else None)
