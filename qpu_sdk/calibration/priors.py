"""How far published figures are from what a machine does, as the width of a prior.

Every width is a standard deviation of a logarithm. They are what counts of a real Belenos said in July 2026 (source:
GitHub HUmutI/HPT-QRC) of the figures that its vendor published in that month: indistinguishability .827, found .94;
g2 .182, found .10 to .12; an aggregate transmittance of 0, 4.84 % worked out from pair rates; and output efficiencies,
of which nothing is published, of 1, .93, .44, .74, .94, .29, .70, .65, .94 and .44 of the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..photonics.noise import Noise
from .counted import Axes
from .parts import Measured
from .record import CalibrationRecord


@final
@dataclass(frozen=True)
class Widths:
    """Standard deviations of logarithms; 0 for what is held.

    :param transmission: of all inputs together; ``inputs``: of each beside that.
    :param dark: of the dark counts of all modes together.
    """

    indistinguishability: float
    g2: float
    transmission: float
    efficiency: float
    inputs: float = 0.0
    dark: float = 0.0

    def vector(self, axes: Axes) -> FloatArray:
        """Of every parameter, ``(P,)``."""
        out = np.empty(axes.size)
        out[axes.scalars] = self.indistinguishability, self.g2, self.transmission
        out[axes.efficiencies], out[axes.inputs_alone], out[axes.dark] = self.efficiency, self.inputs, self.dark
        return out


#: Of figures of a vendor, and of efficiencies that nobody measured.
OF_VENDORS = Widths(indistinguishability=0.13, g2=0.5, transmission=0.5, efficiency=0.4)
#: The same where several settings tell more: how inputs differ, and dark counts, of which nothing is published.
OF_VENDORS_FILES = replace(OF_VENDORS, inputs=0.2, dark=2.0)
#: Of nobody's figures, where the fit only begins.
OF_NOBODY = Widths(indistinguishability=0.15, g2=1.5, transmission=2.0, efficiency=0.4, inputs=0.2, dark=2.0)
#: Of what a plan's settings tell by themselves: next to nothing is held.
OF_PLANS = Widths(indistinguishability=0.3, g2=2.0, transmission=1.0, efficiency=1.0, inputs=0.5, dark=4.0)
#: No source that was ever measured is below this.
LEAST_G2 = 1e-3
#: What no record is more exact about: a source, an interferometer and detectors are more than their model.
OF_MODELS = Widths(indistinguishability=0.003, g2=0.03, transmission=0.01, efficiency=0.01)


def widths_of(record: CalibrationRecord, axes: Axes) -> FloatArray:
    """How sure a measured record is, as errors of logarithms, ``(P,)``; larger by as much as its own fit was worse."""
    overlap = record.indistinguishability
    overlaps = [overlap] if isinstance(overlap, Measured) else [pair.measured for pair in overlap]
    inputs = [record.input_transmissions[mode] for mode in axes.inputs]
    out = np.zeros(axes.size)
    out[axes.scalars] = _largest(overlaps), _largest([record.g2]), _largest(inputs)
    out[axes.efficiencies] = [_largest([m]) for m in record.output_efficiencies[: axes.modes]]
    return np.maximum(out * math.sqrt(record.inflation), OF_MODELS.vector(axes))


def with_some_g2(noise: Noise) -> Noise:
    """The noise with a g2 that can be told to be more: its logarithm is what moves, and that of 0 cannot."""
    return noise if noise.g2 >= LEAST_G2 else replace(noise, g2=LEAST_G2)


def _largest(numbers: Sequence[Measured]) -> float:
    return max(((m.standard_error or 0.0) / max(m.value, 1e-9) for m in numbers), default=0.0)
