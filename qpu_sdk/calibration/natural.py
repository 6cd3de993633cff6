"""From the logarithms of a fit to the numbers of a record."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..photonics.noise import Noise, by_mode, mean_pair
from .counted import MOST_G2, Axes
from .parts import Measured, PhysicalUnit, parameter_name
from .refit import Refit

#: Of the differences that derivatives are taken from.
SMALL = 1e-5


def record_numbers(base: Noise, axes: Axes, found: Refit) -> dict[str, Any]:
    """The numbers of a record with their errors and covariance, in its gauge."""
    names, values = _names(axes), _values(base, axes, found.x)
    steps = SMALL * np.eye(axes.size)
    slopes = [(_values(base, axes, found.x + s) - _values(base, axes, found.x - s)) / (2.0 * SMALL) for s in steps]
    jacobian = np.stack(slopes, axis=1)
    covariance = jacobian @ found.covariance @ jacobian.T
    # What is held, or told by nothing, has a variance of 0 that may come out as -1e-14.
    spread, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    covariance = (vectors * np.maximum(spread, 0.0)) @ vectors.T
    covariance = 0.5 * (covariance + covariance.T)
    errors = np.sqrt(np.diag(covariance))
    known = dict(zip(names, zip(values.tolist(), errors.tolist(), strict=True), strict=True))

    def number(name: str, unit: PhysicalUnit = "1") -> Measured:
        value, error = known[name]
        return Measured(value=value, standard_error=error, unit=unit)

    modes = range(axes.modes)
    return {
        "brightness": Measured(value=1.0, standard_error=0.0),
        "indistinguishability": number("indistinguishability"),
        "g2": number("g2"),
        "input_transmissions": {j: number(parameter_name("input_transmissions", j)) for j in axes.inputs},
        "output_efficiencies": tuple(number(parameter_name("output_efficiencies", i)) for i in modes),
        "dark_counts": tuple(number(parameter_name("dark_counts", i), "1/window") for i in modes),
        "parameters": tuple(names),
        "covariance": tuple(tuple(float(x) for x in row) for row in covariance),
    }


def untold(axes: Axes, found: Refit, widths: FloatArray, *, share: float) -> str:
    """Which numbers the counts did not tell, in words.

    :param share: of the prior's error that an error must be below.
    """
    errors = np.sqrt(np.diag(found.covariance))
    kept = (errors >= share * widths) & (widths > 0.0)
    names = {"indistinguishability": kept[0], "g2": kept[1], "the transmission": kept[2]}
    names |= {f"the efficiency of mode {i}": bool(v) for i, v in enumerate(kept[axes.efficiencies])}
    names |= {"which input transmits more": bool(kept[axes.inputs_alone].any()), "dark counts": bool(kept[axes.dark])}
    said = [name for name, is_kept in names.items() if is_kept]
    if not said:
        return "The counts tell every number."
    return f"Not told by the counts, and left at the prior: {', '.join(said)}."


def _names(axes: Axes) -> list[str]:
    return [
        "indistinguishability",
        "g2",
        *(parameter_name("input_transmissions", j) for j in axes.inputs),
        *(parameter_name("output_efficiencies", i) for i in range(axes.modes)),
        *(parameter_name("dark_counts", i) for i in range(axes.modes)),
    ]


def _values(base: Noise, axes: Axes, x: FloatArray) -> FloatArray:
    """In the order of :func:`_names`: efficiencies of mean 1, which transmissions take on."""
    eta = by_mode(base.efficiency, axes.modes) * np.exp(x[axes.efficiencies])
    mean = float(eta.mean())
    t = by_mode(base.transmittance, axes.modes)[list(axes.inputs)] * np.exp(x[2] + x[axes.inputs_alone]) * mean
    dark = by_mode(base.dark_counts, axes.modes) * np.exp(x[axes.dark])
    scalars = [min(mean_pair(base.indistinguishability) * np.exp(x[0]), 1.0), min(base.g2 * np.exp(x[1]), MOST_G2)]
    return np.concatenate([scalars, np.minimum(t, 1.0), eta / mean, np.minimum(dark, 0.1)])
