"""Whether to believe a record, and whether anything changed, each in one line.

A test *fails* when its p-value is below :data:`ALARM`. Counts by the million resolve the smallest thing that the model
leaves out, so that p alone says little about what matters; the line therefore also has the size of the misfit: by
Cauchy and Schwarz the total variation distance between what a circuit showed and what the model says is at most
``sqrt((chi2 - dof) / N) / 2`` of its N windows, sampling taken off.
"""

from __future__ import annotations

import math

from ..rendering.text import chance, percent
from .drift import RecordChanges
from .parts import CalibrationJob, ChiSquare
from .record import CalibrationRecord

#: Below it a test fails: three tests of a good record together do once in 300 calibrations.
ALARM = 1e-3


def record_verdict(record: CalibrationRecord) -> str:
    """Whether the model describes the device, by the tests of fit, validation and drift.

    >>> from qpu_sdk.calibration.known import known_record
    >>> from qpu_sdk.calibration.parts import Identity
    >>> from qpu_sdk.photonics.noise import Noise
    >>> record_verdict(known_record(Noise(g2=0.1), Identity("d", "p", 2, (0, 1), "threshold")))
    'Nothing was measured: these are the numbers that a simulator was given.'
    """
    if record.origin == "vendor":
        return "Nothing was measured: these are the vendor's figures, whose errors nobody knows."
    named = (("fit", record.fit), ("validation", record.validation), ("drift", record.drift))
    tests = {name: test.p_value for name, test in named if test is not None and test.dof and test.p_value is not None}
    if not tests:
        if not record.jobs:
            return "Nothing was measured: these are the numbers that a simulator was given."
        return "Nothing tells whether the model describes this device: no test was done."
    said = ", ".join(f"{name} {chance(p)}" for name, p in tests.items())
    failed = {name for name, p in tests.items() if p < ALARM}
    if not failed:
        return f"The model describes this device ({said})."
    if failed == {"drift"}:
        return f"The device changed while it was measured ({said}). Calibrate again."
    size = record.phase_error or record.angle_error
    stands = f" Errors of its circuits, {size}, stand for that in every number." if size is not None else ""
    return f"The model does not describe this device ({said}){_worst(record)}.{stands}"


def _worst(record: CalibrationRecord) -> str:
    """The circuit that is predicted worst, and by how much."""
    sizes = [(misfit_of(job), job.name) for job in record.jobs if job.role != "drift"]
    worst, name = max(sizes, default=(0.0, ""))
    return f": up to {percent(worst)} of the windows of {name!r} are elsewhere" if worst > 0.0 else ""


def misfit_of(job: CalibrationJob) -> float:
    """Largest total variation distance of a circuit's windows from the model, sampling taken off; 0 where not tested.

    >>> tested = {"name": "a", "role": "fit", "program": "", "input_modes": (), "clicks": {}, "dof": 10}
    >>> [misfit_of(CalibrationJob(**tested, shots=shots, chi2=chi2)) for shots, chi2 in ((10_000, 410.0), (9, 9.0))]
    [0.1, 0.0]
    """
    if job.chi2 is None or not job.dof or not job.shots:
        return 0.0
    return min(1.0, 0.5 * math.sqrt(max(0.0, job.chi2 - job.dof) / job.shots))


def changes_verdict(comparison: RecordChanges) -> str:
    """Whether anything changed between two records.

    One number counts as changed below ``ALARM`` over how many there are, all together below :data:`ALARM`.
    """
    tested = [change for change in comparison.changes if change.p_value is not None]
    joint: ChiSquare | None = comparison.joint
    if not tested or joint is None or joint.p_value is None:
        return "Nothing tells whether anything changed: the records give no errors to compare with."
    most = min(tested, key=lambda change: change.p_value or 0.0)
    assert most.p_value is not None
    together = f"all together {chance(joint.p_value)}"
    if joint.p_value >= ALARM and most.p_value * len(tested) >= ALARM:
        return f"Nothing changed that these records could tell ({len(tested)} numbers, {together})."
    name, values = most.parameter.replace("_", " "), f"{most.before:.6g} to {most.after:.6g}"
    return f"The device changed: {name} the most, from {values} ({chance(most.p_value)}; {together})."
