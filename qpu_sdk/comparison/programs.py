"""Programs whose distribution is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np

from ..arrays import FloatArray
from ..calibration.plan import haar
from ..errors import ConfigError
from ..photonics.meshes import BrickwallMesh, RectangularMesh
from ..photonics.permanents import collision_free_tree, probabilities
from ..photonics.program import Program
from ..seeds import child_seed

ProgramKind = Literal["brickwall", "haar", "identity", "permutation", "dft"]
KINDS: tuple[ProgramKind, ...] = ("brickwall", "haar", "identity", "permutation", "dft")
#: Kinds of which there is only one program.
SINGLE: tuple[ProgramKind, ...] = ("identity", "dft")


@final
@dataclass(frozen=True, eq=False)
class KnownProgram:
    """A program and its ideal collision-free distribution.

    :param truth: ``(C(M, N),)``, sums to 1.
    """

    kind: ProgramKind
    number: int
    program: Program
    truth: FloatArray = field(repr=False)


def known_programs(
    kinds: Sequence[ProgramKind], *, modes: int, input_modes: tuple[int, ...], each: int, seed: int
) -> list[KnownProgram]:
    """Programs of several kinds with their truth.

    :param each: of every kind that has more than one.
    :raises ConfigError: for an unknown kind.
    """
    out = []
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"programs {kind!r} are unknown. Use of {', '.join(KINDS)}.")
        for number in range(1 if kind in SINGLE else each):
            # A seed of its own: asking for more programs, or other kinds, changes none of these.
            program = _program(kind, modes, input_modes, child_seed(seed, "comparison", kind, number))
            columns = program.mesh.columns(program.phases, input_modes)
            p = probabilities(columns, collision_free_tree(modes, len(input_modes)))
            out.append(KnownProgram(kind, number, program, p / p.sum()))
    return out


def _program(kind: ProgramKind, modes: int, input_modes: tuple[int, ...], seed: int) -> Program:
    rng = np.random.default_rng(seed)
    if kind == "brickwall":
        wall = BrickwallMesh(modes)
        return Program(wall, rng.uniform(0.0, 2.0 * np.pi, wall.declared), input_modes)
    grid = np.outer(np.arange(modes), np.arange(modes))
    unitary = haar(modes, rng) if kind == "haar" else np.eye(modes, dtype=np.complex128)
    if kind == "permutation":
        unitary = unitary[rng.permutation(modes)]
    if kind == "dft":
        unitary = np.exp(2j * np.pi * grid / modes) / np.sqrt(modes)
    mesh = RectangularMesh(modes)
    return Program(mesh, mesh.phases_of(unitary), input_modes)
