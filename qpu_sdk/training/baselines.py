"""The controls as runs: the same images, batches, epochs and schedule, without a trained circuit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..errors import ConfigError
from ..files import child_seed
from ..generator.controls import DirectWeights, RandomSubspaceGenerator, constant, frozen_random
from ..generator.mps import Generator
from .config import RunConfig
from .fit import Batches, EpochResult, Fitter
from .loop import total_epochs
from .targets import Target

#: Peak learning rates of the controls that do not share the generator's, chosen on validation images like its own.
CONTROL_LR = {"random_subspace": 0.1, "plain_network": 0.003}


@final
@dataclass(frozen=True, eq=False)
class Control:
    """One control, ready to train: a generator and the frozen p it sees."""

    name: str
    generator: Generator
    p: Tensor
    lr: float


def open_control(
    name: str, config: RunConfig, *, target: Target, sizes: tuple[int, ...], new_generator: Callable[[], Generator]
) -> Control:
    """Build a control for a run.

    :param sizes: outcomes of each QNN.
    :param new_generator: gives the run's own generator as it was before training.
    :raises ConfigError: for an unknown name.
    """
    initial = target.flat(dict(target.module.named_parameters()))
    match name:
        case "frozen_random":
            p = frozen_random(sizes, seed=child_seed(config.seed, "control", name))
            return Control(name, new_generator(), p, config.training.lr)
        case "constant":
            return Control(name, new_generator(), constant(sizes), config.training.lr)
        case "random_subspace":
            dimension = min(trainable_parameters(config, new_generator()), target.size)
            subspace = RandomSubspaceGenerator(initial, dimension, seed=child_seed(config.seed, "control", name))
            return Control(name, subspace, torch.ones(1), CONTROL_LR[name])
        case "plain_network":
            return Control(name, DirectWeights(initial), torch.ones(1), CONTROL_LR[name])
    raise ConfigError(f"control {name!r} is unknown.")


def trainable_parameters(config: RunConfig, generator: Generator) -> int:
    """Phases and generator parameters of a run: the budget that its controls get."""
    return sum(q.open_mesh().declared for q in config.qnn) + generator.parameter_count


def train_control(control: Control, config: RunConfig, *, batches: Batches, target: Target) -> Iterator[EpochResult]:
    """Train a control for as many epochs as the run has; its generator holds the result."""
    training = config.training.model_copy(update={"lr": control.lr})
    epochs = total_epochs(config)
    fitter = Fitter(
        control.generator,
        target,
        training,
        total_epochs=epochs,
        steps_per_epoch=math.ceil(len(batches.labels) / training.batch_size),
    )
    for epoch in range(epochs):
        yield fitter.run_epoch(batches, epoch, control.p)
