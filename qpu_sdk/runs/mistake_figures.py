"""Figures of what a network takes for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..rendering.figures import NARROW, svg
from ..rendering.heat_map import draw_heat_map
from .mistakes import Mistakes, WrongImage

#: Classes whose numbers of images stand in the squares.
_MOST_WRITTEN = 12
#: Pictures of a row.
_COLUMNS = 4


def confusion_figure(name: str, found: Mistakes) -> str:
    """Heat map of the confusion table: right answers blue, by their share of the class; wrong ones orange."""
    from matplotlib.figure import Figure

    table = np.array(found.confusion, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    wrong = shares - np.diag(np.diag(shares))
    shown = np.diag(np.diag(shares)) - wrong / max(float(wrong.max()), 1e-12)  # else nobody sees mistakes of a percent
    shown[table == 0.0] = np.nan
    names = [str(k) for k in range(len(table))]
    texts = [[f"{number:.0f}" for number in row] for row in table] if len(table) <= _MOST_WRITTEN else None
    drawn = Figure(figsize=(NARROW, NARROW), layout="constrained")
    axes = drawn.subplots()
    draw_heat_map(axes, shown, names, full=1.0, texts=texts)
    axes.set_xlabel("answer of the network (blue: right, orange: wrong)", fontsize=8.5)
    axes.set_ylabel("class", fontsize=8.5)
    return svg(drawn, title=f"Answers of {name} to its test images, by class")


def worst_figure(name: str, worst: Sequence[WrongImage]) -> str:
    """Pictures of wrong answers with their class, the answer and how sure it is."""
    from matplotlib.figure import Figure

    rows = -(-len(worst) // _COLUMNS)
    drawn = Figure(figsize=(NARROW, 1.35 * rows), layout="constrained")
    panels = list(drawn.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, one in zip(panels, worst, strict=False):
        picture = np.moveaxis(one.array(), 0, -1)
        shown = picture[..., 0] if one.shape[0] == 1 else picture
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="none")
        axes.set_title(f"{one.label}, said {one.answer}\n{100 * one.probability:.0f} %", fontsize=8)
    return svg(drawn, title=f"Test images that {name} is the most wrong about")
