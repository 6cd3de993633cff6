"""A program: one setting of an interferometer and the single photons that enter it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
import perceval as pcvl

from ..arrays import FloatArray
from ..errors import DataError, MitigationError, ProgramError
from .interferometer import Mesh
from .meshes import IsometryMesh, RectangularMesh, open_mesh

if TYPE_CHECKING:
    import perceval


def program_of(experiment: pcvl.Experiment) -> Program:
    """The program of an experiment: its unitary on a rectangular mesh, heralded photons included.

    :raises MitigationError: when more than a photon enters a mode, or something is no interferometer.

    >>> experiment = pcvl.Experiment(3).add(0, pcvl.BS())
    >>> experiment.with_input(pcvl.BasicState([1, 0, 1]))
    >>> program = program_of(experiment)
    >>> program.input_modes, abs(program.mesh.unitary(program.phases)[0]).round(3).tolist()
    ((0, 2), [0.707, 0.707, 0.0])
    """
    state = experiment.input_state
    if not isinstance(state, pcvl.FockState) or not state.n or max(state) > 1:
        raise MitigationError(f"the input state is {state}. Send one photon each into some modes.")
    if not experiment.is_unitary or experiment.circuit_size < 2:
        raise MitigationError("the experiment is no interferometer of 2 modes or more. Use unitary components only.")
    mesh = RectangularMesh(experiment.circuit_size)
    try:
        unitary = np.array(experiment.unitary_circuit().compute_unitary(), dtype=np.complex128)
        return Program(mesh, mesh.phases_of(unitary), tuple(np.flatnonzero(list(state)).tolist()))
    except (RuntimeError, ValueError, TypeError, AssertionError, ProgramError) as error:
        raise MitigationError(f"the experiment has no unitary ({error}). Give every parameter a value.") from error


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

    def to_json(self) -> str:
        """One line of JSON; an interferometer given by its unitary goes through ``RectangularMesh.phases_of``.

        :raises ProgramError: for a mesh of your own, which no file can name.
        """
        photons = self.mesh.photons if isinstance(self.mesh, IsometryMesh) else self.photons
        known = self.mesh.name in ("isometry", "rectangular", "brickwall")
        if not known or open_mesh(self.mesh.name, modes=self.modes, photons=photons) != self.mesh:
            raise ProgramError(
                f"{self.mesh!r} is no mesh that a file can name. Use RectangularMesh(M) and its phases_of(unitary)."
            )
        data = {
            "schema_version": 1,
            "mesh": {"name": self.mesh.name, "modes": self.modes, "photons": photons},
            "input_modes": list(self.input_modes),
            "phases": self.phases.tolist(),
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Program:
        """Read what :meth:`to_json` wrote, to the same fingerprint; raises :class:`DataError` on anything else.

        >>> from qpu_sdk.photonics.meshes import BrickwallMesh
        >>> program = Program(BrickwallMesh(2), np.array([0.1, 0.2, 0.3]), (0,))
        >>> Program.from_json(program.to_json()).fingerprint == program.fingerprint
        True
        """
        try:
            data = json.loads(text)
            if data["schema_version"] != 1:
                raise DataError(f"program has schema version {data['schema_version']}; this SDK reads version 1.")
            mesh, inputs, phases = data["mesh"], data["input_modes"], data["phases"]
            sizes = [mesh["modes"], mesh["photons"], *inputs]
            if not all(type(size) is int for size in sizes) or not all(type(x) in (int, float) for x in phases):
                raise TypeError("modes and photons are whole numbers, phases are numbers")
            opened = open_mesh(mesh["name"], modes=mesh["modes"], photons=mesh["photons"])
            return cls(opened, np.array(phases, dtype=np.float64), tuple(inputs))
        except (ProgramError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(f"not a program ({type(error).__name__}: {error}). Expected Program.to_json().") from error

    def to_perceval(self) -> tuple[perceval.Circuit, perceval.BasicState]:
        """The circuit and the input state in Perceval's objects."""
        import perceval as pcvl

        return self.mesh.to_perceval(self.phases), pcvl.BasicState(list(self.input_state))
