"""Calls with other tensors, against torch's own way to them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from qpu_sdk.training.places import Places


def tied() -> nn.Module:
    two = nn.Linear(3, 3)
    return nn.Sequential(nn.Linear(3, 3), two, nn.ModuleDict({"again": two})["again"], nn.BatchNorm1d(3))


def others(module: nn.Module) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    drawn = {name: torch.rand(own.shape, generator=rng) if own.is_floating_point() else own + 1 for name, own in named}
    return drawn | {name.replace("2.", "1."): drawn[name] for name in drawn if name.startswith("2.")}


@pytest.mark.parametrize("build", [tied, lambda: nn.LSTM(3, 3, batch_first=True)], ids=["tied", "lstm"])
def test_it_answers_as_a_functional_call(build: Callable[[], nn.Module]) -> None:
    module = build()
    given, images = others(module), torch.rand(5, 4, 3) if isinstance(module, nn.LSTM) else torch.rand(5, 3)
    before = copy.deepcopy(module.state_dict())
    ours, theirs = ({name: tensor.clone() for name, tensor in given.items()} for _ in range(2))
    # Of a copy: torch leaves a layer that has two names with the weights of the call.
    expected = torch.func.functional_call(copy.deepcopy(module), theirs, (images,), tie_weights=False)
    with Places(module).holding(ours):
        found = module(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    of_norm = [name for name in given if name.startswith("3.")]
    assert all(torch.equal(ours[name], theirs[name]) for name in of_norm)  # what batch norms wrote
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_buffer_that_is_put_anew_is_given_back() -> None:
    class Counter(nn.Module):
        seen: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.tensor(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = self.seen + 1
            return x

    module, given = Counter(), {"seen": torch.tensor(5)}
    with Places(module).holding(given):
        module(torch.zeros(1))
    assert int(given["seen"]) == 6
    assert int(module.seen) == 0


def test_an_error_inside_leaves_the_module_as_it_was() -> None:
    module = nn.Linear(2, 2)
    own = module.weight
    with pytest.raises(RuntimeError, match="shapes"), Places(module).holding({"weight": torch.zeros(2, 5)}):
        module(torch.zeros(1, 2))
    assert module.weight is own
