"""A device over time for people: a figure for each kind of number, and a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..markup import Html
from ..rendering.figures import NARROW, svg
from ..rendering.html import bullets, figures, fold, page, paragraph, section, table, verdict_line
from ..rendering.text import number_of, typeset
from .history import HISTORY_HEAD, CalibrationHistory, interval_of
from .parts import UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How the numbers of modes are told apart.
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple")
_MARKERS = ("o", "s", "^", "D", "v", "P")
#: Dates of matplotlib count days.
_DAY_S = 86_400.0
#: Lines of a panel that a legend names.
_MOST_NAMED = 12


def kinds_of(history: CalibrationHistory) -> dict[str, list[str]]:
    """Names of numbers by their kind, such as ``dark_counts``."""
    found: dict[str, list[str]] = {}
    for name in history.numbers:
        found.setdefault(name.partition("[")[0], []).append(name)
    return found


def draw_history(history: CalibrationHistory, kind: str) -> Figure:
    """Every number of a kind against the time, with 95 % intervals; a red ring where it changed.

    :param kind: one of :func:`kinds_of`.
    """
    from matplotlib.figure import Figure

    names = kinds_of(history)[kind]
    drawn = Figure(figsize=(NARROW, 2.7), layout="constrained")
    axes = drawn.subplots()
    for number, name in enumerate(names):
        _line(axes, history, name, number)
    _frame(axes, f"{kind.replace('_', ' ')}{UNITS[history.numbers[names[0]][0][1].unit]}")
    if 1 < len(names) <= _MOST_NAMED:
        drawn.legend(loc="outside lower center", ncols=6, frameon=False, fontsize=7.5, handletextpad=0.2)
    return drawn


def _line(axes: Axes, history: CalibrationHistory, name: str, number: int) -> None:
    values = history.numbers[name]
    times = [record.ended.timestamp() / _DAY_S for record, _ in values]
    colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
    heights = [measured.value for _, measured in values]
    ends = [interval_of(measured) or (measured.value, measured.value) for _, measured in values]
    for time, (low, high) in zip(times, ends, strict=True):
        axes.plot([time, time], [low, high], color=colour, linewidth=1.0, alpha=0.7)
    label = name.partition("[")[2].rstrip("]")
    axes.plot(times, heights, color=colour, marker=marker, markersize=4, linewidth=0.8, label=label)
    changed = [
        (t, y) for (record, _), t, y in zip(values, times, heights, strict=True) if history.changed(record, name)
    ]
    if changed:
        axes.plot(
            *zip(*changed, strict=True), "o", color="tab:red", fillstyle="none", markersize=9, markeredgewidth=1.4
        )


def _frame(axes: Axes, title: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=5)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_title(title, fontsize=10)
    axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 4))
    axes.margins(x=0.08, y=0.15)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)


def history_page(history: CalibrationHistory) -> str:
    """One self-contained HTML page: verdict, figures of each kind of number, the records, all numbers by date."""
    return page(f"Calibrations of {history.device}", _parts(history))


def _parts(history: CalibrationHistory) -> Iterator[Html]:
    yield verdict_line(history.verdict)
    yield paragraph("Lines at the points are 95 % intervals. A red ring: another number than in the record before.")
    yield figures(
        svg(draw_history(history, kind), title=f"{kind.replace('_', ' ')} over time") for kind in kinds_of(history)
    )
    head = ("time", "record", "origin", "changed", "does it fit")
    yield section("Records", table(history.record_rows(), head))
    rows = history.rows(details=True)
    yield fold(f"All {number_of(len(history.numbers), 'number')} by date", table(typeset(rows), HISTORY_HEAD))
    if history.left_out:
        yield section("Left out", bullets(history.left_out))
