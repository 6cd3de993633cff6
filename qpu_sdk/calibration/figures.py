"""Every number of a calibration record with its error bar, in small figures that a page shows side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..rendering.figures import svg
from ..rendering.text import quantity
from .overlaps import draw_overlaps, has_overlaps
from .parts import Measured
from .record import CalibrationRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = {"fit": "tab:blue", "validation": "tab:orange", "drift": "tab:green"}
POINTS: dict[str, Any] = {"fmt": "o", "markersize": 4, "capsize": 3, "linewidth": 1.0, "color": "tab:blue"}
#: Two-sided 95 % of a normal distribution.
HALF_WIDTH = 1.96
#: Longest name of a job in the figure; most ticks with a label.
LONGEST_NAME, MOST_TICKS = 22, 16
#: Inches of a panel: three stand side by side on a page, and a phone shows one without shrinking it.
_WIDTH, _HEIGHT = 2.95, 2.5


def record_figures(record: CalibrationRecord) -> Iterator[str]:
    """Every panel of :func:`draw_panels`, and the overlaps where pairs have their own, as SVGs."""
    drawn = draw_panels(record)
    if has_overlaps(record):
        drawn["overlaps"] = draw_overlaps(record)
    of = f"{_plain(record.device, 80)}, {record.utc_end}"
    return (svg(figure, title=f"{name} of {of}") for name, figure in drawn.items())


def draw_panels(record: CalibrationRecord) -> dict[str, Figure]:
    """Every number of a record in panels by their names, with error bars of 95 %, and the chi-square of every job."""
    transmissions = sorted(record.input_transmissions.items())
    numbers = {
        "input transmission": ([(str(mode), measured) for mode, measured in transmissions], "mode"),
        "output efficiency": (_by_mode(record.output_efficiencies), "mode"),
        "dark counts per window": (_by_mode(record.dark_counts), "mode"),
        "indistinguishability": (_overlaps(record), "inputs"),
        "g2": ([("all sources", record.g2)], ""),
    }
    found = {}
    for name, (values, xlabel) in numbers.items():
        found[name], axes = _panel(_HEIGHT)
        _points(axes, values, name, xlabel)
    tests = "chi-square per degree of freedom"
    found[tests], axes = _panel(max(_HEIGHT, 1.2 + 0.22 * len(record.jobs)))
    _jobs(axes, record)
    if axes.get_legend_handles_labels()[0]:
        found[tests].legend(loc="outside lower right", ncols=3, frameon=False, fontsize=8, handletextpad=0.1)
    return found


def _panel(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = drawn.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    return drawn, axes


def _by_mode(values: Sequence[Measured]) -> list[tuple[str, Measured]]:
    return [(str(mode), measured) for mode, measured in enumerate(values)]


def _overlaps(record: CalibrationRecord) -> list[tuple[str, Measured]]:
    if isinstance(record.indistinguishability, Measured):
        return [("all pairs", record.indistinguishability)]
    return [(f"{pair.modes[0]}, {pair.modes[1]}", pair.measured) for pair in record.indistinguishability]


def _points(axes: Axes, values: list[tuple[str, Measured]], title: str, xlabel: str) -> None:
    """Numbers beside each other; one number is written out as well."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel, fontsize=8)
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
        text = quantity(heights[0], values[0][1].standard_error).replace("+-", "±")
        axes.annotate(text, (0, heights[0]), (10, 0), textcoords="offset points", va="center", fontsize=8)


def _jobs(axes: Axes, record: CalibrationRecord) -> None:
    """Chi-square per degree of freedom, with the two standard deviations it may be from 1."""
    axes.set_title("chi-square per degree of freedom", fontsize=10, loc="right")  # names at the left take room
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
    axes.set_xlabel("grey: two standard deviations around 1", fontsize=8, loc="right")


def _plain(text: str, longest: int) -> str:
    """Characters that every font has, and no more of them than fit."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."
