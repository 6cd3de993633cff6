"""The meshes: which gates there are, in which order, and which phases they use."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import final

import numpy as np

from ..arrays import ComplexArray, FloatArray, whole
from ..errors import ProgramError
from .decomposition import checked_unitary, move_to_input, null_below_diagonal
from .fock import check_modes_photons
from .interferometer import ABSENT, Gate, Mesh


def _brickwall(modes: int, layers: int) -> Iterator[int]:
    """Upper modes of a brick-wall's gates: even pairs, odd pairs, even pairs, ..."""
    for layer in range(layers):
        yield from range(layer % 2, modes - 1, 2)


@final
class BrickwallMesh(Mesh):
    """The published mesh: M-1 brick-wall layers of ``BS(theta) // PS // PS`` (arXiv:2505.08474, authors' code).

    It declares 3 M (M-1) / 2 phases (108 for 9 modes, 84 for 8) of which the last 12 and 9 are not wired (96
    and 75 are). With M-1 layers it is not universal.

    >>> BrickwallMesh(9).declared, BrickwallMesh(9).wired, BrickwallMesh(8).declared, BrickwallMesh(8).wired
    (108, 96, 84, 75)
    """

    name = "brickwall"
    mach_zehnder = False

    @property
    def declared(self) -> int:
        """3 M (M-1) / 2."""
        return 3 * self.modes * (self.modes - 1) // 2

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """In the authors' order: theta, then the phase on the upper and on the lower mode."""
        tops = _brickwall(self.modes, self.modes - 1)
        return tuple(Gate(mode, 3 * g, 3 * g + 1, 3 * g + 2) for g, mode in enumerate(tops))

    @property
    def input_phases(self) -> tuple[int, ...]:
        """None."""
        return ()

    def default_input(self, photons: int) -> tuple[int, ...]:
        """``int(linspace(0, M-1, N))``: modes 0, 2, 5, 8 of 9 and 0, 2, 4, 7 of 8, as published."""
        return _spread(self.modes, photons)


@final
class RectangularMesh(Mesh):
    """The universal M-layer mesh of Clements et al. (Optica 3, 1460): M (M-1) / 2 Mach-Zehnder interferometers.

    Each has an internal phase theta and an external phase on its upper output; M input phases complete the
    M^2 parameters of U(M).

    >>> RectangularMesh(9).declared
    81
    """

    name = "rectangular"
    mach_zehnder = True

    @property
    def declared(self) -> int:
        """M^2."""
        return self.modes**2

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """Brick-wall order; theta, then the external phase."""
        return tuple(Gate(mode, 2 * g, 2 * g + 1) for g, mode in enumerate(_brickwall(self.modes, self.modes)))

    @property
    def input_phases(self) -> tuple[int, ...]:
        """The last M slots."""
        return tuple(range(self.modes * (self.modes - 1), self.modes**2))

    def default_input(self, photons: int) -> tuple[int, ...]:
        """Spread over the modes, like the published mesh."""
        return _spread(self.modes, photons)

    def phases_of(self, unitary: ComplexArray) -> FloatArray:
        """The inverse of :meth:`unitary`: phases x with ``mesh.unitary(x) = U``, output phases included.

        Clements et al. (Optica 3, 1460) null U below its diagonal, one antidiagonal after the other, with gates G
        from the output side and mirrored gates W (their phase sits on the lower input) from the input side,

            U = G_1 ... G_p D W_q ... W_1,   G = diag(e^{i phi}, 1) B(theta),   W = B(theta) diag(1, e^{i phi}).

        The diagonal D then moves to the input, where the input phases are, and turns every W that it passes
        into a G:

            diag(a, b) W(theta, phi) = G(theta, arg a/b) diag(b, b e^{i phi}).

        A pair that has nothing to null is left uncrossed (theta = pi).

        :param unitary: U, ``(M, M)``; one that is not quite unitary comes back changed by about its deviation.
        :returns: radians in [0, 2 pi), ``(declared,)``.
        :raises ProgramError: for another shape, or when an element of ``|U^dagger U - 1|`` exceeds 1e-8.

        >>> mesh = RectangularMesh(3)
        >>> cycle = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
        >>> bool(abs(mesh.unitary(mesh.phases_of(cycle)) - cycle).max() < 1e-12)
        True
        """
        remainder = checked_unitary(unitary, self.modes)
        theta, phi = null_below_diagonal(remainder)
        entry = move_to_input(np.angle(remainder.diagonal()), phi)
        layer, mode = np.indices(theta.shape)
        wall = (layer + mode) % 2 == 0  # a mask reads row by row, which is the order of the gates
        phases = np.concatenate([np.stack([theta[wall], phi[wall]], axis=1).ravel(), entry])
        return np.asarray(phases % math.tau % math.tau)  # twice: -1e-17 % tau is tau


@final
class IsometryMesh(Mesh):
    """The smallest mesh that reaches every outcome distribution of N photons in M modes.

    Only the N occupied columns of U matter, and neither input nor output phases do, which leaves
    2MN - N^2 - M - N + 1 phases. It is the triangle of Reck et al. (PRL 73, 58) without the interferometers
    that see only vacuum when the photons enter modes 0..N-1, and without its output phases: diagonal k = N-1,
    ..., 0 crosses modes k, ..., M-1.

    >>> IsometryMesh(9, 4).declared, IsometryMesh(8, 4).declared
    (44, 37)
    """

    name = "isometry"
    mach_zehnder = True

    def __init__(self, modes: int, photons: int) -> None:
        super().__init__(modes)
        self.photons = whole(photons, "photons")
        check_modes_photons(self.modes, self.photons)

    @property
    def declared(self) -> int:
        """2MN - N^2 - M - N + 1."""
        m, n = self.modes, self.photons
        return 2 * m * n - n * n - m - n + 1

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """Diagonal by diagonal; the last diagonal's external phases would be output phases and are left out."""
        gates: list[Gate] = []
        slot = 0
        for k in range(self.photons - 1, -1, -1):
            for mode in range(k, self.modes - 1):
                gates.append(Gate(mode, slot, slot + 1 if k else ABSENT))
                slot += 2 if k else 1
        return tuple(gates)

    @property
    def input_phases(self) -> tuple[int, ...]:
        """None."""
        return ()

    def default_input(self, photons: int) -> tuple[int, ...]:
        """Modes 0..N-1, where the triangle begins."""
        photons = whole(photons, "photons")
        check_modes_photons(self.modes, photons)
        return tuple(range(photons))


def _spread(modes: int, photons: int) -> tuple[int, ...]:
    """Photons spread evenly, rounded down."""
    photons = whole(photons, "photons")
    check_modes_photons(modes, photons)
    return tuple(int(m) for m in np.linspace(0, modes - 1, photons))


def open_mesh(name: str, *, modes: int, photons: int) -> Mesh:
    """The mesh a configuration names.

    :raises ProgramError: for an unknown name, or photons that do not fit.

    >>> open_mesh("isometry", modes=9, photons=4)
    IsometryMesh(modes=9, phases=44)
    """
    modes, photons = whole(modes, "modes"), whole(photons, "photons")
    check_modes_photons(modes, photons)
    match name:
        case IsometryMesh.name:
            return IsometryMesh(modes, photons)
        case RectangularMesh.name:
            return RectangularMesh(modes)
        case BrickwallMesh.name:
            return BrickwallMesh(modes)
    raise ProgramError(f"mesh {name!r} is unknown. Use isometry, rectangular or brickwall.")


@final
class WrittenMesh(Mesh):
    """A mesh by its wiring alone, as an operation of torch knows it.

    :param written: :attr:`Mesh.written` of the mesh.
    """

    name = "written"

    def __init__(self, written: str) -> None:
        modes, self.mach_zehnder, declared, gates, inputs = json.loads(written)
        self._declared = int(declared)
        super().__init__(modes)
        self._gates, self._entering = tuple(Gate(*gate) for gate in gates), tuple(inputs)

    @property
    def declared(self) -> int:
        """As it was written."""
        return self._declared

    @property
    def gates(self) -> tuple[Gate, ...]:
        """As they were written."""
        return self._gates

    @property
    def input_phases(self) -> tuple[int, ...]:
        """As they were written."""
        return self._entering

    def default_input(self, photons: int) -> tuple[int, ...]:
        """Spread over the modes."""
        return _spread(self.modes, photons)


@lru_cache(maxsize=64)
def mesh_of(written: str) -> WrittenMesh:
    """The mesh that :attr:`Mesh.written` describes.

    >>> mesh_of(RectangularMesh(3).written).fingerprint == RectangularMesh(3).fingerprint
    True
    """
    return WrittenMesh(written)
