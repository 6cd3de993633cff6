"""What tests of several rooms need: programs, clocks and distances."""

from __future__ import annotations

from typing import final

import numpy as np

from qpu_sdk.arrays import FloatArray
from qpu_sdk.mitigation.distribution import Distribution
from qpu_sdk.mitigation.forward import Forward
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program

#: Every mesh with several photons, with one, and with as many as it takes.
SMALL_CIRCUITS: list[tuple[Mesh, tuple[int, ...]]] = [
    (BrickwallMesh(5), (0, 2, 4)),
    (BrickwallMesh(4), (0, 1)),
    (RectangularMesh(5), (0, 2, 4)),
    (RectangularMesh(4), (3,)),
    (IsometryMesh(6, 3), (0, 1, 2)),
    (IsometryMesh(4, 3), (0, 1, 2)),
]


def program(
    mesh: Mesh, inputs: int | tuple[int, ...], seed: int = 1, *, within: tuple[float, float] = (0.0, 2.0 * np.pi)
) -> Program:
    """Random phases, uniform ``within``.

    :param inputs: modes, or the number of photons in the mesh's own input.
    """
    phases = np.random.default_rng(seed).uniform(*within, mesh.declared)
    return Program(mesh, phases, mesh.default_input(inputs) if isinstance(inputs, int) else inputs)


def tvd(found: Distribution | FloatArray, q: FloatArray) -> float:
    """Half the sum of the differences."""
    p = found.probabilities if isinstance(found, Distribution) else found
    return 0.5 * float(np.abs(p - q).sum())


def ideal(model: Forward) -> FloatArray:
    """What a device without noise does, of the collision-free outcomes."""
    p = model.ideal[model.space.free]
    return np.asarray(p / p.sum())


@final
class Clock:
    """Time that passes when a test says so, while somebody sleeps, and by ``step`` whenever somebody looks."""

    def __init__(self, *, now: float = 1_000_000.0, step: float = 0.0) -> None:
        self.now, self.step = now, step
        self.pauses: list[float] = []

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def monotonic(self) -> float:
        return self()

    def sleep(self, seconds: float) -> None:
        assert seconds > 0, "a busy wait"
        self.pauses.append(seconds)
        self.now += seconds
