"""Small stand-ins for digits as an .npz, and settings under which a run takes about a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

TINY = {
    "generator.bond_dim": 2,
    "training.warm_start_epochs": 0,
    "training.trials": 1,
    "training.optimiser": "adam",
    "training.rounds": 1,
    "training.generator_epochs": 1,
    "training.final_epochs": 3,
    "training.batch_size": 20,
    "training.shots": 20_000,
    "training.final_shots": 20_000,
    "training.threads": 1,
    "spsa.steps": 1,
    "spsa.shots": 10_000,
    "spsa.images": 20,
    "spsa.calibration_pairs": 1,
    "spsa.blocking": "false",
}

#: The same with 34 weights instead of 6,690, for :func:`write_small_digits`.
SMALLEST = TINY | {
    "target.factory": '"tests.training.tiny:linear"',
    **{f"qnn.{i}.{key}": value for i in range(2) for key, value in (("modes", 4), ("photons", 2))},
}


def write_digits(path: Path, *, seed: int = 1, classes: int = 3, side: int = 28) -> Path:
    """60 training and 30 test images with a bright column block for each class."""
    rng, labels = np.random.default_rng(seed), np.arange(90) % classes
    images, width = rng.integers(0, 120, (90, side, side), dtype=np.uint8), 2 * side // 7
    for label in range(classes):
        images[labels == label, :, label * width : (label + 1) * width] += 100
    np.savez(path, x_train=images[:60], y_train=labels[:60], x_test=images[60:], y_test=labels[60:])
    return path


def write_small_digits(path: Path) -> Path:
    """4 x 4 pixels of two classes."""
    return write_digits(path, classes=2, side=4)


def train_arguments(data: Path, out: Path, *, base: Mapping[str, object] = TINY, **changes: object) -> list[str]:
    """Arguments of ``qpu-sdk train``; ``a__b=1`` stands for ``--set a.b=1``."""
    values = {**base} | {key.replace("__", "."): value for key, value in changes.items()}
    options = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return ["train", "--data", str(data), "--out", str(out), "--json", *options]
