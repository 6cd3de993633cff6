"""The controls as runs: the same images, batches, epochs and schedule, without a trained circuit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from ..errors import ConfigError
from ..files import child_seed
from ..generator.controls import DirectWeights, RandomSubspaceGenerator, constant, frozen_random
from ..generator.mps import Generator
from .config import RunConfig
from .fit import Batches, EpochResult, Fitter
from .schedule import schedule_epochs, total_epochs
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
    optimiser: Literal["adam", "rotated-adam"]
    random_start: bool


def open_control(
    name: str, config: RunConfig, *, target: Target, sizes: tuple[int, ...], new_generator: Callable[[], Generator]
) -> Control:
    """Build a control for a run.

    :param sizes: outcomes of each QNN.
    :param new_generator: gives the run's own generator as it was before training.
    :raises ConfigError: for an unknown name.
    """
    training = config.training
    initial = target.flat(dict(target.module.named_parameters()))
    match name:
        case "frozen_random":
            p = frozen_random(sizes, seed=child_seed(config.seed, "control", name))
            return Control(name, new_generator(), p, training.lr, training.optimiser, random_start=True)
        case "constant":
            return Control(name, new_generator(), constant(sizes), training.lr, training.optimiser, random_start=True)
        case "random_subspace":
            dimension = min(trainable_parameters(config, new_generator()), target.size)
            subspace = RandomSubspaceGenerator(initial, dimension, seed=child_seed(config.seed, "control", name))
            return Control(name, subspace, torch.ones(1), CONTROL_LR[name], "adam", random_start=False)
        case "plain_network":
            plain = DirectWeights(initial)
            return Control(name, plain, torch.ones(1), CONTROL_LR[name], "adam", random_start=False)
    raise ConfigError(f"control {name!r} is unknown.")


def trainable_parameters(config: RunConfig, generator: Generator) -> int:
    """Phases and generator parameters of a run: the budget that its controls get."""
    return sum(q.open_mesh().declared for q in config.qnn) + generator.parameter_count


def train_control(control: Control, config: RunConfig, *, batches: Batches, target: Target) -> Iterator[EpochResult]:
    """Train a control for as many epochs as the run has; its generator holds the result.

    Controls with random starts get the run's trials, chosen by training loss like its own; the others spend those
    epochs in a longer schedule.
    """
    training = config.training.model_copy(update={"lr": control.lr, "optimiser": control.optimiser})
    trials = training.trials if control.random_start and training.trials > 1 else 0
    epochs = schedule_epochs(config) if trials else total_epochs(config)
    steps = math.ceil(len(batches.labels) / training.batch_size)
    fitter = Fitter(control.generator, target, training, total_epochs=epochs, steps_per_epoch=steps)
    best, best_loss = fitter.tensors(), math.inf
    for trial in range(trials):
        if trial > 0:
            fitter.reset(seed=child_seed(config.seed, "generator", trial))
        for epoch in range(training.trial_epochs):
            result = fitter.run_epoch(batches, epoch, control.p)
            yield result
        if result.loss < best_loss:
            best_loss, best = result.loss, {name: tensor.clone() for name, tensor in fitter.tensors().items()}
    if trials:
        fitter.restore(best, step=fitter.step)
    for epoch in range(training.trial_epochs if trials else 0, epochs):
        yield fitter.run_epoch(batches, epoch, control.p)
