"""Gradients of probabilities at other phases, against those of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import IsometryMesh
from tests.helpers import SMALL_CIRCUITS


def gradient(mesh: Mesh, inputs: tuple[int, ...], **options: Any) -> Tensor:
    """Of one loss at one point, for both rows of a batch, ``(2, declared)``."""
    return gradient_of(PhotonicLayer(mesh, inputs, seed=3, **options))


def gradient_of(layer: PhotonicLayer) -> Tensor:
    rng = np.random.default_rng(4)
    given = torch.from_numpy(rng.normal(size=(2, layer.declared))).requires_grad_()
    p = layer(given)
    (p * torch.from_numpy(rng.normal(size=p.shape))).sum().backward()
    assert given.grad is not None
    return given.grad


@pytest.mark.parametrize(("mesh", "inputs"), SMALL_CIRCUITS, ids=str)
def test_parameter_shifts_give_the_exact_gradient(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    expected = gradient(mesh, inputs)
    found = gradient(mesh, inputs, gradient="parameter-shift")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert float(expected.abs().max()) > 1e-2


def test_the_larger_circuit_of_the_paper() -> None:
    torch.testing.assert_close(
        gradient(IsometryMesh(9, 4), (0, 1, 2, 3), gradient="parameter-shift"),
        gradient(IsometryMesh(9, 4), (0, 1, 2, 3)),
        rtol=0,
        atol=1e-9,
    )


def test_chosen_phases_have_their_gradient_and_others_none() -> None:
    mesh, inputs = SMALL_CIRCUITS[4]
    expected = gradient(mesh, inputs)
    found = gradient(mesh, inputs, gradient="parameter-shift", shift_phases=[4, 1])
    torch.testing.assert_close(found[:, [1, 4]], expected[:, [1, 4]], rtol=0, atol=1e-9)
    found[:, [1, 4]] = 0.0
    assert not found.any()


def test_some_phases_at_a_time_are_the_whole_gradient_on_average() -> None:
    mesh, inputs = SMALL_CIRCUITS[4]
    expected = gradient(mesh, inputs)
    layer = PhotonicLayer(mesh, inputs, seed=3, gradient="parameter-shift", shift_phases=4)
    found = torch.stack([gradient_of(layer) for _ in range(300)])
    assert ((found != 0).any(dim=1).sum(dim=1) <= 4).all()
    error = found.std(dim=0) / len(found) ** 0.5
    z = (found.mean(dim=0) - expected).abs() / error.clamp_min(1e-12)
    assert float(z[error > 1e-9].max()) < 4.5  # of 42


def test_spsa_is_the_gradient_on_average() -> None:
    """Of 4,000 pairs at a step whose bias, of order c^2, is far below their error."""
    mesh, inputs = SMALL_CIRCUITS[4]
    expected = gradient(mesh, inputs)
    layer = PhotonicLayer(mesh, inputs, seed=3, gradient="spsa", pairs=40, step=0.003)
    found = torch.stack([gradient_of(layer) for _ in range(100)])
    error = found.std(dim=0) / len(found) ** 0.5
    chi2 = (((found.mean(dim=0) - expected) / error) ** 2).sum()
    degrees = expected.numel()
    assert abs(float(chi2) - degrees) < 5 * (2 * degrees) ** 0.5
    assert float(error.mean()) < 0.1 * float(expected.abs().max())


@pytest.mark.parametrize("device", ["local:slos?transmittance=0.4", "local:slos?detector=threshold"])
def test_sampled_shifts_are_the_gradient_within_their_error(device: str) -> None:
    """Loss changes masses by one factor, which drops out; without the masses the gradient would be another one."""
    mesh, inputs = IsometryMesh(4, 2), (0, 1)
    expected = gradient(mesh, inputs)
    layer = PhotonicLayer(mesh, inputs, seed=3, gradient="parameter-shift", shots=20_000, device=device)
    found = torch.stack([gradient_of(layer) for _ in range(12)])
    error = found.std(dim=0) / len(found) ** 0.5
    z = ((found.mean(dim=0) - expected) / error).abs()
    assert float(z.max()) < 6.0  # of 14, by Student's t of 11
    assert float(error.max()) < 0.05 * float(expected.abs().max())


def test_mitigated_shifts_leave_the_background_out_of_the_mass() -> None:
    """Second photons make events that change with the phases otherwise: with their mass it would be 25 % off."""
    mesh, inputs = IsometryMesh(4, 2), (0, 1)
    noisy = {"device": "local:slos?transmittance=0.05&g2=0.1", "shots": 5_000_000, "gradient": "parameter-shift"}
    found, expected = (one_gradient(PhotonicLayer(mesh, inputs, seed=1, **options)) for options in (noisy, {}))
    assert float((found - expected).norm() / expected.norm()) < 0.08


def one_gradient(layer: PhotonicLayer) -> Tensor:
    (layer() @ torch.linspace(-1, 1, layer.outcomes, dtype=torch.float64)).backward()
    assert layer.phases.grad is not None
    return layer.phases.grad


def test_sampled_p_with_an_exact_gradient() -> None:
    mesh, inputs = SMALL_CIRCUITS[4]
    layer = PhotonicLayer(mesh, inputs, seed=3, shots=500)
    torch.testing.assert_close(gradient_of(layer), gradient(mesh, inputs))
    assert int(layer.forwards) == 1
    assert not torch.allclose(layer(), PhotonicLayer(mesh, inputs, seed=3)(), atol=1e-6)
