"""Which circuits to run: about ten settings that tell every parameter of the click model apart.

============== ======================================================== ==========================================
settings       circuit                                                  what it tells
============== ======================================================== ==========================================
shifts         permutations; every input goes to one mode               input transmissions, output efficiencies,
                                                                        dark counts (modes no photon can reach)
fan            every input spread evenly over all modes, where shifts   output efficiencies
               alone would be many
Hong-Ou-Mandel disjoint pairs of inputs on balanced beam splitters      indistinguishability, of every pair
self-splitters every input alone on a beam splitter of its own          g2; coincidences between them: transmission
random         Haar-random unitaries, kept out of the fit               whether the model predicts what it has not seen
repeat         the first shift again, at the end                        drift
============== ======================================================== ==========================================
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from ..arrays import ComplexArray
from ..errors import CalibrationError
from ..photonics.meshes import RectangularMesh
from ..photonics.program import Program
from .parts import Role

Circuit = Literal["shift", "fan", "hong-ou-mandel", "splitters", "random"]

#: Most shifts in a plan.
#: A permutation lights a few modes; two of them and a fan reach all modes however many there are.
MOST_SHIFTS = 3


@final
@dataclass(frozen=True, eq=False)
class CalibrationSetting:
    """One circuit of a calibration.

    :param role: whether it is fitted, predicted, or compared with the first.
    :param circuit: which of the circuits above it is.
    """

    name: str
    role: Role
    circuit: Circuit
    program: Program


def calibration_plan(modes: int, input_modes: tuple[int, ...], *, seed: int) -> tuple[CalibrationSetting, ...]:
    """The compact plan for the inputs of a device.

    :param input_modes: modes that get a photon, two or more.
    :param seed: of the two random circuits.
    :returns: 10 settings for 4 inputs in 9 modes; the first and the last are the same circuit.
    :raises CalibrationError: when there are fewer than two inputs, or they are not distinct modes.

    >>> plan = calibration_plan(9, (0, 2, 5, 8), seed=1)
    >>> [s.name for s in plan]
    ['shift 0', 'shift 1', 'shift 5', 'hom 0', 'hom 1', 'hom 2', 'splitters 0', 'random 0', 'random 1', 'repeat']
    """
    inputs = tuple(sorted(input_modes))
    if len(inputs) < 2 or len(set(inputs)) < len(inputs) or inputs[0] < 0 or inputs[-1] >= modes:
        raise CalibrationError(f"inputs {input_modes} are not two or more distinct modes of 0..{modes - 1}.")
    mesh = RectangularMesh(modes)

    def setting(name: str, role: Role, circuit: Circuit, u: ComplexArray, part: tuple[int, ...]) -> CalibrationSetting:
        return CalibrationSetting(name, role, circuit, Program(mesh, mesh.phases_of(u), part))

    fitted = [setting(name, "fit", circuit, u, inputs) for name, circuit, u in _shifts(modes, inputs)]
    for k, pairs in enumerate(_rounds(len(inputs))):
        fitted.append(setting(f"hom {k}", "fit", "hong-ou-mandel", _hom(modes, inputs, pairs), inputs))
    for k, part in enumerate(_parts(modes, inputs)):
        fitted.append(setting(f"splitters {k}", "fit", "splitters", _splitters(modes, part), part))
    rng = np.random.default_rng(seed)  # equal fingerprints let an interrupted plan find its counts
    held = [setting(f"random {k}", "validation", "random", haar(modes, rng), inputs) for k in range(2)]
    return (*fitted, *held, _repeated(fitted[0]))


def _repeated(first: CalibrationSetting) -> CalibrationSetting:
    """The same circuit under another fingerprint, so that it is run again: a phase is 2 pi larger."""
    phases = first.program.phases.copy()
    phases[-1] += 2.0 * np.pi
    program = Program(first.program.mesh, phases, first.program.input_modes)
    return CalibrationSetting("repeat", "drift", first.circuit, program)


def _shifts(modes: int, inputs: tuple[int, ...]) -> list[tuple[str, Circuit, ComplexArray]]:
    """Shifts that link everything, or two of them and a fan where that would take too many."""
    offsets = _offsets(modes, len(inputs))
    if len(offsets) <= MOST_SHIFTS:
        return [(f"shift {c}", "shift", _shift(modes, inputs, c)) for c in offsets]
    k = np.arange(modes)
    fan = np.exp(2.0j * np.pi * np.outer(k, k) / modes) / np.sqrt(modes)  # Fourier: all of one modulus
    half = modes // 2
    return [
        ("shift 0", "shift", _shift(modes, inputs, 0)),
        (f"shift {half}", "shift", _shift(modes, inputs, half)),
        ("fan", "fan", fan),
    ]


def _offsets(modes: int, inputs: int) -> tuple[int, ...]:
    """Fewest shifts whose light reaches every mode and links every input with every other by shared modes."""
    for number in range(1, MOST_SHIFTS + 1):
        for rest in itertools.combinations(range(1, modes), number - 1):
            if _links_all(modes, inputs, (0, *rest)):
                return (0, *rest)
    return tuple(range(modes))


def _links_all(modes: int, inputs: int, offsets: tuple[int, ...]) -> bool:
    group = list(range(inputs + modes))  # union-find without ranks: a few dozen nodes

    def root(node: int) -> int:
        while group[node] != node:
            node = group[node]
        return node

    for offset, a in itertools.product(offsets, range(inputs)):
        group[root(a)] = root(inputs + (offset + a) % modes)
    return len({root(node) for node in range(inputs + modes)}) == 1


def _shift(modes: int, inputs: tuple[int, ...], offset: int) -> ComplexArray:
    """The a-th input leaves from mode offset + a."""
    return _completed(modes, {mode: {(offset + a) % modes: 1.0} for a, mode in enumerate(inputs)})


def _rounds(inputs: int) -> list[list[tuple[int, int]]]:
    """Rounds of disjoint pairs in which every pair of inputs meets once (a round-robin tournament)."""
    players = [*range(inputs), *([-1] if inputs % 2 else [])]  # who meets -1 has a break
    rounds = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = zip(players[:half], reversed(players[half:]), strict=True)
        rounds.append([(min(p), max(p)) for p in pairs if -1 not in p])
        players = [players[0], players[-1], *players[1:-1]]  # all but the first move on by one seat
    return rounds


def _hom(modes: int, inputs: tuple[int, ...], pairs: list[tuple[int, int]]) -> ComplexArray:
    """Each pair on a balanced beam splitter over its own modes; everything else passes."""
    unitary = np.eye(modes, dtype=np.complex128)
    for a, b in pairs:
        j, k = inputs[a], inputs[b]
        unitary[np.ix_([j, k], [j, k])] = np.array([[1.0, 1.0j], [1.0j, 1.0]]) / np.sqrt(2.0)
    return unitary


def _parts(modes: int, inputs: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Inputs in groups that have two modes for each."""
    size = max(1, modes // 2)
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]


def _splitters(modes: int, inputs: tuple[int, ...]) -> ComplexArray:
    """The a-th input is split evenly over modes 2a and 2a+1."""
    return _completed(modes, {mode: {2 * a: 0.5**0.5, 2 * a + 1: 1.0j * 0.5**0.5} for a, mode in enumerate(inputs)})


def _completed(modes: int, columns: dict[int, dict[int, complex]]) -> ComplexArray:
    """A unitary with these orthonormal columns; the others, which no photon enters, are filled up."""
    known = np.zeros((modes, len(columns)), dtype=np.complex128)
    for place, rows in enumerate(columns.values()):
        for row, value in rows.items():
            known[row, place] = value
    # QR makes the identity's columns orthogonal to the known ones, of which it may turn the signs: these go back in.
    filled, _ = np.linalg.qr(np.concatenate([known, np.eye(modes)], axis=1))
    unitary = np.empty((modes, modes), dtype=np.complex128)
    rest = [mode for mode in range(modes) if mode not in columns]
    unitary[:, list(columns)], unitary[:, rest] = known, filled[:, len(columns) : modes]
    return unitary


def haar(modes: int, rng: np.random.Generator) -> ComplexArray:
    """A Haar-random unitary (Mezzadri, Notices AMS 54, 592 (2007))."""
    gaussian = rng.normal(size=(modes, modes)) + 1.0j * rng.normal(size=(modes, modes))
    q, r = np.linalg.qr(gaussian)
    diagonal = np.diag(r)
    return np.asarray(q * (diagonal / np.abs(diagonal)))  # QR's own choice of phases is not Haar
