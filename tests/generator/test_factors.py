"""p as a product of factors against p multiplied out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qpu_sdk.generator.factors import joint_back, joint_slice, multiplied_out, two_factors


def random_factors(*sizes: int, seed: int = 1) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.rand(size, generator=rng, dtype=torch.float64) for size in sizes]


def kron(factors: list[Tensor]) -> Tensor:
    """i = K2 a + b, as Kronecker's product has it."""
    whole = factors[0]
    for factor in factors[1:]:
        whole = torch.kron(whole, factor)
    return whole


@pytest.mark.parametrize("sizes", [(7,), (3, 5), (2, 3, 4), (4, 1, 3, 2), (100, 2, 2)])
def test_two_factors_are_the_product_of_all(sizes: tuple[int, ...]) -> None:
    factors = random_factors(*sizes)
    torch.testing.assert_close(multiplied_out(factors), kron(factors))
    head, rest = two_factors(factors)
    torch.testing.assert_close(head if rest is None else torch.kron(head, rest), kron(factors))


def test_two_factors_are_as_short_as_they_can_be() -> None:
    head, rest = two_factors(random_factors(50, 40, 30, 20))
    assert rest is not None
    assert (len(head), len(rest)) == (2000, 600)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_slice_is_that_of_the_whole(one: int, other: int, data: st.DataObject) -> None:
    head, rest = random_factors(one, other)
    start = data.draw(st.integers(0, one * other - 1))
    stop = data.draw(st.integers(start + 1, one * other))
    torch.testing.assert_close(joint_slice(head, rest, slice(start, stop)), kron([head, rest])[start:stop])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_gradients_of_the_factors_are_those_through_the_product(one: int, other: int, data: st.DataObject) -> None:
    head, rest = (factor.requires_grad_() for factor in random_factors(one, other))
    size = data.draw(st.integers(1, one * other))
    [cotangent] = random_factors(size, seed=2)
    expected = torch.autograd.grad(torch.kron(head, rest)[:size], [head, rest], cotangent)
    for found, wanted in zip(joint_back(cotangent, head.detach(), rest.detach()), expected, strict=True):
        assert found is not None
        torch.testing.assert_close(found, wanted)
