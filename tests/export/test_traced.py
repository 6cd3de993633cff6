"""Graphs of networks: any size of batch, nothing of the files they come from, and who cannot be exported by name."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from qpu_sdk.errors import ConfigError
from qpu_sdk.export.traced import trace
from qpu_sdk.training.targets import paper_cnn

SHAPE = (1, 4, 4)


class Router(nn.Module):
    """Asks a tensor for its value in Python."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(16, 2), Router()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.gate(self.layer(x))
        return out


class Pairs(nn.Module):
    """Takes batches of two for granted."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.reshape(2, 16))
        return out


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_graph_takes_batches_of_any_size(count: int) -> None:
    network = paper_cnn().eval()
    images = torch.rand((count, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    assert torch.equal(trace(network, (1, 28, 28)).module()(images), network(images))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_other_types_take_and_give_floats(kind: torch.dtype) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).to(kind).eval()
    images = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(1))
    logits = trace(network, SHAPE).module()(images)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, network(images.to(kind)).float())


def test_a_graph_says_nothing_of_files() -> None:
    program = trace(paper_cnn(), (1, 28, 28))
    assert program.example_inputs is None
    assert all("stack_trace" not in node.meta for node in program.graph.nodes)


def test_dropout_and_norms_are_exported_as_they_answer() -> None:
    norm = nn.BatchNorm1d(16)
    norm.running_mean = torch.full((16,), 0.3)
    network = nn.Sequential(nn.Flatten(), norm, nn.Dropout(0.5), nn.Linear(16, 2)).eval()
    images = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(1))
    assert torch.equal(trace(network, SHAPE).module()(images), network(images))


def test_the_part_that_cannot_be_exported_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Sequential(Block()))
    with pytest.raises(
        ConfigError, match=r"torch cannot export Router \(1\.0\.gate\): .*test_traced\.py, line \d+"
    ) as told:
        trace(network, SHAPE)
    assert "\n" not in str(told.value)
    assert "--format safetensors" in str(told.value)
    assert capfd.readouterr() == ("", "")


def test_a_network_for_one_size_of_batch_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"export Pairs for batches of any size.*test_traced\.py, line \d+, in forward"
    ):
        trace(Pairs(), SHAPE)


def test_exporting_leaves_no_trace() -> None:
    torch.manual_seed(3)
    before, filters = torch.get_rng_state(), list(warnings.filters)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 2))
    torch.set_rng_state(before)
    trace(network, SHAPE)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(warnings.filters) == filters
