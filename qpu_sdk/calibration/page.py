"""Calibration records for people: the few rows that matter, what came of their jobs, a figure and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..rendering.figures import svg
from ..rendering.html import figure, fold, page, paragraph, table, verdict_line
from ..rendering.text import Rows, number_of, quantity
from .drift import Change, RecordChanges
from .parts import UNITS, ChiSquare, Measured
from .record import CalibrationRecord
from .verdict import record_verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = {"fit": "tab:blue", "validation": "tab:orange", "drift": "tab:green"}
POINTS: dict[str, Any] = {"fmt": "o", "markersize": 4, "capsize": 3, "linewidth": 1.0, "color": "tab:blue"}
#: Two-sided 95 % of a normal distribution.
HALF_WIDTH = 1.96
#: Longest name of a job in the figure; most ticks with a label.
LONGEST_NAME, MOST_TICKS = 22, 16


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


def record_figure(record: CalibrationRecord) -> str:
    """Every parameter with its error bar and the chi-square of every job, as SVG."""
    return svg(draw_record(record), title=f"Calibration of {_plain(record.device, 80)}, {record.utc_end}")


def draw_record(record: CalibrationRecord) -> Figure:
    """The figure: two rows of three panels, error bars of 95 %."""
    from matplotlib.figure import Figure

    height = max(2.9, 1.2 + 0.24 * len(record.jobs))
    drawn = Figure(figsize=(11, 2.9 + height), layout="constrained")
    panels = drawn.subplots(2, 3, height_ratios=(2.9, height))
    transmissions = sorted(record.input_transmissions.items())
    _points(panels[0, 0], [(str(mode), m) for mode, m in transmissions], "input transmission", "mode")
    _points(panels[0, 1], _by_mode(record.output_efficiencies), "output efficiency", "mode")
    _points(panels[0, 2], _by_mode(record.dark_counts), "dark counts per window", "mode")
    _points(panels[1, 0], _overlaps(record), "indistinguishability", "inputs")
    _points(panels[1, 1], [("all sources", record.g2)], "g2", "")
    _jobs(panels[1, 2], record)
    if panels[1, 2].get_legend_handles_labels()[0]:
        drawn.legend(loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.set_axisbelow(True)
    return drawn


def _by_mode(values: Sequence[Measured]) -> list[tuple[str, Measured]]:
    return [(str(mode), measured) for mode, measured in enumerate(values)]


def _overlaps(record: CalibrationRecord) -> list[tuple[str, Measured]]:
    if isinstance(record.indistinguishability, Measured):
        return [("all pairs", record.indistinguishability)]
    return [(f"{pair.modes[0]}, {pair.modes[1]}", pair.measured) for pair in record.indistinguishability]


def _points(axes: Axes, values: list[tuple[str, Measured]], title: str, xlabel: str) -> None:
    """Numbers beside each other; one number is written out as well."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel)
    if not values:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="0.4")
        return
    heights = [m.value for _, m in values]
    errors = [HALF_WIDTH * (m.standard_error or 0.0) for _, m in values]
    below = [min(error, height) for error, height in zip(errors, heights, strict=True)]  # nothing here is negative
    axes.errorbar(range(len(values)), heights, yerr=[below, errors], **POINTS)
    step = math.ceil(len(values) / MOST_TICKS)
    ticks = range(0, len(values), step)
    crowded = max(len(name) for name, _ in values) * len(ticks) > 36  # characters that fit side by side in a panel
    axes.set_xticks(ticks, [values[i][0] for i in ticks], rotation=90 if crowded else 0, fontsize=8)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 4))  # "+9e-1" over an axis is overlooked
    axes.margins(y=0.15)
    if len(values) == 1:
        text = quantity(heights[0], values[0][1].standard_error)
        axes.annotate(text, (0, heights[0]), (10, 0), textcoords="offset points", va="center", fontsize=8)


def _jobs(axes: Axes, record: CalibrationRecord) -> None:
    """Chi-square per degree of freedom, with the two standard deviations it may be from 1."""
    axes.set_title("chi-square per degree of freedom", fontsize=10)
    tested = [(job, job.chi2, job.dof) for job in record.jobs if job.chi2 is not None and job.dof]
    if not tested:
        axes.text(0.5, 0.5, "no tested jobs", transform=axes.transAxes, ha="center", color="0.4")
        axes.set(xticks=[], yticks=[])
        return
    rows = range(len(tested))
    spread = [2.0 * math.sqrt(2.0 / dof) for _, _, dof in tested]  # its variance is 2 dof
    below = [min(1.0, s) for s in spread]  # chi-square is never negative
    axes.errorbar([1.0] * len(tested), rows, xerr=[below, spread], fmt="none", ecolor="0.8", elinewidth=7, zorder=1)
    for role, colour in COLOURS.items():
        part = [(row, chi2 / dof) for row, (job, chi2, dof) in zip(rows, tested, strict=True) if job.role == role]
        if part:
            axes.plot([x for _, x in part], [y for y, _ in part], "o", color=colour, markersize=5, label=role)
    axes.axvline(1.0, color="0.4", linewidth=0.8)
    names = [_plain(job.name, LONGEST_NAME) for job, _, _ in tested]
    axes.set_yticks(rows, names, fontsize=8, parse_math=False)  # a $ in a name begins no formula
    axes.set_ylim(len(tested) - 0.4, -0.6)  # the first job on top
    axes.set_xlabel("grey: two standard deviations around 1", fontsize=8)


def _plain(text: str, longest: int) -> str:
    """Characters that every font has, and no more of them than fit."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def record_page(record: CalibrationRecord) -> str:
    """One self-contained HTML page: verdict, figure and key numbers, and behind folds all numbers and jobs."""
    return page(
        f"Calibration of {record.device}",
        [
            verdict_line(record_verdict(record)),
            paragraph(f"{ORIGINS[record.origin]} {record.utc_end}. Error bars in the figure are 95 % intervals."),
            figure(record_figure(record)),
            table(key_rows(record)),
            fold(f"All {len(record.measured())} numbers with one standard error", table(record.rows())),
            fold(number_of(len(record.jobs), "circuit"), table(job_rows(record) or [("none", "")])),
        ],
    )


ORIGINS = {
    "measured": "Measured on the device,",
    "simulated": "Measured on a simulation, not on hardware,",
    "vendor": "Published by the vendor, not measured, read",
}
