"""How far published figures are from what a machine does, as the width of a prior.

Every width is a standard deviation of a logarithm. They are what counts of a real Belenos said in July 2026 (source:
GitHub HUmutI/HPT-QRC) of the figures that its vendor published in that month: indistinguishability .827, found .94;
g2 .182, found .10 to .12; an aggregate transmittance of 0, 4.84 % worked out from pair rates; and output efficiencies,
of which nothing is published, of 1, .93, .44, .74, .94, .29, .70, .65, .94 and .44 of the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..photonics.program import Program
from .parts import Measured
from .record import CalibrationRecord


@final
@dataclass(frozen=True)
class Widths:
    """Standard deviations of the logarithms of indistinguishability, g2, transmission and output efficiencies.

    >>> OF_VENDORS.vector(2).tolist()
    [0.13, 0.5, 0.5, 0.45, 0.45]
    """

    indistinguishability: float
    g2: float
    transmission: float
    efficiency: float

    def vector(self, modes: int) -> FloatArray:
        """I, g2, the common transmission, and the efficiency of each mode, ``(3 + M,)``."""
        return np.array(
            [self.indistinguishability, self.g2, self.transmission, *([self.efficiency] * modes)], dtype=np.float64
        )


#: Of figures of a vendor, and of efficiencies that nobody measured.
OF_VENDORS = Widths(indistinguishability=0.13, g2=0.5, transmission=0.5, efficiency=0.45)
#: What no measurement is more exact than: the model of a source, of an interferometer and of a detector.
OF_MODELS = Widths(indistinguishability=0.003, g2=0.03, transmission=0.01, efficiency=0.01)


def widths_of(record: CalibrationRecord, program: Program) -> FloatArray:
    """How sure a record is of what a program meets, as errors of logarithms, ``(3 + M,)``; see :class:`Widths`."""
    if record.origin == "vendor":
        return OF_VENDORS.vector(program.modes)
    overlap = record.indistinguishability
    overlaps = [overlap] if isinstance(overlap, Measured) else [pair.measured for pair in overlap]
    inputs = [record.input_transmissions[mode] for mode in program.input_modes]
    groups = [overlaps, [record.g2], inputs, *([m] for m in record.output_efficiencies[: program.modes])]
    errors = np.array([max(_relative(m) for m in group) if group else 0.0 for group in groups])
    return np.maximum(errors, OF_MODELS.vector(program.modes))


def _relative(measured: Measured) -> float:
    return (measured.standard_error or 0.0) / max(measured.value, 1e-9)
