"""The contraction under everything that torch does to a function: other devices, types, transforms and orders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from qpu_sdk.generator import chain
from qpu_sdk.generator.mps import Generator, LeanMPSGenerator, MPSGenerator, TaperedMPSGenerator
from tests.generator.test_mps import KINDS, Kind, exponential, shaken

#: Weights that do not fill their rows, and weights that do; odd and even numbers of bits.
SIZES = (33, 64)
Parameters = dict[str, Tensor]


def opened(kind: Kind, size: int) -> Generator:
    return shaken(kind(size, 2, seed=1), seed=2)


def detached(generator: Generator) -> Parameters:
    return {name: q.detach().clone() for name, q in generator.named_parameters()}


def loss(generator: Generator, parameters: Parameters, p: Any) -> Tensor:
    weights: Tensor = functional_call(generator, parameters, (p,))
    return weights.pow(3).sum()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_first_and_second_derivatives_are_those_of_differences(kind: Kind, size: int) -> None:
    generator = opened(kind, 7 if size == 33 else 16)
    parameters = detached(generator)
    head, rest = exponential(4, seed=3), exponential(5, seed=4)

    def weights(*values: Tensor) -> Tensor:
        own: Tensor = functional_call(generator, dict(zip(parameters, values[2:], strict=True)), (values[:2],))
        return own

    inputs = [x.requires_grad_() for x in (head, rest, *parameters.values())]
    assert torch.autograd.gradcheck(weights, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(weights, inputs, fast_mode=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_functional_gradients_are_those_of_autograd(kind: Kind, size: int) -> None:
    generator, p = opened(kind, size), exponential(size + 3, seed=3)
    parameters = detached(generator)
    expected = torch.autograd.grad(generator(p).pow(3).sum(), list(generator.parameters()))
    found = grad(lambda own: loss(generator, own, p))(parameters)
    torch.testing.assert_close(list(found.values()), list(expected))

    def steepness(own: Parameters) -> Tensor:
        return torch.stack([g.square().sum() for g in grad(lambda one: loss(generator, one, p))(own).values()]).sum()

    first = torch.autograd.grad(generator(p).pow(3).sum(), list(generator.parameters()), create_graph=True)
    twice = torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), list(generator.parameters()))
    torch.testing.assert_close(list(grad(steepness)(parameters).values()), list(twice))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_p_or_of_parameters_is_one_by_one(kind: Kind) -> None:
    generator, size = opened(kind, 33), 33
    parameters = detached(generator)
    many = torch.stack([exponential(size + 3, seed=seed) for seed in range(3)])
    with torch.no_grad():
        one_by_one = torch.stack([generator(p) for p in many])
    torch.testing.assert_close(vmap(lambda p: functional_call(generator, parameters, (p,)))(many), one_by_one)
    slopes = vmap(grad(lambda own, p: loss(generator, own, p)), in_dims=(None, 0))(parameters, many)
    for i, p in enumerate(many):
        alone = grad(lambda own, p=p: loss(generator, own, p))(parameters)
        torch.testing.assert_close({name: slope[i] for name, slope in slopes.items()}, alone)
    stacked = {name: torch.stack([q, 2 * q, -q]).requires_grad_() for name, q in parameters.items()}
    batch = vmap(lambda own: functional_call(generator, own, (many[0],)))(stacked)
    found = torch.autograd.grad(batch.pow(3).sum(), list(stacked.values()))
    for i, factor in enumerate((1.0, 2.0, -1.0)):
        scaled = {name: factor * q for name, q in parameters.items()}
        alone = grad(lambda own: loss(generator, own, many[0]))(scaled)
        torch.testing.assert_close([g[i] for g in found], list(alone.values()))


def test_the_jacobian_in_reverse_mode_is_that_of_single_weights() -> None:
    generator, p = opened(MPSGenerator, 9), exponential(9, seed=3)
    rows = jacrev(lambda own: functional_call(generator, own, (p,)))(detached(generator))
    [label] = torch.autograd.grad(generator(p)[4], [generator.get_parameter("label")])
    torch.testing.assert_close(rows["label"][4], label)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # which torch itself does
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_generator_is_the_same(kind: Kind) -> None:
    generator, p = opened(kind, 33), exponential(40, seed=3)
    torch._dynamo.reset()
    compiled = torch.compile(generator, backend="aot_eager", fullgraph=True)
    found, expected = compiled(p), generator(p)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(w.pow(3).sum(), list(generator.parameters())) for w in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_it_leaves_the_device(kind: Kind) -> None:
    generator = kind(33, 2, seed=1).to("meta")  # whose tensors have no numbers to look at
    factors = [torch.rand(6, device="meta", requires_grad=True) for _ in range(2)]
    weights = generator(factors)
    assert (weights.device.type, weights.shape) == ("meta", (33,))
    slopes = torch.autograd.grad(weights.square().sum(), [*factors, *generator.parameters()], create_graph=True)
    torch.autograd.grad(torch.stack([g.square().sum() for g in slopes]).sum(), list(generator.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_within_its_rounding(kind: Kind) -> None:
    generator, p = opened(kind, 100), exponential(110, seed=3)
    exact = generator(p).detach()
    short = generator.bfloat16()(p)  # of whatever type p is
    assert short.dtype == torch.bfloat16
    assert float((short.detach().double() - exact).abs().max() / exact.abs().max()) < 2**-4  # of about ten products
    torch.autograd.grad(short.float().square().sum(), list(generator.parameters()))


# -- chunks and factors ------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 8, 2**16])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(chain, "CHUNK", request.param)
    return int(request.param)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_factors_change_nothing(kind: Kind, size: int, chunk: int) -> None:
    generator = opened(kind, size)
    factors = [exponential(n, seed=n).requires_grad_() for n in (5, 2, 7)]
    found, whole = generator(factors), torch.kron(torch.kron(factors[0], factors[1]), factors[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "CHUNK", 2**30)
        expected = generator(whole)
        wanted = torch.autograd.grad(expected.pow(3).sum(), [*factors, *generator.parameters()])
    torch.testing.assert_close(found, expected)
    slopes = torch.autograd.grad(found.pow(3).sum(), [*factors, *generator.parameters()])
    torch.testing.assert_close(slopes, wanted)


class _Sizes(TorchDispatchMode):
    """Numbers of every tensor that an operation makes in memory of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            if isinstance(tensor, Tensor) and not any(r.alias_info for r in func._schema.returns):
                self.found.append(tensor.numel())
        return out


def test_many_weights_are_made_with_one_copy_of_them_and_none_of_p() -> None:
    size = 2**20 - 5
    generator, factors = TaperedMPSGenerator(size, 4, seed=1), [torch.ones(1024), torch.ones(1024)]
    with torch.no_grad(), _Sizes() as sizes:
        generator(factors)
    assert [n for n in sizes.found if n > 2 * chain.CHUNK] == [size]
    assert sum(n for n in sizes.found if n == chain.CHUNK) < 6 * size  # a few small ones a chunk


def test_training_many_weights_makes_no_second_table_of_them() -> None:
    size = 2**19
    generator, factors = LeanMPSGenerator(size, 2, seed=1), [torch.ones(1024), torch.ones(1024)]
    weights, slope = generator(factors), torch.ones(size)
    with _Sizes() as sizes:
        torch.autograd.grad(weights, list(generator.parameters()), slope)
    assert max(sizes.found) <= 4 * chain.CHUNK
