"""The generator of few numbers: what its weights are, and that a run learns with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qpu_sdk.errors import ConfigError
from qpu_sdk.generator.phases import PhasesGenerator
from qpu_sdk.runs.train import train
from tests.digits import write_small_digits
from tests.training.tiny import config


def test_weights_are_the_first_ones_and_a_change_of_their_size() -> None:
    rng = torch.Generator().manual_seed(1)
    initial, sizes = torch.randn(30, generator=rng), [20, 10]
    initial[20:] *= 7.0
    generator, p = PhasesGenerator(initial, sizes, seed=3), torch.rand(40, generator=rng)
    change = (generator(p) - initial).detach()
    for part in (slice(0, 20), slice(20, 30)):
        sigma = initial[part].square().mean().sqrt()
        assert torch.allclose(change[part].abs(), 0.5 * sigma * (p[part] - 1.0).abs(), atol=1e-6)
    assert torch.equal(generator(torch.ones(40)), initial)


def test_signs_are_of_the_seed_and_about_half_of_them_negative() -> None:
    one, same, other = (PhasesGenerator(torch.ones(1000), [1000], seed=seed).change for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert abs(float(one.sum())) < 5 * 1000**0.5


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="tensors of 3 weights are no 4 weights"):
        PhasesGenerator(torch.ones(4), [3], seed=1)
    with pytest.raises(ConfigError, match="3 joint outcomes for 4 weights"):
        PhasesGenerator(torch.ones(4), [4], seed=1)(torch.ones(3))


def test_phases_alone_learn(tmp_path: Path) -> None:
    digits = write_small_digits(tmp_path / "digits.npz")
    training = {"warm_start_epochs": 60, "warm_start_lr": 0.05, "rounds": 0}
    settings = config(
        data={"source": str(digits)},
        target={"factory": "tests.training.tiny:linear"},
        generator={"kind": "phases"},
        training=training,
        controls=["random_subspace"],
    )
    found = train(settings, tmp_path / "run").summary
    assert found.trainable_parameters.generator == 1
    assert found.control_parameters["random_subspace"] == found.trainable_parameters.total
    assert found.train_accuracy > 0.75  # of two classes
