"""The mismatched device is what it says: the package where nothing differs, explicit lost modes where light is lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.devices.noisy_chip import NoisyChip
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.meshes import BrickwallMesh, Mesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.oracles.mismatched import Chip, MismatchedDevice, layers, neighbours

NOISE = Noise(indistinguishability=0.9, g2=0.03, transmittance=0.4, efficiency=[1.0, 0.5, 0.8, 0.9])


@pytest.mark.parametrize("mesh", [BrickwallMesh(4), RectangularMesh(4)], ids=lambda mesh: mesh.name)
def test_without_mismatch_it_is_the_click_model(mesh: Mesh) -> None:
    program = Program.random(mesh, (0, 2), seed=3)
    outcomes, p = Chip(NOISE, 1).distribution(program)
    theirs = dict(zip(map(tuple, outcomes.tolist()), p, strict=True))
    known, q = NoisyChip(NOISE, "threshold", "clicks", False, 1).shot(program)
    assert all(
        theirs[tuple(one)] == pytest.approx(value, rel=1e-9) for one, value in zip(known.tolist(), q, strict=True)
    )


def test_a_contraction_is_a_unitary_with_modes_that_no_detector_sees() -> None:
    chip = Chip(NOISE, 5, gate_loss=0.4)
    program = Program.random(RectangularMesh(4), (0, 2), seed=4)
    [columns] = chip.columns(program)
    norms = np.linalg.norm(columns, axis=0)
    assert (norms < 0.95).all()
    # Halmos: below A stands sqrt(1 - A^dagger A), and the columns are orthonormal again.
    values, vectors = np.linalg.eigh(np.eye(2) - columns.conj().T @ columns)
    dilated = np.concatenate([columns, vectors @ np.diag(np.sqrt(values)) @ vectors.conj().T])
    blind = Noise(indistinguishability=0.9, g2=0.03, transmittance=0.4, efficiency=[1.0, 0.5, 0.8, 0.9, 0.0, 0.0])
    sets, p = accurate_click_distribution(dilated, blind.at((0, 2), modes=6))
    wanted = {tuple(m[:4].tolist()): v for m, v in zip(sets.members.astype(int), p, strict=True) if not m[4:].any()}
    empty = wanted[(0, 0, 0, 0)]
    outcomes, found = chip.distribution(program)
    for one, value in zip(outcomes.tolist(), found, strict=True):
        assert value == pytest.approx(wanted[tuple(one)] / (1.0 - empty), rel=1e-9, abs=1e-15)


def test_crosstalk_of_one_shifter_reaches_those_above_and_below_alone() -> None:
    mesh = RectangularMesh(6)
    near = neighbours(mesh)
    assert (near == near.T).all()
    assert near.sum(axis=1).max() == 2.0
    place = {gate.theta: (layer, gate.mode) for gate, layer in zip(mesh.gates, layers(mesh), strict=True)}
    for (one, a), (other, b) in itertools.product(place.items(), repeat=2):
        assert near[one, other] == float(a[0] == b[0] and abs(a[1] - b[1]) == 2)


@pytest.mark.parametrize("odd", ["crosstalk", "angle_sd", "gate_loss", "phase_uniform", "phase_sd", "drift"])
def test_every_mismatch_changes_something_and_is_fixed_where_it_says_so(odd: str) -> None:
    program = Program.random(RectangularMesh(4), (0, 2), seed=4)
    chip = Chip(NOISE, 1, **{odd: 0.1})  # type: ignore[arg-type]
    _, p = chip.distribution(program)
    _, again = chip.distribution(program)
    _, plain = Chip(NOISE, 1).distribution(program)
    assert (p == again).all()
    assert p.sum() == pytest.approx(1.0)
    assert np.abs(p - plain).max() > 1e-4


def test_the_same_gate_of_two_meshes_has_the_same_error() -> None:
    # Two modes: both meshes begin with one gate in one place.
    chip = Chip(Noise(), 7, angle_sd=0.3)
    wall, square = BrickwallMesh(2), RectangularMesh(2)
    theta = 1.1
    [[[a], [b]]] = chip.columns(Program(wall, [theta, 0.0, 0.0], (0,)))
    [error] = [2 * np.arctan2(abs(b), abs(a)) - theta]
    [[[c], [d]]] = chip.columns(Program(square, [theta, 0.0, 0.0, 0.0], (0,)))
    assert abs(error) > 1e-3
    assert 2 * np.arctan2(abs(c), abs(d)) - theta == pytest.approx(error)


def test_counts_are_found_again_and_coincidences_are_all_that_is_told(tmp_path: Path) -> None:
    program = Program.random(RectangularMesh(4), (0, 2), seed=4)
    chip = Chip(NOISE, 1, phase_sd=0.1, coincidences=True)
    first = MismatchedDevice(chip, seed=2, memory=tmp_path).run(program, shots=10_000, tag="a")
    again = MismatchedDevice(chip, seed=2, memory=tmp_path).run(program, shots=10_000, tag="a")
    fresh = MismatchedDevice(chip, seed=2).run(program, shots=10_000, tag="a")
    assert first == again == fresh
    assert len(list(tmp_path.iterdir())) == 1
    assert (first.outcomes.sum(axis=1) == 2).all()
    assert first.outcomes.max() == 1
