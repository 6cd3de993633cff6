"""``python -m tests.benchmarks.accuracy``: accuracy against numbers trained, with controls.

Writes docs/pictures/accuracy.svg, drawn of docs/results/bond.json, lean.json and better.json alone.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tests.benchmarks.drawn import picture, write_picture
from tests.benchmarks.published.tables import read

#: Controls by their colour, mark and name.
CONTROLS = {
    "frozen_random": ("#ff7f0e", "s", "the same, p frozen at random"),
    "random_subspace": ("#9467bd", "^", "random subspace"),
    "small_network": ("#2ca02c", "D", "small network, trained directly"),
    "plain_network": ("#d62728", "*", "the network itself, all weights"),
}
#: Cells whose own accuracy is shown; the others are the same with more epochs, for controls.
SHOWN = re.compile(r"chi=\d+|tapered, r = \d+")
Points = dict[str, dict[int, list[float]]]


def points(rows: Iterable[Mapping[str, Any]]) -> Points:
    """Accuracies of every seed by what was trained and how many numbers that has, in percent."""
    found: Points = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if SHOWN.fullmatch(row["cell"]):
            found["run"][row["parameters"]].append(100.0 * row["test"])
        for name in CONTROLS.keys() & row["controls"].keys():
            found[name][row["control_parameters"][name]].append(100.0 * row["controls"][name])
    return found


def figure_of(paper: Points, ours: Points) -> Figure:
    """Means over seeds with their standard errors."""
    drawn = Figure(figsize=(7.2, 3.9), layout="constrained")
    axes = drawn.subplots()
    _errors(axes, paper["run"], "#000000", "o", "generated, published chain", "-")
    _errors(axes, ours["run"], "#1f77b4", "o", "generated, tapered chain", "-")
    for name, (colour, mark, label) in CONTROLS.items():
        both: dict[int, list[float]] = {**paper.get(name, {}), **ours.get(name, {})}
        _errors(axes, both, colour, mark, label, "none")
    axes.set(xscale="log", xlabel="numbers trained", ylabel="test accuracy, %", ylim=(90.0, 100.0))
    axes.set_xticks([300, 500, 1000, 2000, 4000, 7000], ["300", "500", "1,000", "2,000", "4,000", "7,000"])
    axes.set_xticks([], minor=True)
    axes.legend(loc="lower right", fontsize=9, framealpha=0.0)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _errors(axes: Any, values: Mapping[int, list[float]], colour: str, mark: str, label: str, line: str) -> None:
    """Points of one kind; what has one seed has no error."""
    numbers = sorted(values)
    means = [statistics.mean(values[n]) for n in numbers]
    errors = [statistics.stdev(v) / len(v) ** 0.5 if len(v := values[n]) > 1 else 0.0 for n in numbers]
    style = {"color": colour, "marker": mark, "markersize": 5, "linestyle": line, "linewidth": 1, "capsize": 2}
    axes.errorbar(numbers, means, yerr=errors, label=label, **style)


def accuracy(folder: Path | None = None) -> str:
    """The picture of the results that are there."""
    tables = [read(name, folder) for name in ("bond", "lean", "better")]
    rows = [row for table in tables if table is not None for row in table["rows"]]
    published = [row for row in rows if row["cell"].startswith("chi")]
    tapered = [row for row in rows if row["cell"].startswith("tapered")]
    return picture(figure_of(points(published), points(tapered)), "Test accuracy against numbers trained")


if __name__ == "__main__":
    write_picture("accuracy", accuracy())
