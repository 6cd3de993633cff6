"""The photonic parameter-shift rule: exact derivatives of probabilities from the same circuit at other phases.

As a function of one phase, the probability of an outcome is a trigonometric polynomial. n photons that may pass a phase
shifter have amplitudes e^{i k phi}, k = 0, ..., n, so that a probability has the frequencies 0, ..., n; theta of a
Mach-Zehnder interferometer is a phase shifter between two beam splitters. A beam splitter ``BS(theta)`` has amplitudes
e^{i k theta / 2} of either parity, and so half of these frequencies, 0, 1/2, ..., n. A polynomial of degree d has

    f'(0) = sum_mu c_mu f(x_mu),   x_mu = (2 mu - 1) pi / (2 d),   c_mu = (-1)^(mu - 1) / (4 d sin^2(x_mu / 2)),

mu = 1, ..., 2 d (Wierichs et al., Quantum 6, 677 (2022); of photons arXiv:2410.02726, 2409.16369): 2 n settings for a
phase shifter, 4 n for a beam splitter. All of it holds for unconditional probabilities, and for noise without memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ..arrays import FloatArray
from .interferometer import ABSENT, Mesh


@final
@dataclass(frozen=True, eq=False)
class Shifts:
    """Where to look at a function of one phase for its derivative, and with which weights.

    :param shifts: radians, ``(S,)``; none where the phase does nothing.
    :param weights: ``(S,)``.
    """

    shifts: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, degree: int, scale: float = 1.0) -> Shifts:
        """Of polynomials with frequencies 0, ..., degree in units of ``1 / scale``.

        >>> rule = Shifts.of(1)
        >>> rule.shifts.round(6).tolist(), rule.weights.round(6).tolist()
        ([1.570796, 4.712389], [0.5, -0.5])
        """
        mu = np.arange(1, 2 * degree + 1)
        x = (2 * mu - 1) * np.pi / (2 * max(degree, 1))
        weights = (-1.0) ** (mu - 1) / (4 * max(degree, 1) * np.sin(x / 2) ** 2)
        return cls(scale * x, weights / scale)

    @property
    def settings(self) -> int:
        """How many there are."""
        return len(self.shifts)


def shift_rules(mesh: Mesh, input_modes: Sequence[int]) -> tuple[Shifts, ...]:
    """The rule of every declared phase, ``(declared,)``, with as many photons as light from the inputs can bring there.

    Input phases turn one photon as a whole, and phases behind the last gate of a mode turn outcomes: neither changes a
    probability, and neither has shifts.

    >>> from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh
    >>> [rule.settings for rule in shift_rules(IsometryMesh(4, 2), (0, 1))]
    [2, 2, 2, 2, 4, 4, 4]
    >>> [rule.settings for rule in shift_rules(BrickwallMesh(3), (0, 2))]
    [4, 0, 2, 8, 0, 0, 0, 0, 0]
    """
    rules = [Shifts.of(0)] * mesh.declared
    photons = [frozenset([mode]) & frozenset(input_modes) for mode in range(mesh.modes)]
    last = {mode: index for index, gate in enumerate(mesh.gates) for mode in (gate.mode, gate.mode + 1)}
    for index, gate in enumerate(mesh.gates):
        here = photons[gate.mode] | photons[gate.mode + 1]
        photons[gate.mode] = photons[gate.mode + 1] = here
        n = len(here)
        rules[gate.theta] = Shifts.of(n) if mesh.mach_zehnder else Shifts.of(2 * n, scale=2.0)
        for mode, slot in ((gate.mode, gate.phi_top), (gate.mode + 1, gate.phi_bottom)):
            if slot != ABSENT and last[mode] > index:
                rules[slot] = Shifts.of(n)
    return tuple(rules)
