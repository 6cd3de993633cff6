"""A network of torch's own layers is built again from JSON; nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from qpu_sdk.errors import DataError
from qpu_sdk.export.structure import build, describe
from qpu_sdk.training.targets import paper_cnn

NETWORKS = {
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)),
    "convolutional": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 5, padding="same", groups=1),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.MaxPool2d(2, stride=1),
        nn.Sequential(nn.Conv2d(8, 4, (3, 1), stride=2, bias=False), nn.GroupNorm(2, 4), nn.Dropout(0.25)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ),
    "one layer": lambda: nn.Linear(3, 2),
    "embedding": lambda: nn.Sequential(nn.Embedding(10, 3), nn.LayerNorm(3), nn.GELU(approximate="tanh")),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_layers_is_built_again(name: str) -> None:
    network = NETWORKS[name]()
    structure = json.loads(json.dumps(describe(network)))
    again = build(structure)
    assert repr(again) == repr(network)
    again.load_state_dict(network.state_dict(), strict=True)
    inputs = (
        torch.arange(10)
        if name == "embedding"
        else torch.rand(2, *{"dense": (8, 8), "one layer": (3,)}.get(name, (1, 9, 9)))
    )
    assert torch.equal(again.eval()(inputs), network.eval()(inputs))


def test_building_leaves_the_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    build({"layer": "Linear", "arguments": {"in_features": 2, "out_features": 3, "bias": True}})
    assert torch.equal(before, torch.get_rng_state())


class Own(nn.Linear):
    pass


class Sequential(nn.Module):
    """Not torch's."""


@pytest.mark.parametrize("network", [paper_cnn(), Own(2, 3), Sequential(), nn.Sequential(nn.Linear(2, 2), Own(2, 3))])
def test_a_network_of_another_class_is_not_described(network: nn.Module) -> None:
    assert describe(network) is None


def nested(depth: int) -> dict[str, Any]:
    return {"layer": "Sequential", "children": {"0": nested(depth - 1)} if depth else {}}


@pytest.mark.parametrize(
    "structure",
    [
        {"layer": "os", "arguments": {}},
        {"layer": "functional", "arguments": {}},
        {"layer": "modules.linear.Linear", "arguments": {}},
        {"layer": "__builtins__", "arguments": {}},
        {"layer": "Parameter", "arguments": {"data": 1}},
        {"layer": "Linear"},
        {"layer": "Linear", "arguments": {"in_features": "many", "out_features": 3}},
        {"layer": "Linear", "arguments": {"surprise": 3}},
        {"layer": "Sequential", "children": [1]},
        {"layer": 3},
        [],
        nested(60),
    ],
)
def test_what_is_no_structure_is_one_line(structure: Any) -> None:
    with pytest.raises(DataError, match="structure") as caught:
        build(structure)
    assert "\n" not in str(caught.value)
