"""Figures as SVG text, drawn with matplotlib's object interface (no display, no global state)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any


def training_curve(rows: Sequence[Mapping[str, Any]]) -> str:
    """Loss and accuracy over the units of a run, with the SPSA steps marked, as SVG.

    :param rows: rows of ``metrics.jsonl``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for kind, label, style in (
        ("warm-start", "exact gradients", "-"),
        ("fit", "generator epoch", "-"),
        ("spsa", "SPSA step (minibatch)", "."),
    ):
        points = [(row["unit"], row["loss"]) for row in rows if row["kind"] == kind]
        if points:
            losses.plot(*zip(*points, strict=True), style, label=label, markersize=4, linewidth=1.2)
    fits = [(row["unit"], 100 * row["accuracy"]) for row in rows if row["kind"] == "fit"]
    if fits:
        accuracies.plot(*zip(*fits, strict=True), "-", linewidth=1.2)
    losses.set(xlabel="unit of work", ylabel="cross-entropy", yscale="log")
    accuracies.set(xlabel="unit of work", ylabel="training accuracy, % (while training)")
    losses.legend(frameon=False, fontsize=8)
    for axes in (losses, accuracies):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.5)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
