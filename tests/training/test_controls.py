"""The controls: what stands in for a trained circuit has the right scale and nothing hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.baselines import DirectWeights, RandomSubspaceGenerator
from qpu_sdk.training.controls import constant, frozen_random


def test_frozen_random_has_mean_one() -> None:
    assert float(frozen_random((126, 70), seed=1).double().mean()) == pytest.approx(1.0, abs=1e-6)


def test_frozen_random_is_an_outer_product() -> None:
    p = frozen_random((12, 7), seed=2).view(12, 7).double()
    singular = torch.linalg.svdvals(p)
    assert float(singular[1]) < 1e-6 * float(singular[0])
    assert torch.allclose(p.mean(dim=1, keepdim=True) * p.mean(dim=0, keepdim=True), p, rtol=1e-5)


def test_frozen_random_spreads_like_porter_thomas() -> None:
    size, repeats = 400, 200
    second = np.array([float(frozen_random((size,), seed=s).double().square().mean()) for s in range(repeats)])
    expected = 2 * size / (size + 1)  # a normalised exponential vector is uniform on the simplex
    assert abs(second.mean() - expected) < 5 * second.std(ddof=1) / repeats**0.5
    assert second.std(ddof=1) / repeats**0.5 < 0.02


def test_frozen_random_depends_on_its_seed_alone() -> None:
    assert torch.equal(frozen_random((9, 4), seed=3), frozen_random((9, 4), seed=3))
    assert not torch.equal(frozen_random((9, 4), seed=3), frozen_random((9, 4), seed=4))


def test_constant_is_one_everywhere() -> None:
    assert torch.equal(constant((3, 4)), torch.ones(12))


def subspace(seed: int = 1) -> RandomSubspaceGenerator:
    return RandomSubspaceGenerator(torch.linspace(-1, 1, 300), 20, seed=seed)


def columns_of(generator: RandomSubspaceGenerator) -> torch.Tensor:
    start, columns = generator(torch.ones(1)).detach(), []
    for j in range(generator.parameter_count):
        with torch.no_grad():
            generator.theta.zero_()
            generator.theta[j] = 1.0
        columns.append(generator(torch.ones(1)).detach() - start)
    return torch.stack(columns, dim=1)


def test_subspace_starts_at_the_initial_weights() -> None:
    assert torch.equal(subspace()(torch.ones(1)).detach(), torch.linspace(-1, 1, 300))


def test_subspace_columns_have_length_one() -> None:
    lengths = columns_of(subspace()).norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones(20), rtol=0, atol=1e-5)


def test_subspace_is_linear_in_its_parameters() -> None:
    generator, theta = subspace(), torch.cos(torch.arange(20.0))
    matrix = columns_of(generator).double()
    with torch.no_grad():
        generator.theta.copy_(theta)
    change = generator(torch.ones(1)).detach().double() - torch.linspace(-1, 1, 300).double()
    torch.testing.assert_close(change, matrix @ theta.double(), rtol=0, atol=1e-5)


def test_subspace_ignores_p_and_trains_nothing_else() -> None:
    generator = subspace()
    assert torch.equal(generator(torch.ones(1)), generator(torch.zeros(7)))
    assert [name for name, q in generator.named_parameters() if q.requires_grad] == ["theta"]
    assert generator.parameter_count == 20


def test_subspace_directions_depend_on_the_seed() -> None:
    assert torch.equal(columns_of(subspace(1)), columns_of(subspace(1)))
    assert not torch.equal(columns_of(subspace(1)), columns_of(subspace(2)))


def test_subspace_that_would_not_fit_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="entries"):
        RandomSubspaceGenerator(torch.zeros(100_000), 100_000, seed=1)


def test_direct_weights_are_the_initial_weights_and_all_trainable() -> None:
    initial = torch.linspace(-1, 1, 30)
    generator = DirectWeights(initial)
    assert torch.equal(generator(torch.ones(1)), initial)
    assert generator.parameter_count == 30
    with torch.no_grad():
        generator.weights.add_(1.0)
    assert torch.equal(initial, torch.linspace(-1, 1, 30))
