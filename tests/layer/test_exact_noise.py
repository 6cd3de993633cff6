"""Exact probabilities of noisy simulators: those of the click model, with their own gradient, of every order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import qpu_sdk as qs
from qpu_sdk.arrays import FloatArray
from qpu_sdk.errors import ConfigError
from qpu_sdk.photonics.click_model import click_distribution
from qpu_sdk.photonics.fock import collision_free_outcomes, occupations
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.plain_clicks import click_probabilities

OVERLAPS = [[1.0, 0.9, 0.8], [0.9, 1.0, 0.85], [0.8, 0.85, 1.0]]
NOISES = {
    "distinguishable": Noise(indistinguishability=0.8),
    "second photons": Noise(g2=0.1, brightness=0.7, transmittance=0.4),
    "uneven": Noise(transmittance=[0.4, 0.3, 0.5, 0.35], efficiency=[0.9, 0.5, 1.0, 0.7], indistinguishability=0.9),
    "dark": Noise(dark_counts=0.003, transmittance=0.3, g2=0.03),
    "all": Noise(
        brightness=0.9, indistinguishability=0.85, g2=0.05, transmittance=0.4, efficiency=0.8, dark_counts=0.001
    ),
}
MESHES: list[tuple[Mesh, tuple[int, ...]]] = [
    (IsometryMesh(4, 2), (0, 1)),
    (RectangularMesh(4), (0, 1, 3)),
    (BrickwallMesh(4), (0, 2)),
    (IsometryMesh(4, 1), (0,)),
]
each = pytest.mark.parametrize("name", NOISES)


def reference(phases: FloatArray, mesh: Mesh, inputs: tuple[int, ...], noise: Noise) -> FloatArray:
    """By numpy, of rows of phases, ``(B, C(M, N))``."""
    sets, p = click_distribution(mesh.columns(phases, inputs), noise.at(inputs, modes=mesh.modes))
    return p[:, sets.find(occupations(collision_free_outcomes(mesh.modes, len(inputs)), mesh.modes))]


def random_phases(mesh: Mesh, *batch: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).uniform(0, 2 * np.pi, (*batch, mesh.declared)))


@each
@pytest.mark.parametrize(("mesh", "inputs"), MESHES, ids=str)
def test_they_are_the_click_models(name: str, mesh: Mesh, inputs: tuple[int, ...]) -> None:
    phases = random_phases(mesh, 3)
    found = click_probabilities(phases, mesh, inputs, NOISES[name].at(inputs, modes=mesh.modes))
    np.testing.assert_allclose(found.numpy(), reference(phases.numpy(), mesh, inputs, NOISES[name]), rtol=0, atol=3e-15)


def test_overlaps_may_differ_by_pair() -> None:
    mesh, inputs, noise = RectangularMesh(3), (0, 1, 2), Noise(indistinguishability=OVERLAPS, transmittance=0.5)
    phases = random_phases(mesh, 2)
    found = click_probabilities(phases, mesh, inputs, noise.at(inputs, modes=3))
    np.testing.assert_allclose(found.numpy(), reference(phases.numpy(), mesh, inputs, noise), rtol=0, atol=3e-15)


@each
def test_derivatives_pass_torchs_checks(name: str) -> None:
    mesh, inputs = MESHES[0]
    noise = NOISES[name].at(inputs, modes=4)
    phases = random_phases(mesh).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: click_probabilities(x, mesh, inputs, noise), (phases,))
    assert torch.autograd.gradgradcheck(lambda x: click_probabilities(x, mesh, inputs, noise), (phases,))


def test_without_noise_they_are_the_ideal_ones() -> None:
    ideal, clicks = (
        qs.PhotonicLayer(qs.IsometryMesh(5, 3), device=device, seed=1)
        for device in ("local:slos", "local:slos?g2=1e-14&detector=threshold")
    )
    torch.testing.assert_close(clicks(), ideal(), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.func.jvp imports it
def test_a_layer_has_the_distribution_that_its_device_shows_and_learns_with_it() -> None:
    device = "local:slos?transmittance=0.4&g2=0.05&indistinguishability=0.85"
    layer = qs.PhotonicLayer(qs.IsometryMesh(4, 2), device=device, seed=3)
    program = qs.Program(layer.mesh, layer.phases.detach().numpy(), layer.input_modes)
    shots = qs.post_select(qs.open_device(device, seed=3).run(program, shots=2_000_000))
    p = layer().detach().numpy()
    assert np.abs((p - shots.probabilities) / np.maximum(shots.standard_errors, 1e-9)).max() < 5
    ideal = qs.PhotonicLayer(qs.IsometryMesh(4, 2), seed=3)().detach().numpy()
    assert np.abs(p - ideal).max() > 10 * shots.standard_errors.max()

    def loss(phases: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"phases": phases}, ()).square().sum()

    at = layer.phases.detach()
    torch.testing.assert_close(torch.func.jacfwd(loss)(at), torch.func.grad(loss)(at), rtol=0, atol=1e-12)
    rule = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(20):
        rule.zero_grad()
        (-layer()[0]).backward()
        rule.step()
    assert float(layer().detach()[0]) > float(p[0]) + 0.1


@pytest.mark.parametrize(
    ("device", "changes", "words"),
    [
        ("local:slos?noise=ascella", {}, "its phases have errors"),
        ("local:slos?g2=0.1&detector=pnr", {}, "detectors of the kind pnr"),
        ("local:slos?g2=0.1", {"gradient": "spsa"}, 'gradient="exact" alone'),
        ("local:slos?g2=0.1", {"gradient": "parameter-shift"}, 'gradient="exact" alone'),
    ],
)
def test_what_is_not_exact_is_one_line(device: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        qs.PhotonicLayer(qs.IsometryMesh(4, 2), device=device, seed=1, **changes)
    assert "\n" not in str(caught.value)
