"""Baselines at equal budget: they train what they say, within the budget, and are what their definitions say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qpu_sdk.generator.mps import Generator, LeanMPSGenerator, MPSGenerator
from qpu_sdk.training.baselines import (
    FreshRandomGenerator,
    NoSuchControl,
    PrunedWeights,
    PruningSchedule,
    initial_weights,
)
from qpu_sdk.training.compressed import LowRankWeights, TiedWeights, hashed, low_rank, shared_rows
from qpu_sdk.training.targets import Target, load_target
from tests.training import tiny

ONE = torch.ones(1)
PAPER = load_target("qpu_sdk.training.targets:paper_cnn", seed=1)
PAPER_MATRICES = {"conv1.weight": (8, 25), "conv2.weight": (12, 200), "fc1.weight": (20, 192), "fc2.weight": (10, 20)}


def normed() -> Target:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Target(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)))


def matrices_of(generator: Generator, target: Target = PAPER) -> dict[str, torch.Tensor]:
    return {n: t.flatten(1) for n, t in target.tensors(generator(ONE).detach()).items() if t.ndim > 1}


def rank_of(matrix: torch.Tensor) -> int:
    singular = torch.linalg.svdvals(matrix.double())
    return int((singular > 1e-5 * singular[0]).sum())


@pytest.mark.parametrize("budget", [567, 3292])
@pytest.mark.parametrize(
    "make",
    [
        lambda budget: hashed(PAPER, budget, seed=3),
        lambda budget: low_rank(PAPER, budget),
        lambda budget: PrunedWeights(initial_weights(PAPER), budget),
    ],
)
def test_the_budget_is_used_and_kept(make: Callable[[int], Generator], budget: int) -> None:
    assert 0.95 * budget < make(budget).parameter_count <= budget


@pytest.mark.parametrize(
    "make",
    [
        lambda: hashed(PAPER, 567, seed=3),
        lambda: low_rank(PAPER, 567),
        lambda: shared_rows(PAPER, 3292),
        lambda: FreshRandomGenerator(_started(LeanMPSGenerator(6690, 3, seed=1)), seed=2),
        lambda: FreshRandomGenerator(_started(MPSGenerator(6690, 2, seed=1, init_std=0.1)), seed=2),
    ],
)
def test_every_trained_number_has_a_gradient(make: Callable[[], Generator]) -> None:
    generator, rng = make(), torch.Generator().manual_seed(5)
    weights, reached = generator(ONE), []
    gradients = torch.autograd.grad((weights * torch.randn(6690, generator=rng)).sum(), list(generator.parameters()))
    reached = [bool((g != 0).any()) for g in gradients]
    assert all(reached)
    if not isinstance(generator, FreshRandomGenerator):  # which has gauge freedom, and zeros, as the generator inside
        assert all(bool((g != 0).all()) for g in gradients)
    assert bool(torch.isfinite(weights).all())


def _started(generator: Any) -> Generator:
    """Away from the start, where the slope is zero and so are most gradients."""
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
    return generator  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [lambda: hashed(PAPER, 567, seed=3), lambda: low_rank(PAPER, 700)])
def test_reset_gives_the_start_again(make: Callable[[], Generator]) -> None:
    generator = make()
    start = generator(ONE).detach()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(1.0)
    assert not torch.equal(generator(ONE), start)
    generator.reset(seed=9)
    assert torch.equal(generator(ONE), start)
    assert torch.equal(make()(ONE), start)


# -- hashed ------------------------------------------------------------------------------------------------


def test_hashed_weights_are_plus_or_minus_one_of_the_numbers() -> None:
    generator = hashed(PAPER, 567, seed=3)
    weights = PAPER.tensors(generator(ONE).detach())
    for name, tensor in PAPER.tensors(initial_weights(PAPER)).items():
        seen = (weights[name] / tensor.std(correction=0)).abs().flatten()
        distance = (seen[:, None] - generator.theta.detach().abs()).abs().amin(dim=1)
        assert float(distance.max()) < 1e-4, name


def test_hashed_numbers_are_shared_evenly_and_over_all_layers() -> None:
    generator = hashed(PAPER, 567, seed=3)
    index = generator.get_buffer("index")
    uses = torch.bincount(index, minlength=567)
    assert int(uses.max() - uses.min()) <= 1
    sign = generator.get_buffer("factor").sign().sum()
    assert abs(float(sign)) < 5 * math.sqrt(6690)
    layers = torch.cat([torch.full((size,), i) for i, size in enumerate(PAPER.sizes)])
    largest_two = [len(set(layers[index == one].tolist()) & {2, 4}) for one in range(567)]  # conv2 and fc1
    assert sum(n == 2 for n in largest_two) > 500


def test_hashed_weights_depend_on_the_seed() -> None:
    assert torch.equal(hashed(PAPER, 50, seed=3)(ONE), hashed(PAPER, 50, seed=3)(ONE))
    assert not torch.equal(hashed(PAPER, 50, seed=3)(ONE), hashed(PAPER, 50, seed=4)(ONE))


def test_hashed_weights_start_as_wide_as_the_networks_own() -> None:
    weights = PAPER.tensors(hashed(PAPER, 3292, seed=3)(ONE).detach())
    for name, own in PAPER.tensors(initial_weights(PAPER)).items():
        if own.numel() > 100:
            assert float(weights[name].std()) == pytest.approx(float(own.std()), rel=0.25)


def test_norms_start_where_they_do_without_a_hash() -> None:
    target = normed()
    weights = target.tensors(hashed(target, 20, seed=1)(ONE).detach())
    assert float((weights["1.weight"] - 1).abs().max()) < 0.5
    assert float(weights["1.bias"].abs().max()) < 0.5
    assert float(weights["1.bias"].detach().abs().max()) > 0


def test_a_budget_beyond_the_network_is_cut() -> None:
    assert hashed(tiny_target(), 1000, seed=1).parameter_count == 34
    assert low_rank(tiny_target(), 1000).parameter_count == 34
    assert shared_rows(tiny_target(), 1000).parameter_count == 34


def tiny_target() -> Target:
    return Target(tiny.seeded_linear())


# -- weight sharing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "rows"), [(3042, 1), (3233, 1), (3234, 2), (3292, 2), (4770, 10), (6690, 20)])
def test_as_many_rows_are_shared_as_the_budget_allows(budget: int, rows: int) -> None:
    generator = shared_rows(PAPER, budget)
    assert generator.parameter_count == 2850 + 192 * rows
    layer = PAPER.tensors(generator(ONE).detach())["fc1.weight"]
    for output in range(20):
        assert torch.equal(layer[output], layer[output % rows])
    assert len(torch.unique(layer, dim=0)) == rows


def test_what_is_not_shared_starts_as_the_networks_own() -> None:
    own, found = initial_weights(PAPER), shared_rows(PAPER, 3292)(ONE).detach()
    for (name, a), b in zip(PAPER.tensors(own).items(), PAPER.tensors(found).values(), strict=True):
        assert torch.equal(a[:2] if name == "fc1.weight" else a, b[:2] if name == "fc1.weight" else b), name


def test_weight_sharing_below_a_single_row_is_told() -> None:
    with pytest.raises(NoSuchControl, match=r"at least 3,042 numbers of this network; the run trains 3,041\."):
        shared_rows(PAPER, 3041)


def test_a_network_without_linear_layers_shares_nothing() -> None:
    with pytest.raises(NoSuchControl, match="no linear layer"):
        shared_rows(Target(nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten())), 100)


@given(size=st.integers(1, 12), uses=st.integers(1, 4), seed=st.integers(0, 99))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_tied_weights_add_up_their_gradients(size: int, uses: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    index = torch.randint(0, size, (size * uses,), generator=rng)
    factor, base = torch.randn(size * uses, generator=rng), torch.randn(size * uses, generator=rng)
    generator = TiedWeights(index, factor, base, torch.randn(size, generator=rng))
    cotangent = torch.randn(size * uses, generator=rng)
    [gradient] = torch.autograd.grad(generator(ONE), [generator.theta], cotangent)
    expected = torch.stack([(cotangent * factor)[index == one].sum() for one in range(size)])
    torch.testing.assert_close(gradient, expected)


# -- low rank ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [537, 567, 749, 1000, 3292, 6000])
def test_ranks_are_as_high_as_the_budget_allows(budget: int) -> None:
    generator = low_rank(PAPER, budget)
    ranks = {name: rank_of(matrix) for name, matrix in matrices_of(generator).items()}
    spent = 50 + sum(min(r * sum(PAPER_MATRICES[n]), math.prod(PAPER_MATRICES[n])) for n, r in ranks.items())
    assert generator.parameter_count == spent <= budget
    left = budget - spent
    for name, (rows, columns) in PAPER_MATRICES.items():  # no layer could have one more
        assert ranks[name] == min(rows, columns) or left < rows + columns


def test_ranks_are_balanced() -> None:
    shares = [rank_of(m) / min(m.shape) for m in matrices_of(low_rank(PAPER, 3292)).values()]
    assert max(shares) < 2.5 * min(shares)


def test_factors_start_at_the_best_approximation() -> None:
    own = {n: t.flatten(1) for n, t in PAPER.tensors(initial_weights(PAPER)).items() if t.ndim > 1}
    for name, matrix in matrices_of(low_rank(PAPER, 3292)).items():
        singular = torch.linalg.svdvals(own[name])
        rest = float(singular[rank_of(matrix) :].square().sum())
        assert float((matrix - own[name]).square().sum()) == pytest.approx(rest, rel=1e-3, abs=1e-8)


def test_a_budget_below_rank_one_is_told() -> None:
    assert low_rank(PAPER, 537).parameter_count == 537
    with pytest.raises(NoSuchControl, match="rank 1 everywhere is 537 numbers"):
        low_rank(PAPER, 536)


def test_biases_and_norms_are_trained_as_they_are() -> None:
    target = normed()
    generator = LowRankWeights(target, dict.fromkeys(target.shapes, 0) | {"3.weight": 2})
    weights, own = target.tensors(generator(ONE).detach()), target.tensors(initial_weights(target))
    assert all(torch.equal(weights[name], own[name]) for name in own if name != "3.weight")
    assert generator.parameter_count == target.size - 48 + 2 * (12 + 4)


# -- pruned ------------------------------------------------------------------------------------------------


def test_the_largest_weights_of_all_layers_stay() -> None:
    initial = initial_weights(PAPER)
    generator = PrunedWeights(initial, 100)
    generator.prune_(generator.weights, 100)
    left = generator(ONE).detach()
    assert int((left != 0).sum()) == generator.parameter_count == 100
    assert torch.equal(left[left != 0], initial[left != 0])
    assert float(initial[left != 0].abs().min()) >= float(initial[left == 0].abs().max())


def test_what_is_pruned_has_no_gradient_and_does_not_come_back() -> None:
    generator = PrunedWeights(torch.linspace(-1, 2, 30), 10)
    generator.prune_(generator.weights, 20)
    gone = generator.mask == 0
    [gradient] = torch.autograd.grad(generator(ONE).sum(), [generator.weights])
    assert not gradient[gone].any()
    with torch.no_grad():
        generator.weights[gone] = 100.0
    generator.prune_(generator.weights, 10)
    assert not generator(ONE)[gone].any()
    assert int(generator.mask.sum()) == 10


@given(size=st.integers(1, 5000), share=st.floats(0, 1), begin=st.integers(0, 40), length=st.integers(0, 40))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_ever_fewer_weights_stay(size: int, share: float, begin: int, length: int) -> None:
    keep = round(share * size)
    schedule = PruningSchedule(size, keep, begin, begin + length)
    counts = [schedule.count(epoch) for epoch in range(begin + length + 2)]
    assert counts == sorted(counts, reverse=True)
    assert set(counts[:begin]) <= {size}
    assert counts[begin + length :] == [keep, keep]


# -- the published ablation --------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [LeanMPSGenerator(6690, 3, seed=1), MPSGenerator(6690, 2, seed=1, init_std=0.1)])
def test_fresh_random_weights_are_noise_with_one_trained_factor(inner: Generator) -> None:
    generator = FreshRandomGenerator(_started(inner), seed=2)
    first, second = generator(ONE).detach().double(), generator(torch.zeros(9)).detach().double()
    for weights in (first, second):
        assert abs(float(weights.mean())) < 1e-5 * float(weights.std())
        scaled = weights / weights.std()  # a normal variable has a fourth moment of 3
        assert float(scaled.pow(4).mean()) == pytest.approx(3.0, abs=0.4)
    correlation = float(first @ second / (first.norm() * second.norm()))
    assert abs(correlation) < 5 / math.sqrt(6690)


def test_fresh_random_has_the_slope_of_a_row() -> None:
    """beta of the drawn row: of a generator whose slope is the same in all rows there is but one."""

    class Affine(Generator):
        def __init__(self) -> None:
            super().__init__()
            self.target_size = self.outcomes_needed = 500
            self.beta = nn.Parameter(torch.tensor(3.0))

        def reset(self, *, seed: int) -> None:
            pass

        def forward(self, p: torch.Tensor) -> torch.Tensor:
            w = torch.arange(500.0) + self.beta * p
            return w - w.mean()

    generator = FreshRandomGenerator(Affine(), seed=1)
    weights = generator(ONE)
    assert float(weights.detach().std()) == pytest.approx(3.0, rel=0.15)
    [gradient] = torch.autograd.grad(weights, list(generator.parameters()), weights.detach())
    assert float(gradient) == pytest.approx(float(weights.detach().square().sum()) / 3.0, rel=1e-3)


def test_fresh_random_draws_are_seeded_and_never_come_back() -> None:
    def calls(seed: int) -> list[torch.Tensor]:
        generator = FreshRandomGenerator(_started(LeanMPSGenerator(100, 2, seed=1)), seed=seed)
        return [generator(ONE).detach() for _ in range(3)]

    a, b = calls(1), calls(1)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a[1], a[2])
    assert not torch.equal(a[0], calls(2)[0])
