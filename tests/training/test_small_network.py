"""A small network of as many weights as a run trains numbers: within the budget, near it, and a network."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qpu_sdk.training.baselines import NoSuchControl
from qpu_sdk.training.small_network import SmallCNN, small_network

DIGITS = (1, 28, 28)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def kinds(network: nn.Module) -> list[type]:
    return [type(layer) for layer in network.children()]


@pytest.mark.parametrize("image", [DIGITS, (3, 32, 32), (1, 14, 20)])
@pytest.mark.parametrize("budget", [567, 1308, 3292, 20_000])
def test_nearly_the_whole_budget_is_used(image: tuple[int, int, int], budget: int) -> None:
    network = small_network(image, 10, budget, seed=1)
    assert 0.95 * budget < count(network) <= budget
    assert kinds(network) == [nn.Conv2d, nn.PReLU, nn.MaxPool2d] * 2 + [nn.Flatten, nn.Linear]
    assert network(torch.rand(3, *image)).shape == (3, 10)


@given(
    image=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)) | st.tuples(st.integers(1, 200)),
    classes=st.integers(2, 12),
    budget=st.integers(1, 4000),
)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_it_takes_the_images_within_the_budget_or_is_refused(image: tuple[int, ...], classes: int, budget: int) -> None:
    if classes * (torch.Size(image).numel() + 1) > budget:  # else a linear layer will do
        with contextlib.suppress(NoSuchControl):
            check(small_network(image, classes, budget, seed=1), image, classes, budget)
    else:
        check(small_network(image, classes, budget, seed=1), image, classes, budget)


def check(network: nn.Module, image: tuple[int, ...], classes: int, budget: int) -> None:
    assert count(network) <= budget
    logits = network(torch.rand(2, *image))
    assert logits.shape == (2, classes)
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


@given(
    image=st.tuples(st.integers(1, 3), st.integers(12, 40), st.integers(12, 40)),
    kernel=st.sampled_from([3, 4, 5]),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    pools=st.tuples(st.sampled_from([2, 3]), st.sampled_from([2, 3])),
)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_sizes_are_counted_as_torch_does(
    image: tuple[int, int, int], kernel: int, channels: tuple[int, int], pools: tuple[int, int]
) -> None:
    shape = SmallCNN(image, 7, kernel, channels, pools)
    if min(shape.side) > 0:
        assert shape.size == count(shape.module())
        assert shape.module()(torch.rand(1, *image)).shape == (1, 7)


def test_it_depends_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (small_network(DIGITS, 10, 567, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["0.weight"], other["0.weight"])


def test_tables_and_tiny_images_have_linear_layers() -> None:
    assert kinds(small_network((64,), 10, 700, seed=1)) == [nn.Flatten, nn.Linear]
    assert kinds(small_network((64,), 10, 2000, seed=1)) == [nn.Flatten, nn.Linear, nn.PReLU, nn.Linear]
    assert kinds(small_network((1, 4, 4), 2, 60, seed=1)) == [nn.Flatten, nn.Linear, nn.PReLU, nn.Linear]


def test_a_budget_below_everything_is_told() -> None:
    with pytest.raises(NoSuchControl, match=r"of 64 numbers and 10 classes has 650 weights; the run trains 100\."):
        small_network((64,), 10, 100, seed=1)
