"""The figures of a report, as SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from ..mitigation.outcomes import Estimate
from ..rendering.figures import NARROW, svg
from .gathered import SeedGroup
from .measured import MeasuredQNN
from .metric import Metric
from .paired import MeanInterval, image_interval, mean_interval, spoken
from .summary import RunSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What the kinds of unit are called in a legend, and how they are drawn.
STYLES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "trial": ("trials, the best goes on", {"color": "0.75", "linewidth": 0.8}),
    "warm-start": ("exact gradients", {"color": "tab:blue", "linewidth": 1.2}),
    "fit": ("generator epochs on a measured p", {"color": "tab:orange", "linewidth": 1.2}),
    "spsa": (
        "SPSA pair (perturbed, minibatch)",
        {"color": "tab:green", "marker": ".", "linestyle": "", "markersize": 4},
    ),
}
#: Outcomes in the figure of a distribution, the most probable ones.
MOST_DRAWN = 24
#: Height of a row of a figure of rows, inches, and of what is around them.
_ROW, _AROUND = 0.24, 0.75
#: Characters of a name beside a row.
_LONGEST = 30


def training_curves(name: str, runs: Sequence[Sequence[Mapping[str, Any]]], *, loss: str | None = None) -> list[str]:
    """Loss and training accuracy: of one run over its units, of several seeds the mean over epochs with its interval.

    :param name: of the run or runs, for the titles.
    :param runs: rows of each one's ``metrics.jsonl``.
    :param loss: its name, None for the cross-entropy.
    :returns: two SVGs, or one where no row has an accuracy.
    """
    from matplotlib.figure import Figure

    drawn = []
    said = "cross-entropy" if loss is None else loss[-_LONGEST:]
    positive = all(row["loss"] > 0 for rows in runs for row in rows if _is_number(row.get("loss")))
    for key, label, log in (("loss", said, positive), ("accuracy", "accuracy on training batches, %", False)):
        if key == "accuracy" and not any(key in row for rows in runs for row in rows):
            continue
        one = Figure(figsize=(NARROW, 3.0), layout="constrained")
        axes = one.subplots()
        if len(runs) == 1:
            _units(axes, runs[0], key)
        else:
            _epochs(axes, runs, key)
        axes.set(xlabel="epoch, measurement or SPSA step" if len(runs) == 1 else "epoch", ylabel=label)
        if log:
            _logarithmic(axes)
        if axes.get_legend_handles_labels()[0] and key == "loss":
            axes.legend(frameon=False, fontsize=7.5)
        _plain(axes)
        drawn.append(svg(one, title=f"{'Loss' if key == 'loss' else 'Training accuracy'} of {name}"))
    return drawn


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis with numbers as people write them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _units(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """Every row of one run, by the kind of its unit."""
    scale = 100.0 if key == "accuracy" else 1.0
    named: set[str] = set()
    for kind, part in _pieces(rows):
        label, style = STYLES[kind]
        if key in part[0]:
            units = [row["unit"] for row in part]
            values = [scale * _value(row, key) for row in part]
            axes.plot(units, values, label="" if kind in named else label, **_visible(style, len(part)))
            named.add(kind)


def _visible(style: Mapping[str, Any], points: int) -> dict[str, Any]:
    """The style with a marker where a line of one point would be none."""
    return {"marker": "o", "markersize": 3.5, **style} if points == 1 else dict(style)


def _pieces(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Stretches of one kind and round, so that no line is drawn across what lies between."""
    drawn = [row for row in rows if row.get("kind") in STYLES and _is_number(row.get("loss"))]
    for (kind, _), part in groupby(drawn, key=lambda row: (row["kind"], row.get("round"))):
        yield kind, list(part)


def _value(row: Mapping[str, Any], key: str) -> float:
    return float(row[key]) if _is_number(row.get(key)) else math.nan


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _epochs(axes: Axes, runs: Sequence[Sequence[Mapping[str, Any]]], key: str) -> None:
    """Mean over seeds of each epoch, with its interval as a band; trials that were given up are left out."""
    scale = 100.0 if key == "accuracy" else 1.0
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for rows in runs:
        for row in rows:
            if row.get("kind") in ("warm-start", "fit") and _is_number(row.get(key)) and _is_number(row.get("epoch")):
                values[row["kind"], int(row["epoch"])].append(scale * float(row[key]))
    for kind in ("warm-start", "fit"):
        points = sorted((epoch, mean_interval(found)) for (k, epoch), found in values.items() if k == kind)
        if not points:
            continue
        epochs, means = [epoch for epoch, _ in points], [found.mean for _, found in points]
        label, style = STYLES[kind]
        axes.plot(epochs, means, label=f"{label}, mean of {len(runs)} seeds", **_visible(style, len(points)))
        # Of a loss near 0 an interval may reach below it, where no logarithm is.
        low = [_within(found.low, found.mean, 0.2 * found.mean, math.inf) for _, found in points]
        high = [_within(found.high, found.mean, 0.0, 5.0 * found.mean) for _, found in points]
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.25, linewidth=0)


def _within(value: float | None, otherwise: float, least: float, most: float) -> float:
    return otherwise if value is None else min(most, max(least, value))


def accuracy_figure(name: str, summaries: Sequence[RunSummary]) -> str:
    """Test accuracy beside that of the controls, with intervals: over seeds, of one seed that of its test images."""
    rows = [("this run" if len(summaries) == 1 else "these runs", "tab:blue", _accuracies(summaries, None))]
    controls = dict.fromkeys(control for summary in summaries for control in summary.controls)
    metric = Metric.of(summaries)
    for control in sorted(controls, key=lambda control: metric.gain(0.0, _accuracies(summaries, control).mean)):
        rows.append((spoken(control), "0.4", _accuracies(summaries, control)))
    return _dots(rows, metric, summaries[0].test_size, title=f"Test {metric.name} of {name} beside its controls")


def groups_figure(groups: Sequence[SeedGroup]) -> str:
    """Test accuracy of every configuration, with intervals."""
    metric = groups[0].metric
    rows = [(group.label, "tab:blue", group.accuracy) for group in groups if group.metric == metric]
    size = groups[0].runs[0].summary.test_size
    return _dots(rows, metric, size, title=f"Test {metric.name} of every configuration")


def _accuracies(summaries: Sequence[RunSummary], control: str | None) -> MeanInterval:
    if control is None:
        return mean_interval([summary.figure for summary in summaries])
    return mean_interval([summary.controls[control] for summary in summaries if control in summary.controls])


def _dots(rows: Sequence[tuple[str, str, MeanInterval]], metric: Metric, test_size: int, *, title: str) -> str:
    """One row for each name: the mean with its interval, and the seeds as small dots."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(NARROW, _AROUND + _ROW * len(rows)), layout="constrained")
    axes = drawn.subplots()
    for y, (_, colour, found) in enumerate(rows):
        ends = [metric.scale * end for end in _ends(found, metric, test_size)]
        axes.plot(ends, [y] * len(ends), color=colour, linewidth=1.4, solid_capstyle="butt")
        axes.plot([metric.scale * found.mean], [y], "o", color=colour, markersize=5)
        if len(found.values) > 1:
            values = [metric.scale * value for value in found.values]
            axes.plot(values, [y] * len(values), "|", color="0.15", markersize=6)
    _row_names(axes, [name for name, *_ in rows])
    axes.set_xlabel(f"test {metric.name}{', %' if metric.name == 'accuracy' else ''}; lines are 95 % intervals")
    _plain(axes, along="x")
    return svg(drawn, title=title)


def _ends(found: MeanInterval, metric: Metric, test_size: int) -> tuple[float, ...]:
    """Of an interval; none where nothing tells it."""
    low, high = found.low, found.high
    if metric.name == "loss":
        return () if low is None or high is None else (low, high)
    if low is None or high is None:
        low, high = image_interval(found.mean, test_size)
    return max(0.0, low), min(1.0, high)


def qnn_figure(name: str, number: int, qnn: MeasuredQNN) -> str | None:
    """The most probable outcomes with 95 % intervals, before and after mitigation, and without noise; None without
    counts.

    :param number: of the QNN.
    """
    from matplotlib.figure import Figure

    if qnn.before is None:
        return None
    first = qnn.before.shown()
    estimates = [("post-selected", "0.4", first)]
    if qnn.after is not None:
        estimates.append((f"mitigated, {qnn.after.method}", "tab:blue", qnn.after.shown()))
    shown = estimates[-1][2].most_probable(MOST_DRAWN)
    drawn = Figure(figsize=(NARROW, _AROUND + 0.35 + 0.21 * len(shown)), layout="constrained")
    axes = drawn.subplots()
    y = np.arange(len(shown))
    if qnn.ideal is not None:
        axes.plot(qnn.ideal[shown], y, "|", color="tab:red", markersize=9, markeredgewidth=1.6, label="without noise")
    for index, (label, colour, one) in enumerate(estimates):
        offset = 0.0 if len(estimates) == 1 else (-0.17, 0.17)[index]
        _intervals(axes, one, shown, y + offset, label=label, colour=colour)
    part = f"{len(shown)} most probable of {len(first.names):,} outcomes" if len(shown) < len(first.names) else ""
    _row_names(axes, [first.names[k] for k in shown])
    axes.set_ylabel("modes of the photons")
    axes.set_xlabel("; ".join(filter(None, ["probability", part])))
    axes.set_xlim(left=0.0)
    drawn.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7.5, handletextpad=0.2, columnspacing=0.9)
    _plain(axes, along="x")
    return svg(drawn, title=f"Distribution of QNN {number} of {name}")


def _intervals(axes: Axes, one: Estimate, shown: Any, y: Any, *, label: str, colour: str) -> None:
    """Points and intervals of one estimate; an interval need not hold the estimate, so it is drawn by itself."""
    axes.hlines(y, one.low[shown], one.high[shown], color=colour, linewidth=1.0)
    axes.plot(one.probabilities[shown], y, "o", color=colour, markersize=3, label=label)


def _row_names(axes: Axes, names: Sequence[str]) -> None:
    cut = [name if len(name) <= _LONGEST else f"...{name[3 - _LONGEST :]}" for name in names]
    axes.set_yticks(range(len(names)), cut, parse_math=False)  # a name with two dollars is no formula
    axes.set_ylim(len(names) - 0.4, -0.6)


def _plain(axes: Axes, *, along: str = "both") -> None:
    """What every figure has: no frame, a thin grid, small numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8.5)
    axes.yaxis.label.set_fontsize(8.5)
    axes.grid(axis=along, alpha=0.3, linewidth=0.5)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
