"""Programs: what they accept, what they freeze, what their fingerprint tells apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program

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
