"""What detectors of any kind show of a program: the click model, or counting photon by photon."""

from __future__ import annotations

from ..arrays import ComplexArray, FloatArray, OutcomeArray
from .click_model import accurate_click_distribution
from .counts import Detector, wires
from .photon_counting import fock_distribution
from .program_noise import ProgramNoise


def detected_distribution(
    columns: ComplexArray, noise: ProgramNoise, detector: Detector, *, most_clicks: int
) -> tuple[OutcomeArray, FloatArray]:
    """Patterns of at most so many clicks and their probabilities, the empty window first; rare ones keep their digits.

    :param columns: occupied columns of the unitary, ``(M, N)``, orthonormal.
    :returns: those of :func:`~qpu_sdk.photonics.patterns.lattice`, ``(K, M)``, and ``(K,)``; what the probabilities
        lack to 1 has more clicks.
    :raises ProgramError: when there are too many patterns, and for overlaps that differ by pair unless detectors only
        click.

    >>> import numpy as np
    >>> from qpu_sdk.photonics.noise import Noise
    >>> balanced = np.array([[1, 1], [1, -1]]) / 2**0.5
    >>> clicks, p = detected_distribution(balanced, Noise().at((0, 1), modes=2), "ppnr:2", most_clicks=2)
    >>> [(tuple(row), round(x, 3)) for row, x in zip(clicks.tolist(), p.tolist(), strict=True) if x > 1e-9]
    [((1, 0), 0.25), ((0, 1), 0.25), ((2, 0), 0.25), ((0, 2), 0.25)]
    """
    if detector == "threshold":
        sets, p = accurate_click_distribution(columns, noise, most_clicks=most_clicks)
        return sets.counts, p
    return fock_distribution(columns, noise, most_photons=most_clicks, wires=wires(detector))
