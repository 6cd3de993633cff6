"""Generate the weights of your own network: three QNNs, a module of your own, on synthetic images, in seconds."""

import tempfile

import numpy as np
from torch import nn

import qpu_sdk as qs


def stripes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """8 x 8 images of horizontal, vertical and diagonal stripes, with noise."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:8, :8]
    patterns = np.stack([row % 4 < 2, column % 4 < 2, (row + column) % 4 < 2])
    labels = rng.integers(3, size=n)
    return np.clip(patterns[labels] * 0.6 + rng.uniform(0, 0.4, (n, 8, 8)), 0, 1), labels


# 64 * 4 + 4 + 4 * 3 + 3 = 275 weights; the circuits below have 10 * 10 * 6 = 600 joint outcomes.
network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 3))
data = qs.Dataset.of(*stripes(600, seed=1), *stripes(300, seed=2))
config = qs.RunConfig(
    seed=1,
    qnn=[{"modes": 5, "photons": 2}, {"modes": 5, "photons": 2}, {"modes": 4, "photons": 2}],
    generator={"bond_dim": 4},
    training={"warm_start_epochs": 10, "rounds": 2, "generator_epochs": 5, "final_epochs": 10},
    spsa={"steps": 2},
)

with tempfile.TemporaryDirectory() as folder:
    run = qs.train(config, f"{folder}/run", target=network, data=data)
    summary, trained = run.summary, qs.load_model(f"{folder}/run").module()
print(f"test accuracy {summary.test_accuracy:.3f} on {summary.test_size} images, chance 0.333")
print(f"{summary.trainable_parameters.total} parameters, {summary.circuit_settings} circuit settings")
print(trained)
