"""A problem that trains in a fraction of a second: 4 x 4 images, 34 weights, 36 joint outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qpu_sdk.devices.base import Device
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.registry import open_device
from qpu_sdk.generator.mps import LeanMPSGenerator
from qpu_sdk.runs.records import resolve
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import parse_config
from qpu_sdk.training.data import Dataset, Images
from qpu_sdk.training.loop import Training
from qpu_sdk.training.ordinary import with_ordinary
from qpu_sdk.training.qnn import QNNBank
from qpu_sdk.training.schedule import Schedule
from qpu_sdk.training.targets import Target


class Linear(nn.Module):
    """Two classes from 16 pixels, 34 weights."""

    def __init__(self, pixels: int = 16, classes: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(pixels, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def linear() -> nn.Module:
    return Linear()


def dataset(*, train: int = 48, test: int = 20, classes: int = 2, side: int = 4) -> Dataset:
    """Images whose upper or lower half is brighter, by label."""
    rng = np.random.default_rng(7)
    labels = np.arange(train + test) % classes
    images = rng.uniform(0, 0.6, (train + test, 1, side, side)).astype(np.float32)
    images[labels == 1, :, : side // 2] += 0.4
    images[labels != 1, :, side // 2 :] += 0.4
    return Dataset(
        name="tiny",
        train=Images(images[:train], labels[:train]),
        test=Images(images[train:], labels[train:]),
        validation=Images(images[:0], labels[:0]),
    )


def config(**changes: Any) -> RunConfig:
    """Two QNNs of 2 photons in 4 modes and a few units of every kind; keyword tables replace single keys."""
    tree: dict[str, Any] = {
        "qnn": [{"modes": 4, "photons": 2}, {"modes": 4, "photons": 2}],
        "generator": {"bond_dim": 2},
        "training": {
            "warm_start_epochs": 0,
            "trials": 1,
            "optimiser": "adam",
            "lr": 0.02,
            "label_smoothing": 0.0,
            "weight_penalty": 0.0,
            "rounds": 2,
            "generator_epochs": 2,
            "final_epochs": 3,
            "batch_size": 16,
            "shots": 2000,
            "final_shots": 5000,
        },
        "spsa": {"steps": 2, "shots": 1000, "images": 24, "calibration_pairs": 2, "blocking": False},
    }
    for key, value in changes.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    return parse_config(tree, where="test")


def training(
    settings: RunConfig,
    *,
    data: Dataset | None = None,
    module: nn.Module | None = None,
    devices: dict[str, Device] | None = None,
    journal: Journal | None = None,
) -> Training:
    """A run of the tiny problem with fresh devices and a fresh generator, and a fresh journal unless given."""
    target = Target(module if module is not None else seeded_linear(), settings.target)
    opened = devices if devices is not None else {name: open_device(name, seed=3) for name in settings.device_names}
    return Training.of(
        settings,
        Schedule.of(settings),
        dataset=data if data is not None else dataset(),
        target=target,
        generator=with_ordinary(LeanMPSGenerator(target.generated, settings.generator.bond_dim, seed=1), target),
        bank=QNNBank.of(settings, opened, journal=journal, mitigation=resolve(settings, opened)),
    )


def seeded_linear() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Linear()


def pooled() -> nn.Module:
    """Ten classes from 28 x 28 images seen as 4 x 4, 170 weights; unfinished runs of every release name it."""
    return nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, 10))
