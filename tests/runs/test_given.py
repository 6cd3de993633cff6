"""What was passed from Python is known again, or refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qpu_sdk.errors import CheckpointError, ConfigError, DataError
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.given import Given
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.data import Dataset

RNG = np.random.default_rng(1)
X, Y = RNG.random((6, 8, 8)), np.array([0, 1, 0, 1, 0, 1])
DATA = Dataset.of(X, Y, X, Y)


class Own(nn.Module):
    """Says the same of itself whatever its power is."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.layer, self.power = nn.Linear(64, 2), power

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1) ** self.power)
        return logits


def begun(path: Path, network: nn.Module) -> tuple[RunFolder, RunConfig]:
    folder, given = RunFolder(path), Given.of(network, DATA)
    given.save(folder, DATA)
    return folder, given.named(RunConfig(seed=1))


def refused(folder: RunFolder, config: RunConfig, network: nn.Module, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        Given.of(network, DATA).restored(folder, config)
    assert "\n" not in str(caught.value)


def test_a_network_comes_back_with_its_first_weights(tmp_path: Path) -> None:
    network = Own()
    folder, config = begun(tmp_path, network)
    again = Given.of(Own(), DATA).restored(folder, config)
    assert again.target is not None
    assert torch.equal(again.target.module.get_parameter("layer.weight"), network.layer.weight)


def test_a_network_of_the_same_class_that_computes_another_thing_is_refused(tmp_path: Path) -> None:
    folder, config = begun(tmp_path, Own())
    refused(folder, config, Own(power=2.0), "not the network")


def test_a_network_that_fails_on_the_images_is_refused(tmp_path: Path) -> None:
    class Other(Own):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError(x)

    Other.__name__ = Other.__qualname__ = "Own"
    folder, config = begun(tmp_path, Own())
    refused(folder, config, Other(), "not the network")


def test_rounding_of_another_machine_is_no_other_network(tmp_path: Path) -> None:
    folder, config = begun(tmp_path, Own())
    known = json.loads(folder.given.read_text())
    known["logits"] = [[value * (1 + 1e-6) + 1e-7 for value in row] for row in known["logits"]]
    folder.given.write_text(json.dumps(known))
    Given.of(Own(), DATA).restored(folder, config)


@pytest.mark.parametrize("damage", ["cut", "nan", "gone"])
def test_damaged_first_weights_are_refused(tmp_path: Path, damage: str) -> None:
    folder, config = begun(tmp_path, Own())
    if damage == "cut":
        folder.target.write_bytes(folder.target.read_bytes()[:-1])
    elif damage == "nan":
        save_file({name: t * float("nan") for name, t in load_file(folder.target).items()}, folder.target)
    else:
        folder.target.unlink()
    refused(folder, config, Own(), r"target\.safetensors is damaged")


@pytest.mark.parametrize("key", ["logits", "image_shape", "target_sha256"])
@pytest.mark.parametrize("value", [None, "x", [["y"]]])
def test_a_damaged_account_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    folder, config = begun(tmp_path, Own())
    folder.given.write_text(json.dumps(json.loads(folder.given.read_text()) | {key: value}))
    refused(folder, config, Own(), "damaged|not the network")


def test_frozen_layers_are_known_again_by_their_values(tmp_path: Path) -> None:
    def network(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, 2))
        made[1].requires_grad_(False)
        return made

    folder, config = begun(tmp_path, network(1))
    Given.of(network(1), DATA).restored(folder, config)
    refused(folder, config, network(2), "not the network")


@pytest.mark.parametrize(
    ("target", "words"), [(Own, r"class Own.*Own\(\)"), (len, "not a torch.nn.Module"), ("Own", "str, not a torch")]
)
def test_what_is_no_network_is_one_line(target: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Given.of(target, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"), [((X, Y), "is an array"), ("digits", r"Dataset\.of"), ([X, Y, X, Y], r"Dataset\.of")]
)
def test_what_is_no_dataset_is_one_line(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Given.of(None, data)
    assert "\n" not in str(caught.value)


def test_images_alone_need_no_probe(tmp_path: Path) -> None:
    folder, given = RunFolder(tmp_path), Given.of(None, DATA)
    given.save(folder, DATA)
    config = given.named(RunConfig(seed=1))
    assert given.restored(folder, config) is given
    other = replace(given, data=Dataset.of(1 - X, Y, X, Y))
    with pytest.raises(CheckpointError, match="images"):
        other.restored(folder, config)
