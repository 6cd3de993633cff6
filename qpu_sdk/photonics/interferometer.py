"""Programmable interferometers: phases -> unitary and -> perceval.Circuit.

The meshes themselves are in :mod:`qpu_sdk.photonics.meshes`.

Every mesh is a list of two-mode gates on modes (m, m+1). A gate is a mixer followed by phase shifters,

    G = diag(e^{i phi_top}, e^{i phi_bottom}) B(theta),

with one of two mixers (theta in radians, i the imaginary unit):

* beam splitter, Perceval's ``BS(theta)`` in its Rx convention: B = [[cos t/2, i sin t/2], [i sin t/2, cos t/2]];
* Mach-Zehnder interferometer, ``BS() // PS(theta) // BS()``: B = i e^{i t/2} [[sin t/2, cos t/2], [cos t/2, -sin t/2]].

U[i, j] leads from input j to output i; phases are a flat vector in the order in which the mesh declares them.
"""

from __future__ import annotations

import abc
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import ComplexArray, FloatArray, IntArray, reals, whole, wholes
from ..errors import ProgramError
from ..words import short

if TYPE_CHECKING:
    import perceval


ABSENT = -1
#: Most modes of a mesh: its gates, a million by then, are objects of Python each.
MOST_MODES = 1024


@final
@dataclass(frozen=True)
class Gate:
    """One two-mode gate: its upper mode, and the slots of its phases in the flat vector (``ABSENT``: no such phase)."""

    mode: int
    theta: int
    phi_top: int = ABSENT
    phi_bottom: int = ABSENT

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots that are wired."""
        return tuple(s for s in (self.theta, self.phi_top, self.phi_bottom) if s != ABSENT)


@final
@dataclass(frozen=True, eq=False)
class _Layer:
    """Gates on disjoint modes, applied as one batched 2x2 product: ``modes[g] = (m, m+1)`` of gate ``gates[g]``."""

    gates: IntArray
    modes: IntArray


class Mesh(abc.ABC):
    """A programmable interferometer; two are equal when their type, modes and gates are.

    Subclasses are final and only say which gates there are.
    """

    #: What a configuration calls the mesh.
    name: str
    #: True: the mixers are Mach-Zehnder interferometers; False: beam splitters.
    mach_zehnder: bool

    def __init__(self, modes: int) -> None:
        # A numpy integer would be equal and yet print otherwise, in fingerprints too: one setting, paid twice.
        self.modes = whole(modes, "modes", most=MOST_MODES)
        if self.modes < 2:
            raise ProgramError(f"a mesh of {self.modes} modes has no gate. Use 2 modes or more.")

    @property
    @abc.abstractmethod
    def declared(self) -> int:
        """Length of the flat phase vector."""

    @property
    @abc.abstractmethod
    def gates(self) -> tuple[Gate, ...]:
        """The gates, in the order in which light meets them."""

    @property
    @abc.abstractmethod
    def input_phases(self) -> tuple[int, ...]:
        """Slots of one phase shifter per input mode, or ``()``."""

    @abc.abstractmethod
    def default_input(self, photons: int) -> tuple[int, ...]:
        """The modes that ``photons`` single photons enter unless a program says otherwise."""

    @property
    def wired(self) -> int:
        """Number of declared phases that some component of the circuit uses."""
        return len({s for gate in self.gates for s in gate.slots} | set(self.input_phases))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(modes={self.modes}, phases={self.declared})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Mesh) and self._wiring == other._wiring

    def __hash__(self) -> int:
        return hash((self.name, self.modes, self.declared))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what light meets: type of mixer, modes, gates and input phases."""
        return hashlib.sha256(f"{self.mach_zehnder} {self._wiring}".encode()).hexdigest()

    @cached_property
    def written(self) -> str:
        """All that light meets, as text: :func:`~qpu_sdk.photonics.meshes.mesh_of` reads it.

        >>> from qpu_sdk.photonics.meshes import BrickwallMesh
        >>> BrickwallMesh(2).written
        '[2, false, 3, [[0, 0, 1, 2]], []]'
        """
        gates = [[gate.mode, gate.theta, gate.phi_top, gate.phi_bottom] for gate in self.gates]
        return json.dumps([self.modes, self.mach_zehnder, self.declared, gates, list(self.input_phases)])

    @cached_property
    def _wiring(self) -> tuple[int, tuple[Gate, ...], tuple[int, ...]]:
        return self.modes, self.gates, self.input_phases

    # -- phases -> unitary ---------------------------------------------------------------------------------

    @cached_property
    def _slots(self) -> IntArray:
        """Slots ``(G, 3)``; an absent phase points at an extra zero behind the phase vector."""
        slots = np.array([(g.theta, g.phi_top, g.phi_bottom) for g in self.gates], dtype=np.int64).reshape(-1, 3)
        return np.where(slots == ABSENT, self.declared, slots)  # -1 would be the last phase, silently

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Column and upper mode of every gate, columns counted from where light enters, each gate as early as it can.

        >>> from qpu_sdk.photonics.meshes import BrickwallMesh
        >>> BrickwallMesh(3).places
        ((0, 0), (1, 1))
        """
        found = {int(gate): column for column, layer in enumerate(self._layers) for gate in layer.gates}
        return tuple((found[index], gate.mode) for index, gate in enumerate(self.gates))

    @cached_property
    def _layers(self) -> tuple[_Layer, ...]:
        """Gates packed into layers, each gate as early as its modes are free."""
        free = [0] * self.modes
        packed: list[list[int]] = []
        for index, gate in enumerate(self.gates):
            depth = max(free[gate.mode], free[gate.mode + 1])  # gates of one layer touch no mode twice, so they commute
            free[gate.mode] = free[gate.mode + 1] = depth + 1
            if depth == len(packed):
                packed.append([])
            packed[depth].append(index)
        tops = [np.array([self.gates[i].mode for i in layer]) for layer in packed]
        return tuple(
            _Layer(np.array(layer), np.stack([top, top + 1], axis=1)) for layer, top in zip(packed, tops, strict=True)
        )

    def _blocks(self, phases: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        """Gate matrices G and their derivatives dG/dtheta, both ``(..., G, 2, 2)``."""
        padded = np.concatenate([phases, np.zeros((*phases.shape[:-1], 1))], axis=-1)
        theta, phi = padded[..., self._slots[:, 0]], padded[..., self._slots[:, 1:]]
        c, s = np.cos(theta / 2), np.sin(theta / 2)
        mixer = np.empty((*theta.shape, 2, 2), dtype=np.complex128)
        slope = np.empty_like(mixer)
        if self.mach_zehnder:
            lead = 1j * np.exp(0.5j * theta)
            mixer[..., 0, 0], mixer[..., 0, 1] = lead * s, lead * c
            mixer[..., 1, 0], mixer[..., 1, 1] = lead * c, -lead * s
            half = 0.5 * lead
            slope[..., 0, 0], slope[..., 0, 1] = half * (c + 1j * s), half * (1j * c - s)
            slope[..., 1, 0], slope[..., 1, 1] = half * (1j * c - s), half * (-c - 1j * s)
        else:
            mixer[..., 0, 0] = mixer[..., 1, 1] = c
            mixer[..., 0, 1] = mixer[..., 1, 0] = 1j * s
            slope[..., 0, 0] = slope[..., 1, 1] = -0.5 * s
            slope[..., 0, 1] = slope[..., 1, 0] = 0.5j * c
        factor = np.exp(1j * phi)
        return mixer * factor[..., None], slope * factor[..., None]

    def _entry(self, phases: FloatArray, input_modes: IntArray) -> ComplexArray:
        """Columns of the identity with the input phases applied, ``(..., M, N)``."""
        columns = np.zeros((*phases.shape[:-1], self.modes, len(input_modes)), dtype=np.complex128)
        columns[..., input_modes, np.arange(len(input_modes))] = 1.0
        if self.input_phases:
            columns *= np.exp(1j * phases[..., np.array(self.input_phases)])[..., None]
        return columns

    def _propagate(
        self, phases: FloatArray, input_modes: IntArray, blocks: ComplexArray, trace: list[ComplexArray] | None
    ) -> ComplexArray:
        state = self._entry(phases, input_modes)
        for layer in self._layers:
            pairs = state[..., layer.modes, :]  # fancy indices copy, so the trace keeps what entered the layer
            if trace is not None:
                trace.append(pairs)
            state[..., layer.modes, :] = blocks[..., layer.gates, :, :] @ pairs
        return state

    def columns(self, phases: FloatArray, input_modes: tuple[int, ...]) -> ComplexArray:
        """Columns ``U[:, input_modes]`` of the unitary.

        :param phases: radians, ``(..., declared)``; leading axes are a batch.
        :returns: ``(..., M, N)`` complex128.
        :raises ProgramError: when the phase vector has another length, or a mode is none of the mesh.

        >>> from qpu_sdk.photonics.meshes import BrickwallMesh
        >>> abs(BrickwallMesh(2).columns(np.array([np.pi, 0.0, 0.0]), (0,))).round(12).tolist()
        [[0.0], [1.0]]
        """
        phases = self.checked(phases)
        blocks, _ = self._blocks(phases)
        return self._propagate(phases, self._inputs(input_modes), blocks, None)

    def columns_vjp(self, phases: FloatArray, input_modes: tuple[int, ...], gradient: ComplexArray) -> FloatArray:
        """Pull a gradient back through :meth:`columns`: ``(..., M, N) -> (..., declared)`` (adjoint method).

        ``gradient`` is dL/dRe U + i dL/dIm U of a real loss L; one backward sweep costs about two forward ones.
        """
        _, pull = self.traced_columns(phases, input_modes)
        return pull(gradient)

    def traced_columns(
        self, phases: FloatArray, input_modes: tuple[int, ...]
    ) -> tuple[ComplexArray, Callable[[ComplexArray], FloatArray]]:
        """:meth:`columns`, ``(..., M, N)``, and :meth:`columns_vjp` of them, which keeps every layer's light."""
        phases, inputs = self.checked(phases), self._inputs(input_modes)
        trace: list[ComplexArray] = []
        blocks, slopes = self._blocks(phases)
        columns = self._propagate(phases, inputs, blocks, trace)

        def pull(gradient: ComplexArray) -> FloatArray:
            adjoint = blocks.conj().swapaxes(-1, -2)
            grad = np.array(gradient, dtype=np.complex128)
            grad_blocks = np.empty_like(blocks)
            for layer, pairs in zip(reversed(self._layers), reversed(trace), strict=True):
                after = grad[..., layer.modes, :]
                grad_blocks[..., layer.gates, :, :] = after @ pairs.conj().swapaxes(-1, -2)
                grad[..., layer.modes, :] = adjoint[..., layer.gates, :, :] @ after
            return self._phase_gradient(phases, inputs, blocks, slopes, grad_blocks, grad)

        return columns, pull

    def _phase_gradient(
        self,
        phases: FloatArray,
        inputs: IntArray,
        blocks: ComplexArray,
        slopes: ComplexArray,
        grad_blocks: ComplexArray,
        grad_entry: ComplexArray,
    ) -> FloatArray:
        """dL/dphase = Re sum conj(dL/dG) dG/dphase, summed into the flat vector."""
        theta = (grad_blocks.real * slopes.real + grad_blocks.imag * slopes.imag).sum(axis=(-1, -2))
        phi = (grad_blocks.imag * blocks.real - grad_blocks.real * blocks.imag).sum(axis=-1)
        out = np.zeros((*phases.shape[:-1], self.declared + 1))  # absent phases all write to the last, which is cut
        out[..., self._slots[:, 0]] = theta  # =, not +=: no two gates share a slot
        out[..., self._slots[:, 1:]] = phi
        if self.input_phases:
            entry = self._entry(phases, inputs)
            slope = (grad_entry.imag * entry.real - grad_entry.real * entry.imag).sum(axis=-1)
            out[..., np.array(self.input_phases)] = slope
        return out[..., :-1]

    def unitary(self, phases: FloatArray) -> ComplexArray:
        """The whole unitary, ``(..., declared) -> (..., M, M)``."""
        return self.columns(phases, tuple(range(self.modes)))

    def checked(self, phases: npt.ArrayLike) -> FloatArray:
        """Phases as float64; raises :class:`ProgramError` on another length, and for what is no finite real number.

        :param phases: ``(..., declared)``, returned with the same shape.
        """
        array = reals(phases, f"a phase of {self!r}")
        if array.ndim == 0 or array.shape[-1] != self.declared:
            got = array.shape[-1] if array.ndim else "a scalar"
            raise ProgramError(f"{self!r} takes {self.declared} phases; got {got}. Pass mesh.declared phases.")
        return array

    def _inputs(self, input_modes: Iterable[int]) -> IntArray:
        inputs = wholes(input_modes, "an input mode")
        if not all(0 <= mode < self.modes for mode in inputs):
            raise ProgramError(
                f"input modes {short(inputs)} are not all of 0..{self.modes - 1}. Use modes of the mesh."
            )
        return np.array(inputs, dtype=np.int64)

    # -- phases -> perceval --------------------------------------------------------------------------------

    def to_perceval(self, phases: FloatArray | None = None) -> perceval.Circuit:
        """The mesh as a ``perceval.Circuit``.

        :param phases: radians, ``(declared,)``; ``None`` leaves them symbolic, ``phi0``, ``phi1``, ...
        """
        import perceval as pcvl

        values = None if phases is None else self.checked(phases)

        def phase(slot: int) -> Any:
            return pcvl.P(f"phi{slot}") if values is None else float(values[slot])

        circuit = pcvl.Circuit(self.modes)
        for mode, slot in enumerate(self.input_phases):
            circuit.add(mode, pcvl.PS(phase(slot)))
        for gate in self.gates:
            pair = (gate.mode, gate.mode + 1)
            if self.mach_zehnder:
                circuit.add(pair, pcvl.BS()).add(gate.mode, pcvl.PS(phase(gate.theta))).add(pair, pcvl.BS())
            else:
                circuit.add(pair, pcvl.BS(theta=phase(gate.theta)))
            for mode, slot in zip(pair, (gate.phi_top, gate.phi_bottom), strict=True):
                if slot != ABSENT:
                    circuit.add(mode, pcvl.PS(phase(slot)))
        return circuit
