"""Targets that a configuration may name: their sizes, and that each of them trains with generated weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qpu_sdk.generator.mps import LeanMPSGenerator
from qpu_sdk.training import networks
from qpu_sdk.training.config import TrainingConfig
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.data import Dataset
from qpu_sdk.training.evaluation import as_taken, check_fit, check_learns
from qpu_sdk.training.fit import Fitter
from qpu_sdk.training.qnn import qnns_of
from qpu_sdk.training.targets import BUILT_IN, Target

ROOT = Path(__file__).parents[2]
SIZES = {"resnet20": 269_434, "lenet5": 61_706, "small_transformer": 41_674, "embedding_model": 5_482}
#: The same layers with few weights.
SMALL: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: networks.ResNet20(width=4, depth=1),
    "lenet5": networks.lenet5,
    "small_transformer": lambda: networks.SmallTransformer(size=8, depth=1),
    "embedding_model": lambda: networks.EmbeddingModel(size=4),
}


@pytest.mark.parametrize("name", SIZES)
def test_each_is_built_in_and_has_the_weights_that_it_says(name: str) -> None:
    assert sum(p.numel() for p in BUILT_IN[f"qpu_sdk.training.networks:{name}"]().parameters()) == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_a_few_steps_on_generated_weights_lower_the_loss(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        target = Target(SMALL[name]())
    rng = torch.Generator().manual_seed(2)
    images, labels = torch.rand(16, 1, 28, 28, generator=rng), torch.arange(16) % 10
    check_learns(target, images, batch_size=16)
    generator = LeanMPSGenerator(target.size, 4, seed=1, init_std=0.1)
    fitter = Fitter(
        generator,
        target,
        TrainingConfig(weight_penalty=0.0, lr=0.02, warmup=0.0),
        total_epochs=100,
        steps_per_epoch=1,
        seed=1,
    )
    p = -torch.rand(target.size, generator=rng).log()
    state, losses = fitter.init(seed=1), []
    for _ in range(12):
        losses.append(float(fitter.objective(state, p, images, labels)[0]))
        fitter.step_(state, p, images, labels)
    assert losses[-1] < losses[0]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.parameters.values())


def test_a_residual_network_keeps_the_size_of_images_that_are_halved_twice() -> None:
    network = networks.ResNet20(channels=3, width=2, depth=1).eval()
    assert network(torch.rand(2, 3, 33, 30)).shape == (2, 10)


def test_bytes_are_taken_as_whole_numbers_and_as_all_data_are() -> None:
    network = networks.EmbeddingModel(size=4, classes=3)
    rows = np.random.default_rng(1).integers(0, 256, (6, 12), dtype=np.uint8)
    rows[0, 0] = 255  # else a smaller maximum might be taken for levels of grey
    data = Dataset.of(rows, np.arange(6) % 3, rows, np.arange(6) % 3)
    target = Target(network)
    found = as_taken(data, target)
    check_fit(target, found.train.tensors()[0], found)
    torch.testing.assert_close(network(found.train.tensors()[0]), network(torch.from_numpy(rows)))


def test_whole_numbers_reach_the_network_as_they_are() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 3)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = self.embedding(rows).mean(dim=1)
            return values

    target, rows = Target(Counted()), torch.tensor([[0, 19], [3, 3]])
    weights = torch.arange(target.size, dtype=torch.float32)
    assert target.logits(weights, rows).tolist() == [[28.5, 29.5, 30.5], [9.0, 10.0, 11.0]]
    assert rows.tolist() == [[0, 19], [3, 3]]


def test_the_example_of_a_residual_network_has_enough_outcomes() -> None:
    config = load_config(ROOT / "examples" / "resnet20.toml")
    outcomes = 1
    for qnn in qnns_of(config):
        outcomes *= qnn.outcomes
    assert SIZES["resnet20"] <= outcomes < 2 * SIZES["resnet20"]
    assert config.target.factory == "qpu_sdk.training.networks:resnet20"
