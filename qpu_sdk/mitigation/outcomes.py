"""Outcomes and their probabilities for people: names, a table of text, and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

from ..arrays import FloatArray, IntArray
from ..photonics.counts import Counts
from ..photonics.fock import collision_free_outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Outcomes in a table and in a figure, the most probable ones.
MOST_ROWS, MOST_BARS = 10, 48
#: Probability that an interval holds the truth.
LEVEL = 0.95
#: Above so many characters an inch names of outcomes stand upright.
CROWDED = 16


@final
@dataclass(frozen=True, eq=False)
class Estimate:
    """Probabilities of K outcomes and how sure they are.

    :param name: of the method, for a legend.
    :param names: of the outcomes.
    :param probabilities: ``(K,)``.
    :param standard_errors: ``(K,)``.
    :param low: ends of the intervals at :data:`LEVEL`, ``(K,)``.
    :param high: the upper ones, ``(K,)``.
    """

    name: str
    names: Sequence[str] = field(repr=False)
    probabilities: FloatArray = field(repr=False)
    standard_errors: FloatArray = field(repr=False)
    low: FloatArray = field(repr=False)
    high: FloatArray = field(repr=False)

    def most_probable(self, most: int) -> IntArray:
        """Indices of so many outcomes, the most probable first, ``(min(most, K),)``."""
        return np.argsort(-self.probabilities, kind="stable")[:most]  # stable: equal ones in the same order everywhere

    def rest(self, shown: IntArray) -> float:
        """Probability of all outcomes but the shown ones."""
        return max(0.0, 1.0 - float(self.probabilities[shown].sum()))


def outcome_names(counts: Counts | None, size: int) -> list[str]:
    """Modes of each outcome, as ``0,2,5``; numbers where the counts are not kept.

    >>> outcome_names(None, 2)
    ['0', '1']
    """
    if counts is None:
        return [str(k) for k in range(size)]
    return [",".join(map(str, modes)) for modes in collision_free_outcomes(counts.modes, counts.photons).tolist()]


def outcome_table(estimate: Estimate) -> list[str]:
    """Lines of the most probable outcomes: probability, standard error and interval, in columns.

    >>> p = np.array([0.25, 0.75])
    >>> print(*outcome_table(Estimate("raw", ["0,1", "0,2"], p, 0 * p + 0.04, p - 0.08, p + 0.08)), sep="\\n")
    outcome  probability  standard error     95 % interval
    0,2           0.7500          0.0400  0.6700 .. 0.8300
    0,1           0.2500          0.0400  0.1700 .. 0.3300
    """
    table = outcome_cells(estimate)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    ]


def outcome_cells(estimate: Estimate) -> list[tuple[str, str, str, str]]:
    """Rows of that table, the first one its head.

    >>> p = np.array([0.25, 0.75])
    >>> outcome_cells(Estimate("raw", ["0,1", "0,2"], p, 0 * p + 0.04, p - 0.08, p + 0.08))[1]
    ('0,2', '0.7500', '0.0400', '0.6700 .. 0.8300')
    """
    shown = estimate.most_probable(MOST_ROWS)
    digits = _decimals(estimate.standard_errors[shown])
    others = len(estimate.names) - len(shown)
    last = [(f"{others:,} others", f"{estimate.rest(shown):.{digits}f}", "", "")] if others else []
    body = [
        (
            estimate.names[k],
            f"{estimate.probabilities[k]:.{digits}f}",
            f"{estimate.standard_errors[k]:.{digits}f}",
            f"{estimate.low[k]:.{digits}f} .. {estimate.high[k]:.{digits}f}",
        )
        for k in shown
    ]
    head = ("outcome", "probability", "standard error", f"{100 * LEVEL:.0f} % interval")
    return [head, *body, *last]


def _decimals(errors: FloatArray) -> int:
    """Decimals that give the largest error three digits, 4 to 9."""
    largest = float(errors.max(initial=0.0))
    return min(9, max(4, 2 - math.floor(math.log10(largest)))) if 0.0 < largest < math.inf else 4


def draw_estimates(estimate: Estimate, raw: Estimate | None, *, title: str, ideal: FloatArray | None = None) -> Figure:
    """Bars of the most probable outcomes in lexicographic order, with their intervals.

    :param raw: shown beside it where there is one, and the difference below.
    :param ideal: probabilities without noise, ``(K,)``, drawn as a line across each bar.
    """
    from matplotlib.figure import Figure

    shown = np.sort(estimate.most_probable(MOST_BARS))
    names = [estimate.names[k] for k in shown]
    width = min(11.0, 5.0 + 0.16 * len(shown))
    figure = Figure(figsize=(width, 4.0 if raw is None else 5.6), layout="constrained")
    if raw is None:
        bars = lowest = figure.subplots()
        _bars(bars, estimate, shown, colour="tab:blue", offset=0.0, width=0.7)
    else:
        bars, lowest = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1.0))
        _bars(bars, raw, shown, colour="0.72", offset=-0.2, width=0.4)
        _bars(bars, estimate, shown, colour="tab:blue", offset=0.2, width=0.4)
        _difference(lowest, estimate, raw, shown)
    if ideal is not None:
        x = np.arange(len(shown))
        bars.hlines(ideal[shown], x - 0.45, x + 0.45, color="tab:red", linewidth=1.2, label="ideal")
    if raw is not None or ideal is not None:
        bars.legend(frameon=False, fontsize=8)
    bars.set(ylabel="probability", ylim=(0.0, None))
    bars.set_title(title, fontsize=10, loc="left")
    lowest.set_xlim(-0.8, len(shown) - 0.2)
    crowded = sum(len(name) + 2 for name in names) > CROWDED * width
    lowest.set_xticks(range(len(shown)), names, rotation=90 if crowded else 0, fontsize=7)
    part = f"the {len(shown)} most probable of " if len(shown) < len(estimate.names) else ""
    outcomes = "1 outcome" if len(estimate.names) == 1 else f"{len(estimate.names):,} outcomes"
    lowest.set_xlabel(f"modes of the photons ({part}{outcomes}); lines are {100 * LEVEL:.0f} % intervals", fontsize=8)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", alpha=0.25, linewidth=0.5)
        axes.set_axisbelow(True)
    figure.align_ylabels()
    return figure


def _bars(axes: Axes, one: Estimate, shown: IntArray, *, colour: str, offset: float, width: float) -> None:
    """Bars and intervals of one estimate; an interval need not hold the estimate, so it is drawn by itself."""
    x, low, high = np.arange(len(shown)) + offset, one.low[shown], one.high[shown]
    axes.bar(x, one.probabilities[shown], label=one.name, color=colour, width=width)
    axes.errorbar(x, (low + high) / 2, (high - low) / 2, fmt="none", ecolor="0.15", elinewidth=0.8, capsize=1.5)


def _difference(axes: Axes, estimate: Estimate, raw: Estimate, shown: IntArray) -> None:
    """Estimate minus raw, with the estimate's intervals."""
    x, before = np.arange(len(shown)), raw.probabilities[shown]
    low, high = estimate.low[shown] - before, estimate.high[shown] - before
    axes.plot(x, estimate.probabilities[shown] - before, "o", color="tab:blue", markersize=3)
    axes.errorbar(x, (low + high) / 2, (high - low) / 2, fmt="none", ecolor="tab:blue", elinewidth=0.8, capsize=1.5)
    axes.axhline(0.0, color="0.4", linewidth=0.8, zorder=1.0)
    axes.set_ylabel("difference")
