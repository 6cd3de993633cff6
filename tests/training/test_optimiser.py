"""Optimisers against torch's, under rotation, and across a stop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.allowed import OPTIMISERS
from qpu_sdk.training.optimiser import FIRST_BASIS, NamedTensors, Optimiser, covariance_blocks, open_optimiser

NAMES = OPTIMISERS
SHAPES = ((2, 3), (4,))


def parameters(seed: int = 1) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=rng) for shape in SHAPES]


def gradients(step: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=rng) * 10.0**i for i, shape in enumerate(SHAPES)]


def walk(optimiser: Optimiser, state: NamedTensors, own: list[Tensor], steps: range) -> None:
    for step in steps:
        optimiser.step_(state, own, gradients(step), 0.01)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


@pytest.mark.parametrize("beta2", [0.9, 0.999])
def test_adam_is_torchs(beta2: float) -> None:
    own, theirs = parameters(), [q.requires_grad_() for q in parameters()]
    optimiser = open_optimiser("adam", beta2=beta2)
    state = optimiser.init(own)
    reference = torch.optim.Adam(theirs, lr=0.01, betas=(0.9, beta2), eps=1e-8)
    for step in range(100):
        optimiser.step_(state, own, gradients(step), 0.01)
        for q, g in zip(theirs, gradients(step), strict=True):
            q.grad = g
        reference.step()
    torch.testing.assert_close(flat(own), flat(theirs).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_moves_every_parameter(name: str) -> None:
    own, optimiser = parameters(), open_optimiser(name, beta2=0.99)
    state = optimiser.init(own)
    for step in range(60):
        before = flat(own).clone()
        optimiser.step_(state, own, gradients(step), 0.01)
        assert (flat(own) != before).all()


def test_rotated_adam_is_adam_until_its_first_basis() -> None:
    ends = []
    for name in NAMES:
        own, optimiser = parameters(), open_optimiser(name, beta2=0.99)
        walk(optimiser, optimiser.init(own), own, range(FIRST_BASIS - 1))
        ends.append(flat(own))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [5, 16, 19, 25])
def test_a_short_run_lowers_its_loss(name: str, steps: int) -> None:
    own, optimiser = [torch.full((6,), 3.0)], open_optimiser(name, beta2=0.99)
    state, scales = optimiser.init(own), torch.logspace(-1, 1, 6)
    for _ in range(steps):
        optimiser.step_(state, own, [scales * own[0]], 0.1)
    assert float((scales * own[0] ** 2).sum()) < 0.9 ** (steps / 5) * float((scales * 9.0).sum())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop", [0, 1, 19, 20, 49, 50, 77])
def test_a_stopped_optimiser_goes_on_with_the_same_bits(name: str, stop: int) -> None:
    own = parameters()
    optimiser = open_optimiser(name, beta2=0.99)
    state = optimiser.init(own)
    walk(optimiser, state, own, range(stop))
    kept = {key: tensor.clone() for key, tensor in state.items()}
    other = [q.clone() for q in own]
    walk(optimiser, state, own, range(stop, 120))
    walk(open_optimiser(name, beta2=0.99), kept, other, range(stop, 120))
    assert torch.equal(flat(own), flat(other))
    assert int(state["count"]) == int(kept["count"]) == 120


@pytest.mark.parametrize("name", NAMES)
def test_steps_scale_with_the_rate_and_not_with_the_gradient(name: str) -> None:
    ends = []
    for lr, scale in ((0.01, 1.0), (0.01, 1000.0), (0.02, 1.0)):
        own = parameters()
        optimiser = open_optimiser(name, beta2=0.99)
        state = optimiser.init(own)
        for step in range(60):
            optimiser.step_(state, own, [scale * g for g in gradients(step)], lr)
        ends.append(flat(own) - flat(parameters()))
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(ends[2], 2 * ends[0], rtol=1e-3, atol=1e-5)
    assert float(ends[0].abs().max()) > 1e-3


def quadratic_walk(name: str, rotation: Tensor, steps: int) -> Tensor:
    """Noisy gradients of a quadratic in coordinates y = R x, followed in y and mapped back to x.

    The rate is 0 until there is a basis: before, every step is along coordinates.
    """
    own = [rotation @ torch.ones(6)]
    optimiser = open_optimiser(name, beta2=0.99)
    state, scales, rng = optimiser.init(own), torch.logspace(-1, 1, 6), torch.Generator().manual_seed(3)
    for step in range(1, steps + 1):
        x, rate = rotation.T @ own[0], 0.01 if step >= FIRST_BASIS else 0.0
        optimiser.step_(state, own, [rotation @ (scales * (x + 0.3 * torch.randn(6, generator=rng)))], rate)
    return rotation.T @ own[0]


def test_rotated_adam_does_not_depend_on_the_coordinates() -> None:
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2))).Q
    distances = {}
    for name in NAMES:
        plain, turned = (quadratic_walk(name, r, 90) for r in (torch.eye(6), rotation))
        assert float((plain - 1).norm()) > 0.1
        distances[name] = float((plain - turned).norm() / (plain - 1).norm())
    assert distances["rotated-adam"] < 1e-2
    assert distances["adam"] > 10 * distances["rotated-adam"]


@pytest.mark.parametrize("shapes", [[(13, 6, 6), (6,), (2, 6)], [(14, 10, 20), (10, 10)], [(2000, 3)], [(999,), (1,)]])
def test_covariance_blocks_cover_every_parameter(shapes: list[tuple[int, ...]]) -> None:
    tensors = [torch.zeros(shape) for shape in shapes]
    blocks = covariance_blocks(tensors)
    assert sum(blocks) == sum(t.numel() for t in tensors)
    assert min(blocks) > 0


def test_unknown_optimisers_are_refused() -> None:
    with pytest.raises(ConfigError, match="'sgd' is unknown"):
        open_optimiser("sgd", beta2=0.99)
