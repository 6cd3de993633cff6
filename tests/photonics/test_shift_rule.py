"""Parameter shifts give exact derivatives of probabilities, for every phase of every mesh, with no shift too many."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qpu_sdk.photonics.autograd import torch_probabilities
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from qpu_sdk.photonics.shift_rule import Shifts, shift_rules
from tests.helpers import SMALL_CIRCUITS

each = pytest.mark.parametrize(("mesh", "inputs"), SMALL_CIRCUITS, ids=str)


def exact(mesh: Mesh, inputs: tuple[int, ...], phases: np.ndarray) -> np.ndarray:
    return probabilities(mesh.columns(phases, inputs), collision_free_tree(mesh.modes, len(inputs)))


@each
def test_shifts_give_the_exact_jacobian(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, mesh.declared)
    expected = torch.func.jacrev(lambda x: torch_probabilities(x, mesh, inputs))(torch.from_numpy(phases)).numpy()
    for slot, rule in enumerate(shift_rules(mesh, inputs)):
        points = phases + rule.shifts[:, None] * (np.arange(mesh.declared) == slot)
        found = rule.weights @ exact(mesh, inputs, points)
        np.testing.assert_allclose(found, expected[:, slot], rtol=0, atol=1e-12)


@each
def test_degrees_are_no_larger_than_they_are(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    """By Fourier transforms: the highest frequency of some outcome is the rule's; fewer shifts would lose it."""
    phases = np.random.default_rng(2).uniform(0, 2 * np.pi, mesh.declared)
    halves = set() if mesh.mach_zehnder else {gate.theta for gate in mesh.gates}
    seen, slack = 0, 0
    for slot, rule in enumerate(shift_rules(mesh, inputs)):
        period, size = (2, 64) if slot in halves else (1, 32)
        turns = 2 * np.pi * period * np.arange(size) / size
        values = exact(mesh, inputs, phases + turns[:, None] * (np.arange(mesh.declared) == slot))
        spectrum = np.abs(np.fft.rfft(values, axis=0)).max(axis=1) / size
        highest = int(np.flatnonzero(spectrum > 1e-12).max(initial=0))
        assert highest <= rule.settings // 2
        seen, slack = seen + rule.settings // 2, slack + rule.settings // 2 - highest
    assert slack <= 0.15 * seen  # gates that no path to other outcomes meets again know less than the light cone


@pytest.mark.parametrize("degree", [1, 2, 3, 6])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_any_polynomial_of_the_degree_is_differentiated(degree: int, scale: float) -> None:
    rng = np.random.default_rng(degree)
    a, b = rng.normal(size=(2, degree + 1))
    k = np.arange(degree + 1) / scale
    rule = Shifts.of(degree, scale)
    values = np.cos(np.outer(rule.shifts, k)) @ a + np.sin(np.outer(rule.shifts, k)) @ b
    assert rule.weights @ values == pytest.approx(float(k @ b), abs=1e-12)
    assert rule.settings == 2 * degree
