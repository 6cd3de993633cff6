"""Programs: what they accept, what they freeze, what their fingerprint tells apart."""

from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing.reduction
from typing import Any

import numpy as np
import perceval as pcvl
import pytest

from qpu_sdk.errors import DataError, ProgramError
from qpu_sdk.photonics.interferometer import Gate, Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program
from tests.oracles.unitaries import haar

MESH = IsometryMesh(4, 2)


def program(*, mesh: Mesh = MESH, shift: float = 0.0, inputs: tuple[int, ...] = (0, 1)) -> Program:
    return Program(mesh, np.linspace(0.0, 1.0, mesh.declared) + shift, inputs)


def test_program_says_its_size_and_input() -> None:
    p = program(inputs=(1, 3))
    assert (p.modes, p.photons, p.input_modes, p.input_state) == (4, 2, (1, 3), (0, 1, 0, 1))


def test_program_keeps_a_copy_of_its_phases() -> None:
    phases = np.zeros(MESH.declared)
    p = Program(MESH, phases, (0, 1))
    before = p.fingerprint
    phases += 1.0
    np.testing.assert_array_equal(p.phases, np.zeros(MESH.declared))
    assert Program(MESH, p.phases, (0, 1)).fingerprint == before
    with pytest.raises(ValueError, match="read-only"):
        p.phases[0] = 1.0


def test_program_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        program().input_modes = (0,)  # type: ignore[misc]


def test_equal_programs_have_equal_fingerprints() -> None:
    assert program().fingerprint == program(mesh=IsometryMesh(4, 2)).fingerprint
    assert len(program().fingerprint) == 64


def test_fingerprints_tell_mesh_phases_and_input_apart() -> None:
    programs = [
        program(),
        program(shift=1e-12),
        program(inputs=(0, 2)),
        program(inputs=(0,)),
        program(mesh=IsometryMesh(4, 3)),
        program(mesh=RectangularMesh(4)),
        program(mesh=BrickwallMesh(4)),
    ]
    assert len({p.fingerprint for p in programs}) == len(programs)


def test_the_order_of_identical_photons_is_not_part_of_the_program() -> None:
    """Photons are indistinguishable: the device gets the same circuit and the same input state."""
    one, other = program(inputs=(0, 1)), program(inputs=(1, 0))
    assert one.input_state == other.input_state
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("inputs", [(), (0, 0), (-1, 0), (0, 4)])
def test_bad_input_modes_are_refused(inputs: tuple[int, ...]) -> None:
    with pytest.raises(ProgramError, match="are not distinct modes"):
        program(inputs=inputs)


@pytest.mark.parametrize("shape", [(MESH.declared - 1,), (MESH.declared + 1,), (2, MESH.declared), ()])
def test_bad_phase_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProgramError, match="phase"):
        Program(MESH, np.zeros(shape), (0, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_phases_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ProgramError, match="not a finite number"):
        program(shift=value)


@pytest.mark.parametrize("mesh", [MESH, RectangularMesh(4), BrickwallMesh(4)], ids=repr)
def test_perceval_objects_say_the_same(mesh: Mesh) -> None:
    p = program(mesh=mesh, inputs=(1, 3))
    circuit, state = p.to_perceval()
    assert list(state) == [0, 1, 0, 1]
    np.testing.assert_allclose(np.asarray(circuit.compute_unitary()), mesh.unitary(p.phases), atol=1e-12)


# -- files -----------------------------------------------------------------------------------------------------


class Own(Mesh):
    """A mesh of one's own: two gates in a row."""

    name = "own"
    mach_zehnder = False
    declared = 2
    gates = (Gate(0, 0), Gate(1, 1))
    input_phases = ()

    def default_input(self, photons: int) -> tuple[int, ...]:
        return tuple(range(photons))


@pytest.mark.parametrize(
    ("mesh", "inputs"),
    [
        (MESH, (0, 1)),
        (MESH, (2,)),
        (BrickwallMesh(5), (0, 2, 4)),
        (RectangularMesh(3), (0, 1, 2)),
    ],
)
def test_json_round_trip_keeps_the_fingerprint(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    phases = np.random.default_rng(1).normal(0.0, 9.0, mesh.declared)
    given = Program(mesh, phases, inputs)
    text = given.to_json()
    read = Program.from_json(text)
    assert "\n" not in text
    assert read.fingerprint == given.fingerprint
    assert (read.mesh, read.to_json()) == (given.mesh, text)


def test_any_unitary_goes_to_a_file_through_its_phases() -> None:
    mesh, u = RectangularMesh(4), haar(4, seed=2)
    read = Program.from_json(Program(mesh, mesh.phases_of(u), (0, 3)).to_json())
    np.testing.assert_allclose(read.mesh.unitary(read.phases), u, atol=1e-12)


def test_a_mesh_that_no_file_can_name_is_refused() -> None:
    with pytest.raises(ProgramError, match="phases_of"):
        Program(Own(3), np.zeros(2), (0,)).to_json()


BROKEN: dict[str, Any] = {
    "schema_version": 2,
    "mesh": {"name": "triangle", "modes": 4, "photons": 2},
    "input_modes": [0, 4],
    "phases": [0.0],
}


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{}", '{"schema_version": 1}', "[" * 100_000])
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        Program.from_json(text)


@pytest.mark.parametrize("key", BROKEN)
def test_a_program_with_one_broken_value_is_refused(key: str) -> None:
    good = json.loads(program().to_json())
    Program.from_json(json.dumps(good))
    for broken in (BROKEN[key], None, "x", [1.5, True]):
        with pytest.raises(DataError) as caught:
            Program.from_json(json.dumps(good | {key: broken}))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mesh", [{"name": "isometry", "modes": 10**9, "photons": 1}, {"name": "rectangular"}])
def test_a_mesh_with_impossible_sizes_is_refused(mesh: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        Program.from_json(json.dumps(json.loads(program().to_json()) | {"mesh": mesh}))


def test_a_file_with_a_phase_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        Program.from_json(program().to_json().replace("[0.0,", "[NaN,"))


WAYS: list[tuple[Any, tuple[int, ...]]] = [
    ([1, 0, 1], (0, 2)),
    (np.array([1, 0, 1]), (0, 2)),
    ((1, 0, 1), (0, 2)),
    ((0, 2), (0, 2)),
    ([2, 0], (0, 2)),
    (np.array([0, 2], dtype=np.uint8), (0, 2)),
    ((2, 1, 0), (0, 1, 2)),
    (range(3), (0, 1, 2)),
    ("|1,0,1>", (0, 2)),
    (pcvl.BasicState([1, 0, 1]), (0, 2)),
]


@pytest.mark.parametrize(("inputs", "modes"), WAYS, ids=repr)
def test_inputs_are_read_alike_everywhere(inputs: Any, modes: tuple[int, ...]) -> None:
    assert Program.random(RectangularMesh(3), inputs, seed=1).input_modes == modes
    assert Program.from_perceval(pcvl.Unitary(pcvl.Matrix(haar(3, seed=1))), inputs).input_modes == modes


@pytest.mark.parametrize("inputs", [[1, 2, 0], np.array([2, 1, 0]), [0, 3, 1]], ids=repr)
def test_a_list_that_may_be_modes_or_photons_is_refused(inputs: Any) -> None:
    for read in (
        lambda: Program.random(RectangularMesh(3), inputs, seed=1),
        lambda: Program.from_perceval(pcvl.Circuit(3) // pcvl.BS(), inputs),
    ):
        with pytest.raises(ProgramError, match="Write modes as a tuple") as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inputs", [2, [True, False, True], [0.0, 1.0], np.eye(3, dtype=int), ["0"]], ids=repr)
def test_inputs_that_are_no_modes_are_refused(inputs: Any) -> None:
    with pytest.raises(ProgramError, match="no whole numbers") as caught:
        Program.random(RectangularMesh(3), inputs, seed=1)
    assert "\n" not in str(caught.value)


def copies(thing: Any) -> list[Any]:
    pickler = multiprocessing.reduction.ForkingPickler
    return [copy.copy(thing), copy.deepcopy(thing), pickler.loads(pickler.dumps(thing)), dataclasses.replace(thing)]


def test_copies_are_equal_and_read_only() -> None:
    p = program(inputs=(1, 3))
    assert p.fingerprint
    for twin in copies(p):
        assert twin == p
        assert hash(twin) == hash(p)
        assert not twin.phases.flags.writeable
        assert (twin.input_modes, twin.mesh) == (p.input_modes, p.mesh)
    assert len({p, program(inputs=(3, 1)), program(shift=0.1)}) == 2
    assert p != program(inputs=(0, 1)) != "p"


def test_a_program_with_other_phases() -> None:
    p = program(mesh=RectangularMesh(2), inputs=(0, 1))
    changed = dataclasses.replace(p, phases=p.phases + 1.0)
    assert changed == program(mesh=RectangularMesh(2), shift=1.0, inputs=(0, 1))
    assert dataclasses.replace(p, inputs=(1,)).input_modes == (1,)
