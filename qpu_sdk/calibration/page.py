"""Calibration records for people: the few rows that matter, what came of their jobs, and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..rendering.html import figures, fold, page, paragraph, table, verdict_line
from ..rendering.text import Rows, number_of, quantity, typeset
from .drift import Change, RecordChanges
from .figures import record_figures
from .parts import UNITS, ChiSquare, Measured
from .record import CalibrationRecord
from .verdict import record_verdict


def key_rows(record: CalibrationRecord) -> Rows:
    """What most readers want to know of a record; :meth:`CalibrationRecord.rows` has everything.

    >>> from qpu_sdk.calibration.known import known_record
    >>> from qpu_sdk.calibration.parts import Identity
    >>> from qpu_sdk.photonics.noise import Noise
    >>> record = known_record(Noise(transmittance=[0.1, 0.2]), Identity("d", "p", 2, (0, 1), "threshold"))
    >>> dict(key_rows(record))["input transmissions"]
    '0.1 to 0.2 (2 values)'
    """
    groups: dict[str, list[Measured]] = {}
    for name, measured in record.measured().items():
        groups.setdefault(name.partition("[")[0], []).append(measured)
    del groups["brightness"]  # it is 1 in every record
    shots = sum(job.shots for job in record.jobs)
    rows = [
        ("device", f"{record.device}{f' ({record.platform})' if record.platform else ''}"),
        ("record", f"{record.id}, {record.origin}, {record.utc_end}"),
        ("modes", f"{record.modes}, sources at {', '.join(map(str, record.input_modes)) or 'none'}"),
        *((name.replace("_", " "), _together(values)) for name, values in groups.items()),
        ("jobs", f"{number_of(len(record.jobs), 'circuit')}, {number_of(shots, 'shot')}"),
    ]
    return rows if record.validity_h is None else [*rows, ("valid for", f"{record.validity_h:g} h")]


def _together(values: Sequence[Measured]) -> str:
    """One number, or from where to where several are and how well the worst of them is known."""
    if len(values) == 1:
        return str(values[0])
    unit, errors = UNITS[values[0].unit], [m.standard_error for m in values if m.standard_error]
    if all(m.unseen for m in values):
        return f"{max(values, key=lambda m: m.value + (m.standard_error or 0.0))}, all {len(values)}"
    low, high = min(m.value for m in values), max(m.value for m in values)
    digits = max(4, 1 + math.floor(math.log10(high / max(errors)))) if errors and high > 0.0 else 4
    known = f", +- {max(errors):.1e}" if errors else ""
    span = f"{low:.{digits}g} to {high:.{digits}g}" if low < high else f"{low:.{digits}g}"
    return f"{span}{unit} ({len(values)} values{known})"


def job_rows(record: CalibrationRecord) -> list[tuple[str, str]]:
    """Name of each job, and what came of it."""
    rows = []
    for job in record.jobs:
        test = "" if job.chi2 is None or job.dof is None else f", {ChiSquare(chi2=job.chi2, dof=job.dof)}"
        clicks = ", ".join(f"{n:,} with {k}" for k, n in sorted(job.clicks.items()))
        windows = "" if job.windows is None else f" in {job.windows:,} windows"
        rows.append((f"{job.name} ({job.role})", f"{job.shots:,} shots{windows} ({clicks} clicks){test}"))
    return rows


def change_rows(comparison: RecordChanges) -> list[tuple[str, str]]:
    """Every parameter's change; the joint test comes last."""
    rows = [(change.parameter.replace("_", " "), _changed(change)) for change in comparison.changes]
    return [
        *rows,
        ("all together", "no errors to compare with" if comparison.joint is None else str(comparison.joint)),
    ]


def _changed(change: Change) -> str:
    unit, values = UNITS[change.unit], f"{change.before:.6g} to {change.after:.6g}"
    if change.z is None or change.p_value is None:
        why = "no error to compare with" if change.standard_error is None else "fixed in both"
        return f"{values}{unit} ({why})"
    difference = quantity(change.difference, change.standard_error)
    return f"{values}{unit}: {difference}, z = {change.z:.2f}, p = {change.p_value:.2g}"


def record_page(record: CalibrationRecord) -> str:
    """One self-contained HTML page: verdict, figures and key numbers, and behind folds all numbers and jobs."""
    return page(
        f"Calibration of {record.device}",
        [
            verdict_line(record_verdict(record)),
            paragraph(f"{ORIGINS[record.origin]} {record.utc_end}. Error bars in the figures are 95 % intervals."),
            figures(record_figures(record)),
            table(typeset(key_rows(record))),
            fold(f"All {len(record.measured())} numbers with one standard error", table(typeset(record.rows()))),
            fold(number_of(len(record.jobs), "circuit"), table(job_rows(record) or [("none", "")])),
        ],
    )


ORIGINS = {
    "measured": "Measured on the device,",
    "simulated": "Measured on a simulation, not on hardware,",
    "vendor": "Published by the vendor, not measured, read",
}
