"""From a plan to a record: run it as one submission, fit, predict, compare, write down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, final

from pydantic import JsonValue

from ..arrays import real, truth, whole, wholes
from ..devices.base import MOST_SHOTS, Device
from ..devices.job_record import RAW
from ..devices.journal import Journal
from ..devices.journalled import JournalledDevice
from ..devices.sending import Terms
from ..errors import CalibrationError
from ..photonics.counts import Counts
from ..photonics.interferometer import MOST_MODES
from ..versions import package_versions
from ..words import short
from .fit import fit
from .goodness import binned, joint_test, same_distribution, setting_test
from .likelihood import observe
from .parameters import Fit
from .parts import CalibrationJob, ChiSquare, Identity, Measured, MeasuredPair, Origin, PhysicalUnit
from .plan import CalibrationSetting, calibration_plan
from .plan_errors import with_phase_errors
from .record import POOR_FIT, CalibrationRecord
from .times import utc_text


@final
@dataclass(frozen=True)
class CalibrationRequest:
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
        for name, least, most in (("modes", 2, MOST_MODES), ("shots", 1, MOST_SHOTS), ("seed", 0, None)):
            object.__setattr__(self, name, whole(getattr(self, name), name, CalibrationError, least=least, most=most))
        object.__setattr__(self, "input_modes", wholes(self.input_modes, "an input mode", CalibrationError))
        try:
            hours = real(self.validity_h, "validity_h", CalibrationError, above=0.0)
        except CalibrationError as error:
            raise CalibrationError(f"a record cannot be valid for {short(self.validity_h)} h: {error}") from None
        object.__setattr__(self, "validity_h", hours)
        object.__setattr__(self, "pairs", truth(self.pairs, "pairs", CalibrationError))


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


def measure(
    device: Device, request: CalibrationRequest, whose: Whose, *, journal: Journal, terms: Terms
) -> CalibrationRecord:
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
    plan: Sequence[CalibrationSetting],
    counts: Sequence[Counts],
    request: CalibrationRequest,
    whose: Whose,
    *,
    times: tuple[str, str],
) -> CalibrationRecord:
    """The record that counts of a plan give.

    :param times: begin and end, ISO 8601.
    """
    most = most_clicks(request.modes, len(request.input_modes))
    seen = [observe(setting, c, most_clicks=most) for setting, c in zip(plan, counts, strict=True)]
    # What validates must be new to the fit, or its chi-square would say little.
    found = fit([o for o, s in zip(seen, plan, strict=True) if s.role == "fit"], most_clicks=most, pairs=request.pairs)
    bins = [binned(o, found.parameters, most_clicks=most) for o in seen]
    tests = [setting_test(b, found.covariance, fitted=s.role == "fit") for b, s in zip(bins, plan, strict=True)]
    used = sum(b.used(found.covariance) for b, s in zip(bins, plan, strict=True) if s.role == "fit")
    fitted, alone = _numbers(found, request), joint_test(_of_role("fit", tests, plan), less=round(used))
    if alone.chi2 > POOR_FIT * alone.dof and not request.pairs:
        # The circuits are not quite those asked for: their errors have a size, and all others grow by it.
        fitted = with_phase_errors(plan, counts, found.parameters.noise_by_mode(request.modes))
    return CalibrationRecord(
        **vars(whose.identity),
        origin=whose.origin,
        **fitted,
        jobs=tuple(
            CalibrationJob.of(s.name, s.role, c, s.program, t) for s, c, t in zip(plan, counts, tests, strict=True)
        ),
        fit=alone,
        drift=same_distribution(seen[0], seen[-1]),  # the plan ends with the circuit it began with
        validation=joint_test(_of_role("validation", tests, plan)),
        utc_start=utc_text(datetime.fromisoformat(times[0])),
        utc_end=utc_text(datetime.fromisoformat(times[1])),
        mitigations_requested=RAW,
        mitigations_returned="none reported",
        vendor=dict(whose.vendor),
        versions=package_versions(),
        validity_h=request.validity_h,
        seed=whose.seed,
    )


def _of_role(role: str, tests: Sequence[ChiSquare], plan: Sequence[CalibrationSetting]) -> list[ChiSquare]:
    return [test for test, setting in zip(tests, plan, strict=True) if setting.role == role]


def most_clicks(modes: int, inputs: int) -> int:
    """Patterns up to as many clicks as photons enter; second photons and dark counts seldom add more."""
    return min(modes, max(2, inputs))


def _numbers(found: Fit, request: CalibrationRequest) -> dict[str, Any]:
    """The measured numbers with their errors, and their covariance."""
    p, errors = found.parameters, dict(zip(found.parameters.names, found.standard_errors, strict=True))
    values = dict(zip(p.names, p.vector(), strict=True))

    def number(name: str, unit: PhysicalUnit = "1") -> Measured:
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
        # A computed inverse is symmetric but for rounding; a covariance is so exactly.
        "covariance": tuple(tuple(float(x) for x in row) for row in 0.5 * (found.covariance + found.covariance.T)),
    }
