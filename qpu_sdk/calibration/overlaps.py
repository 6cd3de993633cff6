"""How alike the photons of two sources are, as a heat map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import FloatArray
from ..errors import CalibrationError
from ..rendering.figures import NARROW
from ..rendering.heat_map import draw_heat_map
from .parts import Measured
from .record import CalibrationRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Sources whose squares have room for a number.
_MOST_WRITTEN = 6


def has_overlaps(record: CalibrationRecord) -> bool:
    """Whether pairs of sources have numbers of their own, more than one of them."""
    return not isinstance(record.indistinguishability, Measured) and len(record.indistinguishability) > 1


def overlaps_of(record: CalibrationRecord) -> tuple[FloatArray, FloatArray]:
    """Indistinguishability of every pair of ``record.input_modes`` and its standard error, ``(n, n)`` each.

    NaN on the diagonal, and for errors that nobody gave.

    :raises CalibrationError: when the record has one number for all pairs.
    """
    if isinstance(record.indistinguishability, Measured):
        raise CalibrationError(
            f"record {record.id} has one indistinguishability for all pairs. Calibrate with pairs=True, or --pairs."
        )
    places = {mode: place for place, mode in enumerate(record.input_modes)}
    values, errors = np.full((2, len(places), len(places)), np.nan)
    for pair in record.indistinguishability:
        j, k = (places[mode] for mode in pair.modes)
        values[j, k] = values[k, j] = pair.value
        errors[j, k] = errors[k, j] = math.nan if pair.standard_error is None else pair.standard_error
    return values, errors


def draw_overlaps(record: CalibrationRecord) -> Figure:
    """Heat map of :func:`overlaps_of`: the least alike of all pairs is empty, photons that are the same are full.

    :raises CalibrationError: when the record has one number for all pairs.
    """
    from matplotlib.figure import Figure

    values, errors = overlaps_of(record)
    known = values[np.isfinite(values)]
    least = math.floor(20.0 * float(known.min(initial=1.0))) / 20.0  # a round number below all of them
    written = [[_told(v, e) for v, e in zip(*rows, strict=True)] for rows in zip(values, errors, strict=True)]
    texts = written if len(values) <= _MOST_WRITTEN else None
    side = min(NARROW, 1.6 + 0.55 * len(values))
    drawn = Figure(figsize=(side, side + 0.2), layout="constrained")
    axes = drawn.subplots()
    draw_heat_map(axes, values, list(map(str, record.input_modes)), full=1.0, empty=min(least, 0.95), texts=texts)
    axes.set_title("indistinguishability of two sources", fontsize=10)
    axes.set_xlabel(f"mode (empty: {min(least, 0.95):.2f}, full: 1)", fontsize=8)
    axes.set_ylabel("mode", fontsize=8)
    return drawn


def _told(value: float, error: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.3f}" if math.isnan(error) else f"{value:.3f}\n± {error:.3f}"
