"""Unitary -> phases of the rectangular mesh -> the same unitary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.decomposition import embed
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from tests.oracles.unitaries import fourier, haar

Unitary = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]

TIGHT = 1e-12


def decomposed(unitary: npt.ArrayLike) -> tuple[RectangularMesh, Floats]:
    """The mesh and the phases, after the promises that hold for every unitary."""
    matrix = np.asarray(unitary)
    mesh = RectangularMesh(len(matrix))
    phases = mesh.phases_of(matrix)
    assert phases.shape == (mesh.declared,)
    assert phases.dtype == np.float64
    assert phases.min() >= 0.0
    assert phases.max() < 2 * np.pi
    np.testing.assert_allclose(mesh.unitary(phases), matrix, rtol=0, atol=TIGHT)
    return mesh, phases


def thetas(mesh: RectangularMesh, phases: Floats, from_mode: int = 0) -> Floats:
    return phases[[gate.theta for gate in mesh.gates if gate.mode >= from_mode]]


def permutation(modes: int, seed: int) -> Unitary:
    return np.eye(modes, dtype=np.complex128)[np.random.default_rng(seed).permutation(modes)]


def diagonal(modes: int, seed: int) -> Unitary:
    return np.diag(np.exp(1j * np.random.default_rng(seed).uniform(-np.pi, np.pi, modes)))


def random_unitary(mesh: Mesh, seed: int) -> Unitary:
    return mesh.unitary(np.random.default_rng(seed).uniform(-4.0, 4.0, mesh.declared))


# -- round trip ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("modes", range(2, 25))
def test_haar_random(modes: int, seed: int) -> None:
    decomposed(haar(modes, seed))


@pytest.mark.parametrize("modes", [2, 3, 4, 8, 9, 24])
def test_fourier(modes: int) -> None:
    decomposed(fourier(modes))


@pytest.mark.parametrize("modes", [2, 3, 8, 9, 24])
def test_real_rotations_and_reflections(modes: int) -> None:
    rotation = special_ortho_group.rvs(modes, random_state=3)
    assert rotation.dtype == np.float64
    decomposed(rotation)
    decomposed(-rotation[::-1])


@pytest.mark.parametrize("modes", [2, 3, 8, 9, 24])
def test_diagonal_phases_cross_no_modes(modes: int) -> None:
    for unitary in (np.eye(modes), -np.eye(modes), diagonal(modes, seed=1)):
        np.testing.assert_array_equal(thetas(*decomposed(unitary)), np.pi)


@given(st.integers(2, 24), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_permutations_use_only_crossed_and_uncrossed_gates(modes: int, seed: int) -> None:
    for phase in (np.eye(modes), diagonal(modes, seed)):
        theta = thetas(*decomposed(permutation(modes, seed) @ phase))
        assert set(theta) <= {0.0, np.pi}


@pytest.mark.parametrize(("block", "modes"), [(1, 5), (2, 3), (4, 9), (5, 9), (8, 9), (12, 24)])
def test_embedded_unitary_leaves_the_other_modes_uncrossed(block: int, modes: int) -> None:
    mesh, phases = decomposed(embed(haar(block, seed=4), modes))
    np.testing.assert_allclose(thetas(mesh, phases, from_mode=block - 1), np.pi, rtol=0, atol=TIGHT)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 4), (4, 5), (5, 4), (12, 12)])
def test_two_blocks(first: int, second: int) -> None:
    unitary = embed(haar(first, seed=5), first + second)
    unitary[first:, first:] = haar(second, seed=6)
    decomposed(unitary)
    decomposed(np.roll(unitary, second, axis=0))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "mesh",
    [BrickwallMesh(2), BrickwallMesh(8), BrickwallMesh(9), IsometryMesh(9, 4), IsometryMesh(8, 1), RectangularMesh(9)],
    ids=repr,
)
def test_unitaries_of_every_mesh(mesh: Mesh, seed: int) -> None:
    decomposed(random_unitary(mesh, seed))


@pytest.mark.parametrize("modes", [2, 5, 8, 9])
def test_mesh_at_equal_phases(modes: int) -> None:
    mesh = RectangularMesh(modes)
    for phase in (0.0, np.pi / 2, np.pi):
        decomposed(mesh.unitary(np.full(mesh.declared, phase)))


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-20, 1e-16, 1e-15, 1e-14, 2e-14, 1e-13, 1e-10, 1e-9])
@pytest.mark.parametrize("modes", [2, 3, 8, 9])
def test_nearly_zero_elements(modes: int, size: float) -> None:
    """A unitary to within 1e-9 times a few: the round trip is as close as the matrix is to a unitary."""
    mesh = RectangularMesh(modes)
    noise = size * haar(modes, seed=7)
    for exact in (np.eye(modes), permutation(modes, seed=8), embed(haar(modes - 1, seed=9), modes), -fourier(modes)):
        found = mesh.unitary(mesh.phases_of(exact + noise))
        np.testing.assert_allclose(found, exact + noise, rtol=0, atol=TIGHT + 5 * size)


@pytest.mark.parametrize("angle", [1e-300, 1e-16, 1e-14, 2e-14, 1e-12, 1e-8])
@pytest.mark.parametrize("modes", [2, 3, 8, 9])
def test_nearly_uncrossed_gates(modes: int, angle: float) -> None:
    mesh = RectangularMesh(modes)
    sign = np.random.default_rng(10).choice([-1.0, 0.0, 1.0], mesh.declared)
    for corner in (0.0, np.pi):
        decomposed(mesh.unitary(corner + angle * sign))


def test_phases_just_below_zero_do_not_become_a_full_turn() -> None:
    assert -1e-17 % (2 * np.pi) == 2 * np.pi
    for angle in (1e-17, -1e-17, 1e-16, -1e-16):
        decomposed(np.diag(np.exp(1j * angle * np.arange(1, 5))))
        decomposed(permutation(4, seed=11) * np.exp(1j * angle))


# -- what the phases mean --------------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", [2, 3, 8, 9])
def test_generic_phases_come_back(modes: int) -> None:
    """The parametrisation is complete without redundancy: theta in (0, pi) and phi in (0, 2 pi) are unique."""
    mesh = RectangularMesh(modes)
    phases = np.random.default_rng(12).uniform(0.1, 6.1, mesh.declared)
    theta = [gate.theta for gate in mesh.gates]
    phases[theta] = np.random.default_rng(13).uniform(1.0, 2.5, len(theta))
    np.testing.assert_allclose(mesh.phases_of(mesh.unitary(phases)), phases, rtol=0, atol=1e-7)


def test_perceval_builds_the_unitary() -> None:
    unitary = haar(6, seed=14)
    mesh, phases = decomposed(unitary)
    np.testing.assert_allclose(np.asarray(mesh.to_perceval(phases).compute_unitary()), unitary, rtol=0, atol=TIGHT)


@pytest.mark.parametrize("mesh", [BrickwallMesh(9), IsometryMesh(9, 4), BrickwallMesh(8)], ids=repr)
def test_outcomes_of_another_mesh_are_reproduced(mesh: Mesh) -> None:
    unitary, tree, inputs = random_unitary(mesh, seed=15), collision_free_tree(mesh.modes, 4), mesh.default_input(4)
    rectangle, phases = decomposed(unitary)
    found = probabilities(rectangle.columns(phases, inputs), tree)
    np.testing.assert_allclose(found, probabilities(unitary[:, inputs], tree), rtol=0, atol=TIGHT)


def test_argument_is_not_changed() -> None:
    unitary = haar(5, seed=16)
    before = unitary.copy()
    RectangularMesh(5).phases_of(unitary)
    np.testing.assert_array_equal(unitary, before)


# -- embed -----------------------------------------------------------------------------------------------------


def test_embed_keeps_the_block_and_adds_the_identity() -> None:
    block = haar(3, seed=17)
    whole = embed(block, 5)
    np.testing.assert_array_equal(whole[:3, :3], block)
    np.testing.assert_array_equal(whole[3:, 3:], np.eye(2))
    assert not whole[:3, 3:].any()
    assert not whole[3:, :3].any()
    np.testing.assert_array_equal(embed(block, 3), block)
    assert not np.shares_memory(embed(block, 3), block)


def test_embed_refuses_larger_or_oblong_matrices() -> None:
    with pytest.raises(ProgramError, match="unitary on 4 modes does not fit into 3"):
        embed(haar(4, seed=18), 3)
    for shape in ((2, 3), (4,), (1, 2, 2), ()):
        with pytest.raises(ProgramError, match="no unitary"):
            embed(np.zeros(shape, dtype=np.complex128), 5)


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (6, 6), (5, 4), (5,), (1, 5, 5), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProgramError, match=r"no unitary on 5 modes\. Use \(5, 5\)"):
        RectangularMesh(5).phases_of(np.zeros(shape, dtype=np.complex128))


@pytest.mark.parametrize(
    ("factor", "deviation"), [(1.1, "2.1e-01"), (1 + 1e-8, "2.0e-08"), (0.0, "1.0e\\+00"), (np.nan, "nan")]
)
def test_matrices_that_are_not_unitary_are_refused(factor: float, deviation: str) -> None:
    with pytest.raises(ProgramError, match=f"not unitary: .* is {deviation}, above 1e-08") as caught:
        RectangularMesh(5).phases_of(factor * np.eye(5, dtype=np.complex128))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200, complex(0, np.inf)])
def test_one_bad_element_is_refused(value: complex) -> None:
    unitary = haar(5, seed=19)
    unitary[2, 3] = value
    with pytest.raises(ProgramError, match="not unitary"):
        RectangularMesh(5).phases_of(unitary)


def test_rounding_is_accepted() -> None:
    mesh, unitary = RectangularMesh(9), haar(9, seed=20).astype(np.complex64).astype(np.complex128)
    with pytest.raises(ProgramError, match="not unitary"):
        mesh.phases_of(unitary)
    slightly = (1 + 4e-9) * haar(9, seed=20)
    np.testing.assert_allclose(mesh.unitary(mesh.phases_of(slightly)), slightly, rtol=0, atol=1e-8)
