"""The page of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ..report.figures import svg
from ..report.html import figure, listing, page, paragraph, section, table
from ..report.text import percent
from .summary import RunSummary
from .tables import summary_rows

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


def training_curve(rows: Sequence[Mapping[str, Any]]) -> str:
    """Loss and training accuracy over the units of a run, as SVG.

    :param rows: rows of ``metrics.jsonl``.
    """
    from matplotlib.figure import Figure

    curve = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracies = curve.subplots(1, 2)
    named: set[str] = set()
    for kind, part in _pieces(rows):
        label, style = STYLES[kind]
        units = [row["unit"] for row in part]
        losses.plot(units, [row["loss"] for row in part], label="" if kind in named else label, **style)
        named.add(kind)
        if "accuracy" in part[0]:
            accuracies.plot(units, [100 * row["accuracy"] for row in part], **style)
    losses.set(xlabel="unit of work", ylabel="cross-entropy", yscale="log")
    accuracies.set(xlabel="unit of work", ylabel="accuracy on training batches, %")
    if named:
        losses.legend(frameon=False, fontsize=8)
    for axes in (losses, accuracies):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.5)
    return svg(curve)


def _pieces(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Stretches of one kind and round, so that no line is drawn across what lies between."""
    drawn = [row for row in rows if row["kind"] in STYLES and "loss" in row]
    for (kind, _), part in groupby(drawn, key=lambda row: (row["kind"], row.get("round"))):
        yield kind, list(part)


def run_page(name: str, summary: RunSummary, rows: Sequence[Mapping[str, Any]], config_toml: str) -> str:
    """The page: headline, table, curve, configuration.

    :param name: title of the run.
    :param rows: rows of ``metrics.jsonl``.
    """
    parameters = summary.trainable_parameters.total
    return page(
        name,
        [
            paragraph(
                f"{parameters:,} trained parameters generate {summary.target_parameters:,} weights. "
                "The exported network runs without a quantum computer and without this SDK."
            ),
            table(summary_rows(summary)),
            section("Training", figure(training_curve(rows))),
            section("Configuration", listing(config_toml)),
        ],
        headline=f"{name}: {percent(summary.test_accuracy)} test accuracy",
    )
