"""A program: one setting of an interferometer and the single photons that enter it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from ..errors import ProgramError
from .interferometer import Mesh
from .permanents import FloatArray

if TYPE_CHECKING:
    import perceval


@final
@dataclass(frozen=True, eq=False)
class Program:
    """What a device runs: a mesh, its phases and the input Fock state.

    :param mesh: the interferometer.
    :param phases: radians, ``(mesh.declared,)``; copied and made read-only.
    :param input_modes: distinct modes that get one photon each.
    :raises ProgramError: when phases or input modes do not fit the mesh.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> mesh = IsometryMesh(4, 2)
    >>> program = Program(mesh, np.zeros(mesh.declared), mesh.default_input(2))
    >>> program.modes, program.photons, program.input_state
    (4, 2, (1, 1, 0, 0))
    """

    mesh: Mesh
    phases: FloatArray = field(repr=False)
    input_modes: tuple[int, ...]

    def __post_init__(self) -> None:
        phases = np.array(self.mesh.checked(self.phases))
        if phases.ndim != 1:
            raise ProgramError(f"a program takes one phase vector; got an array of shape {phases.shape}.")
        phases.setflags(write=False)
        inputs = tuple(sorted(int(m) for m in self.input_modes))  # photons are identical: their order means nothing
        if not inputs or len(set(inputs)) < len(inputs) or min(inputs) < 0 or max(inputs) >= self.modes:
            raise ProgramError(f"input modes {inputs} are not distinct modes of 0..{self.modes - 1}. Name each once.")
        object.__setattr__(self, "phases", phases)
        object.__setattr__(self, "input_modes", inputs)

    @property
    def modes(self) -> int:
        """Number of modes M."""
        return self.mesh.modes

    @property
    def photons(self) -> int:
        """Number of photons N."""
        return len(self.input_modes)

    @property
    def input_state(self) -> tuple[int, ...]:
        """Photons per input mode, ``(M,)``."""
        return tuple(int(mode in self.input_modes) for mode in range(self.modes))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of mesh, phases and input: equal fingerprints, equal settings."""
        digest = hashlib.sha256(f"{self.mesh.fingerprint} {self.input_modes}".encode())
        digest.update(np.ascontiguousarray(self.phases, dtype="<f8").tobytes())
        return digest.hexdigest()

    def to_perceval(self) -> tuple[perceval.Circuit, perceval.BasicState]:
        """The circuit and the input state in Perceval's objects."""
        import perceval as pcvl

        return self.mesh.to_perceval(self.phases), pcvl.BasicState(list(self.input_state))
