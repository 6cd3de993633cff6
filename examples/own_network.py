"""Generate the weights of your own network: three QNNs, an own module, on synthetic images, in seconds."""

import tempfile
from pathlib import Path

import numpy as np
from torch import nn

from qpu_sdk.runs import train as runs
from qpu_sdk.training.config_file import parse_config


def tiny_network() -> nn.Module:
    """Weights that the circuits below have enough outcomes for: 64 * 4 + 4 + 4 * 3 + 3 = 275."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 3))


def stripes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """8 x 8 images of horizontal, vertical and diagonal stripes, with noise."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:8, :8]
    patterns = np.stack([row % 4 < 2, column % 4 < 2, (row + column) % 4 < 2])
    labels = rng.integers(3, size=n)
    return np.clip(patterns[labels] * 0.6 + rng.uniform(0, 0.4, (n, 8, 8)), 0, 1), labels


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (x_train, y_train), (x_test, y_test) = stripes(600, 1), stripes(300, 2)
        data = Path(folder) / "stripes.npz"
        np.savez(data, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
        config = parse_config(
            {
                "seed": 1,
                "data": {"source": str(data)},
                "target": {"factory": f"{Path(__file__).stem}:tiny_network"},
                "qnn": [{"modes": 5, "photons": 2}, {"modes": 5, "photons": 2}, {"modes": 4, "photons": 2}],
                "generator": {"bond_dim": 4},
                "training": {"warm_start_epochs": 10, "rounds": 2, "generator_epochs": 5, "final_epochs": 10},
                "spsa": {"steps": 2},
            },
            where="own_network.py",
        )
        summary = runs.train(config, Path(folder) / "run")
        print(f"test accuracy {summary.test_accuracy:.3f} on {summary.test_size} images, chance 0.333")
        print(f"{summary.trainable_parameters.total} parameters, {summary.circuit_settings} circuit settings")
