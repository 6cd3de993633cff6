"""How errors of outcomes hang together, as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import FloatArray
from ..rendering.figures import NARROW
from ..rendering.heat_map import draw_heat_map
from .outcomes import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Outcomes of a heat map, the most probable ones.
MOST_SQUARES = 16
#: Outcomes whose squares have room for a number.
_MOST_WRITTEN = 8


def error_correlations(covariance: FloatArray) -> FloatArray:
    """Correlations between errors, ``(K, K)``, NaN on the diagonal and where one of the two has no error.

    >>> error_correlations(np.array([[4.0, -1.0], [-1.0, 1.0]])).tolist()
    [[nan, -0.5], [-0.5, nan]]
    """
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.outer(deviations, deviations)
    out = np.full_like(covariance, np.nan)
    np.divide(covariance, scale, out=out, where=scale > 0.0)
    np.fill_diagonal(out, np.nan)
    return out


def draw_correlations(estimate: Estimate, covariance: FloatArray) -> Figure:
    """Heat map of the correlations between the errors of the most probable outcomes, in lexicographic order.

    :param covariance: of all outcomes, ``(K, K)``.
    """
    from matplotlib.figure import Figure

    shown = np.sort(estimate.most_probable(MOST_SQUARES))
    found = error_correlations(covariance)[np.ix_(shown, shown)]
    known = np.abs(found[np.isfinite(found)])
    largest = float(known.max(initial=0.0))
    drawn = Figure(figsize=(NARROW, NARROW), layout="constrained")
    axes = drawn.subplots()
    written = [["" if np.isnan(value) else f"{value:.2f}" for value in row] for row in found]
    texts = written if len(shown) <= _MOST_WRITTEN else None
    draw_heat_map(axes, found, [estimate.names[k] for k in shown], full=largest, texts=texts)
    part = f"the {len(shown)} most probable of {len(estimate.names):,} outcomes\n"
    part = part if len(shown) < len(estimate.names) else ""
    axes.set_title("Correlation of errors", fontsize=10, loc="left")
    axes.set_xlabel(
        f"{part}blue: both too high or both too low; orange: one too high,\n"
        f"the other too low; the fullest is {largest:.2f}",
        fontsize=8,
    )
    return drawn
