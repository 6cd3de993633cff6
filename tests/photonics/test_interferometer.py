"""Meshes against hand-embedded 2x2 gates, Perceval, and counting arguments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import perceval as pcvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.optimize import least_squares

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.autograd import identifiable_phases, phase_jacobian
from qpu_sdk.photonics.interferometer import ABSENT, Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh, open_mesh
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from tests.oracles.unitaries import haar

Unitary = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]

SMALL: list[Mesh] = [BrickwallMesh(5), RectangularMesh(5), IsometryMesh(5, 3), IsometryMesh(5, 1), IsometryMesh(4, 4)]
PUBLISHED: list[Mesh] = [
    BrickwallMesh(9),
    BrickwallMesh(8),
    RectangularMesh(9),
    RectangularMesh(8),
    IsometryMesh(9, 4),
    IsometryMesh(8, 4),
]
meshes = st.one_of(
    st.builds(BrickwallMesh, st.integers(2, 8)),
    st.builds(RectangularMesh, st.integers(2, 8)),
    st.integers(2, 8).flatmap(lambda m: st.builds(IsometryMesh, st.just(m), st.integers(1, m))),
)


def random_phases(mesh: Mesh, seed: int, batch: tuple[int, ...] = ()) -> Floats:
    return np.random.default_rng(seed).uniform(-4.0, 4.0, (*batch, mesh.declared))


def embed(modes: int, top: int, block: npt.ArrayLike) -> Unitary:
    whole = np.eye(modes, dtype=np.complex128)
    whole[top : top + 2, top : top + 2] = block
    return whole


def rx(theta: float) -> Unitary:
    return np.array([[np.cos(theta / 2), 1j * np.sin(theta / 2)], [1j * np.sin(theta / 2), np.cos(theta / 2)]])


def mach_zehnder(theta: float) -> Unitary:
    return np.asarray(rx(np.pi / 2) @ np.diag([np.exp(1j * theta), 1.0]) @ rx(np.pi / 2))


def gate_by_gate(mesh: Mesh, phases: Floats) -> Unitary:
    """The module's docstring, one full-size matrix at a time."""
    unitary = np.eye(mesh.modes, dtype=np.complex128)
    if mesh.input_phases:
        unitary = np.diag(np.exp(1j * phases[list(mesh.input_phases)])) @ unitary
    for gate in mesh.gates:
        mixer = mach_zehnder(phases[gate.theta]) if mesh.mach_zehnder else rx(phases[gate.theta])
        shift = np.exp([0j if s == ABSENT else 1j * phases[s] for s in (gate.phi_top, gate.phi_bottom)])
        unitary = embed(mesh.modes, gate.mode, np.diag(shift) @ mixer) @ unitary
    return unitary


def published_circuit(modes: int, phases: Floats) -> tuple[Unitary, int]:
    """The authors' loop: layers 0..M-2, modes layer % 2, +2, ..., BS then a phase on each mode; returns slots read."""
    unitary, slot = np.eye(modes, dtype=np.complex128), 0
    for layer in range(modes - 1):
        for mode in range(layer % 2, modes - 1, 2):
            theta, top, bottom = phases[slot : slot + 3]
            unitary = embed(modes, mode, rx(theta)) @ unitary
            unitary = embed(modes, mode, np.diag([np.exp(1j * top), 1.0])) @ unitary
            unitary = embed(modes, mode, np.diag([1.0, np.exp(1j * bottom)])) @ unitary
            slot += 3
    return unitary, slot


# -- unitaries -------------------------------------------------------------------------------------------------


@given(meshes, st.integers(0, 1000))
@settings(max_examples=60)
def test_every_mesh_is_unitary(mesh: Mesh, seed: int) -> None:
    unitary = mesh.unitary(random_phases(mesh, seed))
    np.testing.assert_allclose(unitary.conj().T @ unitary, np.eye(mesh.modes), atol=1e-13)


@given(meshes, st.integers(0, 1000))
@settings(max_examples=40)
def test_unitary_equals_the_gates_one_by_one(mesh: Mesh, seed: int) -> None:
    phases = random_phases(mesh, seed)
    np.testing.assert_allclose(mesh.unitary(phases), gate_by_gate(mesh, phases), atol=1e-13)


@pytest.mark.parametrize("mesh", SMALL + PUBLISHED, ids=repr)
def test_unitary_equals_percevals(mesh: Mesh) -> None:
    phases = random_phases(mesh, seed=1)
    circuit = np.asarray(mesh.to_perceval(phases).compute_unitary())
    np.testing.assert_allclose(mesh.unitary(phases), circuit, atol=1e-12)


@pytest.mark.parametrize("mesh", SMALL, ids=repr)
def test_symbolic_circuit_has_the_wired_phases_as_parameters(mesh: Mesh) -> None:
    phases = random_phases(mesh, seed=2)
    circuit = mesh.to_perceval()
    parameters = {p.name: p for p in circuit.get_parameters()}
    wired = {s for gate in mesh.gates for s in gate.slots} | set(mesh.input_phases)
    assert set(parameters) == {f"phi{slot}" for slot in wired}
    for slot in wired:
        parameters[f"phi{slot}"].set_value(float(phases[slot]))
    np.testing.assert_allclose(np.asarray(circuit.compute_unitary()), mesh.unitary(phases), atol=1e-12)


@pytest.mark.parametrize("modes", [2, 3, 8, 9])
def test_brickwall_is_the_published_circuit(modes: int) -> None:
    mesh = BrickwallMesh(modes)
    phases = random_phases(mesh, seed=3)
    unitary, read = published_circuit(modes, phases)
    np.testing.assert_allclose(mesh.unitary(phases), unitary, atol=1e-13)
    assert mesh.wired == read
    changed = phases.copy()
    changed[read:] += 1.0
    np.testing.assert_array_equal(mesh.unitary(changed), mesh.unitary(phases))


@pytest.mark.parametrize("mesh", SMALL, ids=repr)
def test_columns_are_columns_of_the_unitary(mesh: Mesh) -> None:
    phases = random_phases(mesh, seed=4)
    np.testing.assert_allclose(mesh.columns(phases, (3, 0)), mesh.unitary(phases)[:, [3, 0]], atol=1e-14)


@pytest.mark.parametrize("mesh", SMALL, ids=repr)
def test_batch_equals_loop(mesh: Mesh) -> None:
    phases = random_phases(mesh, seed=5, batch=(2, 3))
    gradient = haar(mesh.modes, seed=6)[:, :2] * np.arange(1, 7).reshape(2, 3, 1, 1)
    columns, pulled = mesh.columns(phases, (0, 2)), mesh.columns_vjp(phases, (0, 2), gradient)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(columns[index], mesh.columns(phases[index], (0, 2)), atol=1e-14)
        np.testing.assert_allclose(pulled[index], mesh.columns_vjp(phases[index], (0, 2), gradient[index]), atol=1e-13)


# -- numbers of phases -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mesh", "declared", "wired"),
    list(zip(PUBLISHED, (108, 84, 81, 64, 44, 37), (96, 75, 81, 64, 44, 37), strict=True)),
    ids=map(repr, PUBLISHED),
)
def test_declared_and_wired_phases(mesh: Mesh, declared: int, wired: int) -> None:
    assert (mesh.declared, mesh.wired) == (declared, wired)


@given(meshes)
def test_wired_slots_are_used_once_and_lie_in_the_vector(mesh: Mesh) -> None:
    slots = [s for gate in mesh.gates for s in gate.slots] + list(mesh.input_phases)
    assert len(slots) == len(set(slots)) == mesh.wired
    assert set(slots) <= set(range(mesh.declared))


@pytest.mark.parametrize(
    ("mesh", "rank"), list(zip(PUBLISHED, (42, 37, 44, 37, 44, 37), strict=True)), ids=map(repr, PUBLISHED)
)
def test_identifiable_phases(mesh: Mesh, rank: int) -> None:
    assert identifiable_phases(mesh, mesh.default_input(4), seed=0) == rank


@pytest.mark.parametrize(("modes", "photons"), [(6, 2), (6, 3), (7, 3)])
def test_isometry_mesh_has_as_many_phases_as_distributions_have_dimensions(modes: int, photons: int) -> None:
    """Rank of d p / d H at U exp(i H), over all Hermitian H: no interferometer can move the distribution further."""
    tree, unitary, step = collision_free_tree(modes, photons), haar(modes, seed=7), 1e-4

    def conditional(generator: Unitary) -> Floats:
        p = probabilities((expm(1j * generator) @ unitary)[:, :photons], tree)
        return np.asarray(p / p.sum())

    rows = []
    for i, j in np.ndindex(modes, modes):
        h = np.zeros((modes, modes), dtype=np.complex128)
        h[i, j] += 1.0 if i <= j else 1j
        h = step * (h + h.conj().T)
        rows.append((conditional(h) - conditional(-h)) / (2 * step))
    assert np.linalg.matrix_rank(np.array(rows), rtol=1e-6) == IsometryMesh(modes, photons).declared


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("modes", "photons"), [(6, 2), (7, 3)])
def test_isometry_mesh_moves_the_distribution_in_every_direction(modes: int, photons: int, seed: int) -> None:
    mesh = IsometryMesh(modes, photons)
    assert identifiable_phases(mesh, mesh.default_input(photons), seed=seed) == mesh.declared


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_isometry_mesh_reaches_the_distribution_of_any_interferometer(seed: int) -> None:
    modes, photons = 5, 3
    mesh, tree = IsometryMesh(modes, photons), collision_free_tree(modes, photons)
    goal = probabilities(haar(modes, seed)[:, :photons], tree)
    goal /= goal.sum()

    def residual(phases: Floats) -> Floats:
        p = probabilities(mesh.columns(phases, (0, 1, 2)), tree)
        return np.asarray(p / p.sum() - goal)

    starts = (random_phases(mesh, start) for start in range(6))
    fits = (least_squares(residual, x, jac=lambda x: phase_jacobian(mesh, x, (0, 1, 2)), xtol=1e-14) for x in starts)
    assert min(np.abs(fit.fun).max() for fit in fits) < 1e-6


# -- gradients -------------------------------------------------------------------------------------------------


def central_differences(function: Callable[[Floats], npt.NDArray[np.float64]], x: Floats, step: float) -> Floats:
    shifts = step * np.eye(len(x))
    return np.stack([(function(x + s) - function(x - s)) / (2 * step) for s in shifts], axis=-1)


@pytest.mark.parametrize("mesh", SMALL, ids=repr)
def test_adjoint_gradient_equals_central_differences(mesh: Mesh) -> None:
    phases, weight = random_phases(mesh, seed=8), haar(mesh.modes, seed=9)[:, :2]

    def loss(x: Floats) -> npt.NDArray[np.float64]:
        return np.asarray((weight.conj() * mesh.columns(x, (1, 3))).real.sum())

    expected = central_differences(loss, phases, 1e-5)
    np.testing.assert_allclose(mesh.columns_vjp(phases, (1, 3), weight), expected, atol=1e-9)
    assert np.abs(expected).max() > 1e-2


@pytest.mark.parametrize("mesh", SMALL[:3], ids=repr)
def test_phase_jacobian_equals_central_differences(mesh: Mesh) -> None:
    phases, inputs = random_phases(mesh, seed=10), mesh.default_input(3)
    tree = collision_free_tree(mesh.modes, 3)

    def conditional(x: Floats) -> Floats:
        p = probabilities(mesh.columns(x, inputs), tree)
        return np.asarray(p / p.sum())

    expected = central_differences(conditional, phases, 1e-5)
    np.testing.assert_allclose(phase_jacobian(mesh, phases, inputs), expected, atol=1e-8)


# -- arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mesh", SMALL, ids=repr)
def test_bad_phases_are_refused(mesh: Mesh) -> None:
    good = np.zeros(mesh.declared)
    for bad in (good[:-1], np.zeros(mesh.declared + 1), np.float64(1.0)):
        with pytest.raises(ProgramError, match=f"takes {mesh.declared} phases"):
            mesh.columns(np.asarray(bad), (0,))
    for value in (np.nan, np.inf, -np.inf):
        good[-1] = value
        with pytest.raises(ProgramError, match="not a finite number"):
            mesh.columns(good, (0,))
        with pytest.raises(ProgramError, match="not a finite number"):
            mesh.to_perceval(good)


@pytest.mark.parametrize("photons", [0, 6])
@pytest.mark.parametrize("name", ["isometry", "rectangular", "brickwall"])
def test_open_mesh_refuses_photons_that_do_not_fit(name: str, photons: int) -> None:
    with pytest.raises(ProgramError, match=f"{photons} photons in 5 modes"):
        open_mesh(name, modes=5, photons=photons)


def test_open_mesh_knows_three_names() -> None:
    opened = [open_mesh(name, modes=5, photons=3) for name in ("brickwall", "rectangular", "isometry")]
    assert opened == SMALL[:3]
    with pytest.raises(ProgramError, match="'clements' is unknown"):
        open_mesh("clements", modes=5, photons=3)


@pytest.mark.parametrize("make", [BrickwallMesh, RectangularMesh, lambda modes: IsometryMesh(modes, 1)])
def test_one_mode_is_no_mesh(make: Callable[[int], Mesh]) -> None:
    with pytest.raises(ProgramError, match="1 modes has no gate"):
        make(1)


def test_meshes_compare_by_wiring() -> None:
    assert IsometryMesh(5, 3) == IsometryMesh(5, 3)
    assert hash(IsometryMesh(5, 3)) == hash(IsometryMesh(5, 3))
    assert len({IsometryMesh(5, 3), IsometryMesh(5, 2), RectangularMesh(5), BrickwallMesh(5), BrickwallMesh(5)}) == 4


def test_default_inputs() -> None:
    assert BrickwallMesh(9).default_input(4) == (0, 2, 5, 8)
    assert BrickwallMesh(8).default_input(4) == (0, 2, 4, 7)
    assert RectangularMesh(9).default_input(4) == (0, 2, 5, 8)
    assert IsometryMesh(9, 4).default_input(4) == (0, 1, 2, 3)


def test_perceval_draws_no_more_modes_than_the_mesh_has() -> None:
    circuit = IsometryMesh(5, 3).to_perceval(np.zeros(IsometryMesh(5, 3).declared))
    assert isinstance(circuit, pcvl.Circuit)
    assert circuit.m == 5
