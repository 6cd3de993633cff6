"""A network of torch's own layers is built again from JSON; nothing else is."""

from __future__ import annotations

import json
import resource
import time
from typing import Any

import numpy as np
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
    "normalised": lambda: nn.Sequential(nn.BatchNorm2d(1), nn.InstanceNorm2d(1, affine=True, track_running_stats=True)),
    "embedding": lambda: nn.Sequential(nn.Embedding(10, 3), nn.LayerNorm(3), nn.GELU(approximate="tanh")),
}

INPUTS = {
    "dense": torch.rand(2, 8, 8),
    "one layer": torch.rand(2, 3),
    "embedding": torch.arange(10),
}


def layer(name: str, **arguments: Any) -> dict[str, Any]:
    return {"layer": name, "arguments": arguments}


def rebuilt(structure: Any, network: nn.Module | None = None) -> nn.Module:
    return build(json.dumps(structure), {} if network is None else network.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_layers_is_built_again(name: str) -> None:
    network = NETWORKS[name]()
    again = rebuilt(describe(network), network)
    assert repr(again) == repr(network)
    inputs = INPUTS.get(name, torch.rand(2, 1, 9, 9))
    assert torch.equal(again.eval()(inputs), network.eval()(inputs))
    assert all(p.requires_grad and not p.is_meta for p in again.parameters())


def test_a_layer_that_holds_its_weights_twice_takes_them() -> None:
    sizes = {"input_size": 3, "hidden_size": 4, "num_layers": 2}
    network, inputs = nn.LSTM(**sizes), torch.rand(2, 5, 3)
    assert torch.equal(rebuilt(layer("LSTM", **sizes), network)(inputs)[0], network(inputs)[0])


def test_the_weights_are_copies() -> None:
    network = nn.Linear(2, 3)
    with torch.no_grad():
        rebuilt(describe(network), network).get_parameter("weight").zero_()
    assert network.weight.abs().max() > 0


def test_building_leaves_the_random_state_as_it_was() -> None:
    network = nn.Linear(2, 3)
    before = torch.get_rng_state()
    rebuilt(describe(network), network)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_of_numpy_are_numbers() -> None:
    network = nn.Sequential(nn.Linear(np.int64(4), np.int32(3) + 1), nn.LayerNorm(4, eps=np.float32(1e-3)))
    structure = describe(network)
    assert structure is not None
    assert json.loads(json.dumps(structure)) == structure
    assert repr(rebuilt(structure, network)) == repr(network)
    tuples = nn.Sequential(nn.Conv2d(1, 2, (np.int64(3), np.int64(1))))
    assert repr(rebuilt(describe(tuples), tuples)[0]) == "Conv2d(1, 2, kernel_size=(3, 1), stride=(1, 1))"  # type: ignore[index]


def test_arguments_that_are_not_json_are_not_described() -> None:
    assert describe(nn.Sequential(nn.Softmax(dim=object()), nn.Linear(2, 2))) is None  # type: ignore[arg-type]
    assert describe(nn.LazyLinear(3)) is None


def test_an_activation_may_be_used_twice() -> None:
    act = nn.ReLU()
    network = nn.Sequential(nn.Linear(3, 3), act, nn.Linear(3, 2), act)
    again = rebuilt(describe(network), network)
    inputs = torch.randn(5, 3)
    assert torch.equal(again(inputs), network(inputs))


def test_tied_layers_are_not_described() -> None:
    layer, norm = nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False)
    other = nn.Linear(3, 3)
    other.weight = layer.weight
    for network in (nn.Sequential(layer, layer), nn.Sequential(layer, nn.ReLU(), other), nn.Sequential(norm, norm)):
        assert describe(network) is None


def hooked(kind: str) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2)))
    inner = network[2][0]
    match kind:
        case "hook":
            inner.register_forward_hook(lambda module, inputs, output: 2 * output)
        case "pre-hook":
            inner.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
        case "forward":
            inner.forward = lambda x: x[:, :2]
        case "weight norm":
            nn.utils.parametrizations.weight_norm(inner)
    return network


@pytest.mark.parametrize("kind", ["hook", "pre-hook", "forward", "weight norm"])
def test_a_network_that_does_other_than_its_class_is_not_described(kind: str) -> None:
    assert describe(hooked("none")) is not None
    assert describe(hooked(kind)) is None


class Own(nn.Linear):
    pass


class Sequential(nn.Module):
    """Not torch's."""


@pytest.mark.parametrize("network", [paper_cnn(), Own(2, 3), Sequential(), nn.Sequential(nn.Linear(2, 2), Own(2, 3))])
def test_a_network_of_another_class_is_not_described(network: nn.Module) -> None:
    assert describe(network) is None


def nested(depth: int) -> dict[str, Any]:
    return {"layer": "Sequential", "children": {"0": nested(depth - 1)} if depth else {}}


def many(child: dict[str, Any], number: int) -> dict[str, Any]:
    return {"layer": "Sequential", "children": {str(n): child for n in range(number)}}


STRUCTURES = [
    {"layer": "os", "arguments": {}},
    {"layer": "functional", "arguments": {}},
    {"layer": "modules.linear.Linear", "arguments": {}},
    {"layer": "__builtins__", "arguments": {}},
    {"layer": "Parameter", "arguments": {"data": 1}},
    {"layer": "Linear"},
    {"layer": "Linear", "arguments": [1]},
    layer("Linear", in_features="many", out_features=3),
    layer("Linear", surprise=3),
    layer("Linear", in_features=2, out_features=1, device="meta"),
    layer("Linear", in_features=2, out_features=1, dtype="float64"),
    layer("Linear", in_features=10**5, out_features=10**5),
    layer("Linear", in_features=10**30, out_features=1),
    layer("Linear", in_features=-1, out_features=1),
    layer("GroupNorm", num_groups=0, num_channels=4),
    layer("MultiheadAttention", embed_dim=5, num_heads=2),
    layer("Transformer", num_encoder_layers=2000),
    layer("TransformerEncoder", encoder_layer=1, num_layers=10**6),
    layer("LSTM", input_size=1, hidden_size=1, num_layers=10**5),
    layer("LazyLinear", out_features=1),
    layer("ConstantPad2d", padding=[1] * 10**5, value=0),
    layer("Upsample", mode="x" * 10**5),
    many(layer("ReLU"), 200_000),
    many(layer("Linear", in_features=2, out_features=1), 900),
    many(layer("Transformer"), 900),
    {"layer": "Sequential", "children": [1]},
    {"layer": "Sequential", "children": {"a.b": layer("ReLU")}},
    {"layer": "Sequential", "children": {"": layer("ReLU")}},
    {"layer": 3},
    {"layer": "x\ny" * 1000},
    [],
    None,
    nested(60),
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=range(len(STRUCTURES)))
def test_what_is_no_structure_is_one_short_line_at_once(structure: Any) -> None:
    text, begun = json.dumps(structure), time.perf_counter()
    with pytest.raises(DataError, match=r"structure|describes") as caught:
        build(text, {"weight": torch.zeros(1, 2), "bias": torch.zeros(1)})
    assert time.perf_counter() - begun < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, '{"layer":' * 10**4, "\x00"], ids=range(5))
def test_what_is_no_json_is_one_line(text: str) -> None:
    with pytest.raises(DataError, match="structure") as caught:
        build(text, {})
    assert "\n" not in str(caught.value)


def test_large_layers_take_no_memory_before_they_are_refused() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError):
        rebuilt(layer("Linear", in_features=10**5, out_features=10**4), nn.Linear(2, 1))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes; it would be 4 GB


@pytest.mark.parametrize("change", ["shape", "dtype", "name", "missing"])
def test_tensors_of_other_layers_are_refused(change: str) -> None:
    network = nn.Linear(3, 2)
    tensors = dict(network.state_dict())
    match change:
        case "shape":
            tensors["bias"] = torch.zeros(3)
        case "dtype":
            tensors["bias"] = torch.zeros(2, dtype=torch.float64)
        case "name":
            tensors["other"] = tensors.pop("bias")
        case "missing":
            del tensors["bias"]
    with pytest.raises(DataError, match=r"tensors are not those|more weights than"):
        build(json.dumps(describe(network)), tensors)


class Kept(nn.Module):
    """A buffer that no file holds."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.weight = size, nn.Parameter(torch.zeros(size))
        self.register_buffer("ones", torch.ones(size), persistent=False)


def test_buffers_that_no_file_holds_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn, "Kept", Kept, raising=False)
    network = Kept(3)
    torch.nn.init.normal_(network.weight)
    again = rebuilt(describe(network), network)
    assert torch.equal(again.get_buffer("ones"), torch.ones(3))
    assert torch.equal(again.get_parameter("weight"), network.weight)
    with pytest.raises(DataError):
        rebuilt(layer("Kept", size=10**7), network)
