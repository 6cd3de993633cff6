"""A program: one setting of an interferometer and the single photons that enter it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, whole
from ..errors import DataError, ProgramError
from ..markup import Html, notebook_table
from ..words import short
from .conversions import interferometer_of
from .drawing import Drawing
from .inputs import Inputs, modes_of_inputs
from .interferometer import Mesh
from .meshes import IsometryMesh, RectangularMesh, open_mesh
from .permanents import collision_free_tree, probabilities

if TYPE_CHECKING:
    import perceval


@final
@dataclass(frozen=True, eq=False, init=False)
class Program:
    """What a device runs: a mesh, its phases and the input Fock state.

    :param mesh: the interferometer.
    :param phases: radians, ``(mesh.declared,)``; copied and made read-only.
    :param inputs: where single photons enter: modes ``(0, 2)``, a number of photons for each mode as a list
        ``[1, 0, 1]``, or Perceval's ``BasicState("|1,0,1>")``; the mesh's own unless given.
    :param photons: how many enter by the mesh's own choice, unless ``inputs`` says where.
    :raises ProgramError: when phases or inputs do not fit the mesh.

    A list as long as the mesh has modes that holds only 0 and 1 is a Fock state, and one that holds more is refused,
    because it may be meant either way; any other sequence is modes. Programs are equal when their fingerprints are.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> program = Program(IsometryMesh(4, 2), np.zeros(IsometryMesh(4, 2).declared), [1, 0, 0, 1])
    >>> program.modes, program.photons, program.input_modes, program.input_state
    (4, 2, (0, 3), (1, 0, 0, 1))
    """

    mesh: Mesh
    phases: FloatArray = field(repr=False)
    inputs: tuple[int, ...]

    def __init__(
        self, mesh: Mesh, phases: npt.ArrayLike, inputs: Inputs | None = None, *, photons: int | None = None
    ) -> None:
        if not isinstance(mesh, Mesh):
            raise ProgramError(f"a {type(mesh).__name__} is no mesh. Use for example qpu_sdk.RectangularMesh(4).")
        checked = np.array(mesh.checked(phases))  # a copy: the caller may write on, the fingerprint stays
        if checked.ndim != 1:
            raise ProgramError(f"a program takes one phase vector; got an array of shape {checked.shape}.")
        checked.setflags(write=False)
        object.__setattr__(self, "mesh", mesh)
        object.__setattr__(self, "phases", checked)
        object.__setattr__(self, "inputs", _modes_of(mesh, inputs, photons))

    @classmethod
    def random(cls, mesh: Mesh, inputs: Inputs | None = None, *, photons: int | None = None, seed: int) -> Program:
        """A program with phases uniform in [0, 2 pi).

        :param inputs: as of :class:`Program`.
        :raises ProgramError: when they do not fit the mesh.

        >>> from qpu_sdk.photonics.meshes import BrickwallMesh
        >>> Program.random(BrickwallMesh(5), photons=2, seed=1).input_modes
        (0, 4)
        """
        rng = np.random.default_rng(whole(seed, "seed", least=0))
        phases = rng.uniform(0.0, 2.0 * np.pi, mesh.declared)
        return cls(mesh, phases, inputs, photons=photons)

    @classmethod
    def from_perceval(
        cls, found: perceval.ACircuit | perceval.Experiment, input_state: Inputs | None = None
    ) -> Program:
        """A circuit with its input state, an ``Experiment``, or a ``Processor``, on a rectangular mesh.

        Its unitary is decomposed exactly; noise and detectors belong to a device and are left aside.

        :param input_state: as ``inputs`` of :class:`Program`; an experiment's own unless given.
        :raises ProgramError: for more than one photon in a mode, heralds, feed-forward, loss, a post-selection,
            parameters without a value, polarised or annotated states.

        >>> import perceval as pcvl
        >>> program = Program.from_perceval(pcvl.Circuit(3) // pcvl.BS(), pcvl.BasicState([1, 0, 1]))
        >>> program.input_modes, abs(program.mesh.unitary(program.phases)[0]).round(3).tolist()
        ((0, 2), [0.707, 0.707, 0.0])
        """
        unitary, inputs = interferometer_of(found, input_state)
        mesh = RectangularMesh(len(unitary))
        return cls(mesh, mesh.phases_of(unitary), inputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[Any, ...]:  # copies are made anew, so that their phases are read-only too
        return type(self), (self.mesh, self.phases, self.input_modes)

    @property
    def modes(self) -> int:
        """Number of modes M."""
        return self.mesh.modes

    @property
    def input_modes(self) -> tuple[int, ...]:
        """The modes that single photons enter, ascending, ``(N,)``."""
        return self.inputs

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
        digest.update(np.ascontiguousarray(self.phases, dtype="<f8").tobytes())  # the same bytes on every machine
        return digest.hexdigest()

    def probabilities(self) -> FloatArray:
        """Exact conditional collision-free distribution of an ideal device, lexicographic, ``(C(M, N),)``, sum 1.

        ``p(s) = |per(U_s)|^2 / sum_s' |per(U_s')|^2`` over the outcomes with at most one photon a mode.

        :raises ProgramError: when the circuit never shows all photons in different modes.

        >>> from qpu_sdk.photonics.meshes import IsometryMesh
        >>> Program(IsometryMesh(3, 2), np.zeros(IsometryMesh(3, 2).declared)).probabilities().round(6).tolist()
        [0.0, 0.0, 1.0]
        """
        columns = self.mesh.columns(self.phases, self.input_modes)
        p = probabilities(columns, collision_free_tree(self.modes, self.photons))
        total = p.sum()
        if not total > 1e-14:  # rounding errors of what cancels exactly, as two photons on one balanced beam splitter
            raise ProgramError("this circuit never shows its photons in different modes. Use other phases or inputs.")
        return np.asarray(p / total)

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
            # Not isinstance: true and false are ints of Python, and would become modes 1 and 0.
            if not all(type(size) is int for size in sizes) or not all(type(x) in (int, float) for x in phases):
                raise TypeError("modes and photons are whole numbers, phases are numbers")
            if len(set(inputs)) < len(inputs):
                raise ValueError("input_modes name a mode twice")
            opened = open_mesh(mesh["name"], modes=mesh["modes"], photons=mesh["photons"])
            return cls(opened, np.array(phases, dtype=np.float64), tuple(inputs))
        except (ProgramError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(f"not a program ({type(error).__name__}: {error}). Expected Program.to_json().") from error

    def to_perceval(self) -> tuple[perceval.Circuit, perceval.BasicState]:
        """The circuit and the input state in Perceval's objects."""
        import perceval as pcvl

        return self.mesh.to_perceval(self.phases), pcvl.BasicState(list(self.input_state))

    def draw(self, format: str = "text") -> Drawing:
        """The circuit as Perceval draws it, with its phases in radians: prints itself, and shows itself in a notebook.

        :param format: of its text: ``"text"``, ``"svg"``, ``"html"`` or ``"latex"``; ``draw().save(path)`` goes by
            the suffix.
        :raises ConfigError: for another format.

        >>> from qpu_sdk.photonics.meshes import BrickwallMesh
        >>> print(Program(BrickwallMesh(2), np.array([0.5, 1.0, 1.5]), (0,)).draw())
        photons enter modes 0
            ╭─────────╮╭────────╮
        0:──┤BS.Rx    ├┤PS phi=1├────:0 (depth 2)
            │theta=0.5│╰────────╯
            │         │╭──────────╮
        1:──┤         ├┤PS phi=1.5├──:1 (depth 2)
            ╰─────────╯╰──────────╯
        """
        return Drawing(*self.to_perceval(), format=format)

    def _repr_html_(self) -> Html:
        rows = [
            ("mesh", f"{self.mesh.name}, {self.mesh.declared:,} phases"),
            ("modes", f"{self.modes}"),
            ("photons", f"{self.photons}, into modes {', '.join(map(str, self.input_modes))}"),
            ("fingerprint", self.fingerprint[:12]),
        ]
        return notebook_table("Program", rows, note="draw() shows the circuit")


def programs_of(programs: object) -> tuple[Program, ...]:
    """Several programs as a caller gives them.

    :raises DataError: when they are something else, one program alone too.

    >>> programs_of([])
    ()
    """
    found = tuple(programs) if isinstance(programs, Iterable) and not isinstance(programs, str) else (programs,)
    if isinstance(programs, Program) or not all(isinstance(one, Program) for one in found):
        raise DataError(f"programs is {short(programs)}. Give a list of Program, as load_programs does.")
    return found


def _modes_of(mesh: Mesh, inputs: Inputs | None, photons: int | None) -> tuple[int, ...]:
    """The input modes, ascending: photons are identical, so their order means nothing."""
    photons = None if photons is None else whole(photons, "photons")
    if inputs is None:
        if photons is None and not isinstance(mesh, IsometryMesh):
            raise ProgramError(f"{mesh!r} does not say how many photons enter. Give photons=N or inputs.")
        found = mesh.default_input(mesh.photons if isinstance(mesh, IsometryMesh) and photons is None else photons or 0)
    else:
        found = modes_of_inputs(inputs, mesh.modes)
    if not found or len(set(found)) < len(found) or min(found) < 0 or max(found) >= mesh.modes:
        raise ProgramError(f"input modes {found} are not distinct modes of 0..{mesh.modes - 1}. Name each once.")
    if photons is not None and photons != len(found):
        raise ProgramError(f"{photons} photons do not enter modes {found}. Leave one of the two out.")
    return tuple(sorted(found))
