"""Matrix-product generators against chains that multiply one site after the other."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from qpu_sdk.errors import ConfigError
from qpu_sdk.generator.mps import (
    Generator,
    LeanMPSGenerator,
    MPSGenerator,
    TaperedMPSGenerator,
    identifiable_parameters,
)
from tests.oracles.mps_chain import Chain, bit_rows, chain_weights

PAPER_SIZE = 6690
PHASES = 192
SMALL_SIZES = (2, 3, 4, 5, 7, 8, 9, 33, 100)
KINDS = (MPSGenerator, LeanMPSGenerator, TaperedMPSGenerator)
Kind = type[MPSGenerator] | type[LeanMPSGenerator] | type[TaperedMPSGenerator]
G = TypeVar("G", bound=Generator)


def exponential(count: int, *, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return -torch.rand(count, generator=rng, dtype=torch.float64).clamp_min(1e-12).log()


def shaken(generator: G, *, seed: int, size: float = 0.2) -> G:
    rng = torch.Generator().manual_seed(seed)
    generator.double()
    with torch.no_grad():
        for q in generator.parameters():
            q.add_(size * torch.randn(q.shape, generator=rng, dtype=torch.float64))
    return generator


def chain_of(generator: MPSGenerator) -> Chain:
    return Chain(list(generator.cores), generator.label, list(generator.biases))


def paper_oracle(generator: MPSGenerator, p: Tensor) -> Tensor:
    bits = max(2, (generator.target_size - 1).bit_length())
    return chain_weights(chain_of(generator), p, bits=bits, count=generator.target_size)


def lean_oracle(generator: LeanMPSGenerator, p: Tensor) -> Tensor:
    bits, rank = max(2, (generator.target_size - 1).bit_length()), len(generator.left)
    one, weights = torch.eye(rank, dtype=p.dtype), []
    for i, row in enumerate(bit_rows(bits, generator.target_size, p.dtype)):
        vector = generator.left
        for bit, core in zip(row, generator.cores, strict=True):
            vector = vector @ (one + bit * core)
        weights.append(vector @ (generator.right[0] + p[i] * generator.right[1]))
    w = torch.stack(weights)
    return w - w.mean()


def tapered_oracle(generator: TaperedMPSGenerator, p: Tensor) -> Tensor:
    bits, (count, rank, _) = max(2, (generator.target_size - 1).bit_length()), generator.cores.shape
    one, weights = torch.eye(rank, dtype=p.dtype), []
    rows, columns = torch.cat([one, generator.left]), generator.right
    lead = len(rows).bit_length() - 1
    for i, row in enumerate(bit_rows(bits, generator.target_size, p.dtype)):
        vector = rows[i >> (bits - lead)]
        for bit, core in zip(row[lead : lead + count], generator.cores, strict=True):
            vector = vector @ (one + bit * core)
        chosen = i % columns.shape[1]
        weights.append(vector @ (columns[0, chosen] + p[i] * columns[1, chosen]))
    w = torch.stack(weights)
    return w - w.mean()


def oracle_of(generator: Generator, p: Tensor) -> Tensor:
    if isinstance(generator, MPSGenerator):
        return paper_oracle(generator, p)
    if isinstance(generator, LeanMPSGenerator):
        return lean_oracle(generator, p)
    assert isinstance(generator, TaperedMPSGenerator)
    return tapered_oracle(generator, p)


def relative_error(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())


def gradients(weights: Tensor, generator: Generator, p: Tensor) -> list[Tensor]:
    probe = torch.cos(torch.arange(len(weights), dtype=weights.dtype))
    return list(torch.autograd.grad((weights * probe).sum() + weights.pow(2).sum(), [p, *generator.parameters()]))


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(got, expected, strict=True):
        largest = max(other.abs().ravel().tolist(), default=0.0)  # a tensor may be empty
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11 * (largest + 1))


@pytest.mark.parametrize("chi", [1, 2, 4])
@pytest.mark.parametrize("size", SMALL_SIZES)
def test_paper_generator_is_the_site_by_site_chain(size: int, chi: int) -> None:
    generator = shaken(MPSGenerator(size, chi, seed=1), seed=size)
    p = exponential(size + 5, seed=2)
    assert relative_error(generator(p), paper_oracle(generator, p)) < 1e-12


@pytest.mark.parametrize("chi", [1, 2, 4])
@pytest.mark.parametrize("size", [2, 3, 5, 100])
def test_paper_gradients_are_those_of_the_chain(size: int, chi: int) -> None:
    generator = shaken(MPSGenerator(size, chi, seed=1), seed=3)
    p = exponential(size + 2, seed=4).requires_grad_()
    assert_same(gradients(generator(p), generator, p), gradients(paper_oracle(generator, p), generator, p))


@pytest.mark.parametrize("chi", [1, 4])
def test_paper_generator_at_the_published_size(chi: int) -> None:
    generator = shaken(MPSGenerator(PAPER_SIZE, chi, seed=1), seed=5, size=0.05)
    p = exponential(8820, seed=6)
    with torch.no_grad():
        expected = paper_oracle(generator, p)
        assert relative_error(generator(p), expected) < 1e-12
        assert relative_error(generator.float()(p.float()).double(), expected) < 1e-5


@pytest.mark.parametrize("chi", [1, 2, 4])
@pytest.mark.parametrize("size", SMALL_SIZES)
def test_single_precision_stays_within_its_rounding(size: int, chi: int) -> None:
    generator = shaken(MPSGenerator(size, chi, seed=1), seed=7)
    p = exponential(size, seed=8)
    expected = paper_oracle(generator, p)
    assert relative_error(generator.float()(p.float()).double(), expected) < 1e-5


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("size", SMALL_SIZES)
def test_lean_generator_is_its_formula(size: int, rank: int) -> None:
    generator = shaken(LeanMPSGenerator(size, rank, seed=1), seed=9)
    p = exponential(size, seed=10)
    assert relative_error(generator(p), lean_oracle(generator, p)) < 1e-12


@pytest.mark.parametrize("size", [2, 3, 5, 100])
def test_lean_gradients_are_those_of_the_formula(size: int) -> None:
    generator = shaken(LeanMPSGenerator(size, 3, seed=1), seed=11)
    p = exponential(size + 2, seed=12).requires_grad_()
    assert_same(gradients(generator(p), generator, p), gradients(lean_oracle(generator, p), generator, p))


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("size", [64, 65, 100, 500])
def test_tapered_generator_and_its_gradients_are_those_of_its_formula(size: int, rank: int) -> None:
    generator = shaken(TaperedMPSGenerator(size, rank, seed=1), seed=26)
    p = exponential(size + 2, seed=27).requires_grad_()
    got, expected = generator(p), tapered_oracle(generator, p)
    assert relative_error(got, expected) < 1e-12
    assert_same(gradients(got, generator, p), gradients(expected, generator, p))


@pytest.mark.parametrize(("size", "rank"), [(6690, 8), (6690, 6), (6690, 1), (100, 3), (4, 2), (4097, 5)])
def test_tapered_parameters_are_those_of_three_parts(size: int, rank: int) -> None:
    bits, lead = max(2, math.ceil(math.log2(size))), max(1, math.ceil(math.log2(rank)))
    parts = (2**lead - rank) * rank, (bits - 2 * lead + 1) * rank**2, 2**lead * rank
    assert TaperedMPSGenerator(size, rank, seed=0).parameter_count == sum(parts)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 6, 8])
def test_no_parameter_of_a_tapered_generator_is_redundant_but_the_mean(rank: int) -> None:
    generator = TaperedMPSGenerator(256, rank, seed=1)  # of all bits: weights that are left out take some with them
    assert identifiable_parameters(generator, seed=2) >= generator.parameter_count - 1


def test_a_tapered_chain_is_a_lean_one_of_its_rank() -> None:
    tapered, lean = TaperedMPSGenerator(256, 3, seed=1), LeanMPSGenerator(256, 3, seed=1)
    assert identifiable_parameters(tapered, seed=2) == identifiable_parameters(lean, seed=2)


def test_a_rank_beyond_the_bits_is_refused_with_the_largest() -> None:
    assert TaperedMPSGenerator(33, 8, seed=1)(torch.ones(33)).shape == (33,)
    with pytest.raises(ConfigError, match="Use 4 or less"):
        TaperedMPSGenerator(32, 5, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_those_of_the_chain(kind: Kind) -> None:
    generator, p = shaken(kind(9, 2, seed=1), seed=24), exponential(9, seed=25)
    found, expected = (second_derivative(w, generator) for w in (generator(p), oracle_of(generator, p)))
    torch.testing.assert_close(found, expected)


def second_derivative(weights: Tensor, generator: Generator) -> Tensor:
    parameters = list(generator.parameters())
    first = torch.autograd.grad(weights.pow(3).sum(), parameters, create_graph=True)
    second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), parameters)
    return torch.cat([g.ravel() for g in second])


def test_declared_parameters_match_the_published_table() -> None:
    totals = [MPSGenerator(PAPER_SIZE, chi, seed=0).parameter_count + PHASES for chi in range(1, 11)]
    assert totals == [223, 316, 471, 688, 967, 1308, 1711, 2176, 2703, 3292]


@pytest.mark.parametrize(("size", "rank"), [(6690, 6), (6690, 1), (100, 3), (2, 2), (4097, 5)])
def test_lean_parameters_are_a_matrix_a_bit_and_three_vectors(size: int, rank: int) -> None:
    bits = max(2, math.ceil(math.log2(size)))
    assert LeanMPSGenerator(size, rank, seed=0).parameter_count == bits * rank**2 + 3 * rank
    assert LeanMPSGenerator(PAPER_SIZE, 6, seed=0).parameter_count == 486


@pytest.mark.parametrize("chi", [1, 4, 10])
def test_published_start_leaves_all_weights_at_zero(chi: int) -> None:
    weights = MPSGenerator(PAPER_SIZE, chi, seed=3)(exponential(8820, seed=13).float())
    assert float(weights.detach().abs().max()) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_weights_sum_to_zero(kind: type[Generator]) -> None:
    generator = shaken(kind(100, 3, seed=1), seed=14)
    weights = generator(exponential(100, seed=15)).detach()
    assert abs(float(weights.sum())) < 1e-12 * 100 * float(weights.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_each_weight_is_affine_in_its_own_probability(kind: type[Generator]) -> None:
    size, generator = 50, shaken(kind(50, 3, seed=1), seed=16)
    p = exponential(size, seed=17)
    jacobian = torch.autograd.functional.jacobian(generator, p)
    beta = torch.diagonal(jacobian) * size / (size - 1)
    expected = torch.diag(beta) - beta / size
    torch.testing.assert_close(jacobian, expected, rtol=1e-10, atol=1e-12)
    step = exponential(size, seed=18)
    torch.testing.assert_close(generator(p + step), generator(p) + jacobian @ step, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chi", [1, 2, 3])
def test_value_and_slope_have_rank_chi_together(kind: type[MPSGenerator] | type[LeanMPSGenerator], chi: int) -> None:
    generator = shaken(kind(256, chi, seed=1), seed=19)
    p = torch.zeros(256, dtype=torch.float64, requires_grad=True)
    beta = torch.diagonal(torch.autograd.functional.jacobian(generator, p)) * 256 / 255
    value, slope = (part.detach().view(16, 16) for part in (generator(p), beta))
    together = torch.cat([value - value[:1], slope - slope[:1]], dim=1)  # differences of rows do not see the mean
    singular = torch.linalg.svdvals(together)
    assert int((singular > 1e-10 * singular[0]).sum()) == chi


def test_identifiable_parameters_of_the_published_generator() -> None:
    ranks = [identifiable_parameters(MPSGenerator(PAPER_SIZE, chi, seed=1), seed=2) for chi in (1, 2, 3, 4)]
    assert ranks == [15, 52, 105, 172]


@pytest.mark.parametrize("kind", KINDS)
def test_identifiable_parameters_are_the_rank_of_the_whole_jacobian(kind: type[Generator]) -> None:
    generator = shaken(kind(64, 2, seed=1), seed=20)
    p = exponential(64, seed=21)
    rows = [torch.cat([g.ravel() for g in jacobian_row(generator, p, i)]) for i in range(64)]
    singular = torch.linalg.svdvals(torch.stack(rows))
    assert identifiable_parameters(generator, seed=3) == int((singular > 1e-9 * singular[0]).sum())


def jacobian_row(generator: Generator, p: Tensor, index: int) -> list[Tensor]:
    return list(torch.autograd.grad(generator(p)[index], list(generator.parameters())))


def test_counting_identifiable_parameters_changes_nothing() -> None:
    generator = MPSGenerator(100, 2, seed=1)
    before = [q.detach().clone() for q in generator.parameters()]
    identifiable_parameters(generator, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))
    assert all(q.dtype == torch.float32 for q in generator.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 5, 100])
def test_too_few_outcomes_are_refused(kind: type[Generator], size: int) -> None:
    generator = kind(size, 2, seed=1)
    with pytest.raises(ConfigError, match=f"{size - 1} joint outcomes for {size} weights"):
        generator(torch.ones(size - 1))
    with pytest.raises(ConfigError, match="joint outcomes"):
        generator(torch.ones(size, 1))
    for few in ((torch.ones(1), torch.ones(1)), ()):
        with pytest.raises(ConfigError, match=f"1 joint outcomes for {size} weights"):
            generator(few)
    with pytest.raises(ConfigError, match="joint outcomes"):
        generator((torch.ones(size), torch.ones(1, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_p_on_another_device_is_refused(kind: type[Generator]) -> None:
    with pytest.raises(ConfigError, match=r"p is on meta, and the generator on cpu\. Move one of them"):
        kind(5, 2, seed=1)(torch.ones(5, device="meta"))


@pytest.mark.parametrize("kind", KINDS)
def test_surplus_outcomes_are_ignored(kind: type[Generator]) -> None:
    generator = shaken(kind(100, 2, seed=1), seed=22)
    p = exponential(130, seed=23)
    changed = p.clone()
    changed[100:] = 7.0
    assert torch.equal(generator(p), generator(changed))


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_sizes_are_refused(kind: type[Generator]) -> None:
    with pytest.raises(ConfigError, match="2 or more"):
        kind(1, 2, seed=1)
    with pytest.raises(ConfigError, match="bond_dim is 0"):
        kind(10, 0, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_generators(kind: type[Generator]) -> None:
    states = [kind(100, 3, seed=seed, init_std=0.1).state_dict() for seed in (5, 5, 6)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("kind", KINDS)
def test_construction_leaves_the_global_random_state(kind: type[Generator]) -> None:
    before = torch.random.get_rng_state()
    kind(100, 3, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
