"""What one program sees of a device's noise."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import ConfigError, ProgramError


@final
@dataclass(frozen=True, eq=False)
class ProgramNoise:
    """Everything between a program of N photons in M modes and its clicks: :meth:`Noise.at` makes it.

    :param brightness: B, probability that a source emits.
    :param indistinguishability: I of every pair of photons: one number, each photon being in the common state with
        sqrt(I), or ``(N, N)``, with ones on the diagonal, the states having inner products S_jk = sqrt(I_jk).
    :param g2: second-order autocorrelation of each source.
    :param transmittance: t_j, ``(N,)``.
    :param efficiency: eta_i, ``(M,)``.
    :param dark_counts: d_i, probability that a detector fires by itself in one window, ``(M,)``.
    :raises ConfigError: when a value is out of range.
    """

    brightness: float
    indistinguishability: float | FloatArray
    g2: float
    transmittance: FloatArray = field(repr=False)
    efficiency: FloatArray = field(repr=False)
    dark_counts: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not np.isfinite(value).all() or value.min(initial=0.0) < 0.0 or value.max(initial=0.0) > 1.0:
                raise ConfigError(f"{name} is {value.tolist()}; it must be within 0..1. Choose such values.")
        check_source(self.brightness, self.g2)


def emission(brightness: FloatArray | float, g2: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """p1 and p2, the probabilities of one photon and of two.

    p2 is the root of ``g2 = 2 p2 / (p1 + 2 p2)^2`` with ``p1 + p2 = B``, written without cancellation for small g2.

    >>> [float(p.round(4)) for p in emission(1.0, 0.18)]
    [0.8889, 0.1111]
    """
    b, g = np.asarray(brightness, dtype=np.float64), np.asarray(g2, dtype=np.float64)
    # At the limit 2 b g = 1 rounding can make the root's argument -1e-16.
    two = b**2 * g / (1.0 - b * g + np.sqrt(np.maximum(0.0, 1.0 - 2.0 * b * g)))
    return b - two, two


def enough_counts(noise: ProgramNoise, *, neglected: float = 1e-9, at_least: int = 1) -> int:
    """Smallest k such that windows with more than k counts are rare among those with ``at_least`` counts or more.

    Counts are photons at detectors as good as the best one, and dark counts; threshold detectors show fewer.

    :param neglected: largest share of the windows with more than k counts.
    :raises ProgramError: when no window has so many counts.

    >>> from qpu_sdk.photonics.noise import Noise
    >>> enough_counts(Noise(transmittance=0.01).at(range(4), modes=9))
    4
    >>> enough_counts(Noise(transmittance=0.01, g2=0.02).at(range(4), modes=9), neglected=1e-6)
    3
    """
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    # Inputs and detectors are independent: how many counts they bring together is a convolution.
    numbers = np.ones(1)
    for t in noise.transmittance * noise.efficiency.max():
        both, lost = two * t**2, 1.0 - one - two + one * (1.0 - t) + two * (1.0 - t) ** 2
        numbers = np.convolve(numbers, [lost, one * t + 2.0 * two * t * (1.0 - t), both])
    for dark in noise.dark_counts[np.flatnonzero(noise.dark_counts)]:
        numbers = np.convolve(numbers, [1.0 - dark, dark])
    above = np.append(np.cumsum(numbers[::-1])[::-1], 0.0)  # probability of k or more
    wanted = above[min(at_least, len(above) - 1)]
    if wanted <= 0.0:
        raise ProgramError(f"no window of this program has {at_least} counts or more. Check losses and input modes.")
    return int(np.flatnonzero(above[1:] <= neglected * wanted)[0])


def check_source(brightness: float, g2: float) -> None:
    """With p1 + p2 = B, g2 = 2 p2 / (p1 + 2 p2)^2 has no real solution above 1 / (2 B).

    :raises ConfigError: when no source has such values.
    """
    if 2.0 * brightness * g2 > 1.0:
        raise ConfigError(
            f"noise g2 is {g2} with brightness {brightness}; a source has g2 * brightness <= 0.5. Lower one of them."
        )
