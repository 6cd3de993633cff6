"""A table of numbers as a figure: one square a number, the fuller the larger, in any ground's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of a square that is full; text on it stays readable.
_FULLEST = 0.75


def draw_heat_map(
    axes: Axes,
    values: FloatArray,
    names: Sequence[str],
    *,
    full: float,
    empty: float = 0.0,
    texts: Sequence[Sequence[str]] | None = None,
) -> None:
    """Squares of numbers, blue for those above ``empty`` and orange for those below; those that are NaN are left out.

    Colours are transparent to their ground and never mixed with white, so that they are read in the dark as well.

    :param values: ``(K, K)``.
    :param names: of rows and columns, ``(K,)``.
    :param full: a number whose square is full; as far below ``empty`` another is.
    :param texts: what stands in the squares, where these have room for it.
    """
    from matplotlib.patches import Rectangle

    reach = abs(full - empty) or 1.0
    for row, column in np.argwhere(np.isfinite(values)).tolist():
        share = float((values[row, column] - empty) / reach)
        ground = ("tab:blue" if share >= 0.0 else "tab:orange", _FULLEST * min(1.0, abs(share)))
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1.0, 1.0, facecolor=ground, edgecolor="0.7", linewidth=0.4))
        if texts is not None:
            axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=7.5)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    crowded = max(map(len, names), default=0) * len(names) > 24  # characters that fit side by side
    axes.set_xticks(range(len(names)), names, rotation=90 if crowded else 0, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.tick_params(labelsize=7.5, length=0)
    axes.spines[:].set_visible(False)
