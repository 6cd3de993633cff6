"""Controls: what the same budget reaches without a trained photonic circuit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..generator.mps import Generator
from ..seeds import child_seed
from .baselines import (
    DirectWeights,
    FreshRandomGenerator,
    NoSuchControl,
    PrunedWeights,
    PruningSchedule,
    RandomSubspaceGenerator,
    initial_weights,
)
from .compressed import hashed, low_rank, shared_rows
from .control_names import CONTROLS
from .fit import EpochResult, FitState, Fitter, trial_seed
from .loop import Training
from .ordinary import with_ordinary, without_ordinary
from .small_network import small_network
from .targets import Target


def frozen_random(sizes: Sequence[int], *, seed: int) -> Tensor:
    """Random stand-ins for photon-count distributions: exponential entries of mean 1, and their outer product.

    The outcome probabilities of a random interferometer are close to exponentially distributed (Porter and
    Thomas), so this has the scale and the spread of a measured p but no circuit behind it.

    :param sizes: number of outcomes of each QNN.
    :returns: ``(prod(sizes),)`` float32.

    >>> tuple(frozen_random((3, 2), seed=1).shape)
    (6,)
    """
    rng = np.random.default_rng(seed)
    p = np.ones(1)
    for size in sizes:
        q = rng.exponential(size=size)
        p = np.outer(p, q / q.mean()).ravel()  # mean 1, as a measured p is scaled
    return torch.from_numpy(p).float()


def constant(sizes: Sequence[int]) -> Tensor:
    """p_i = 1 for every joint outcome, ``(prod(sizes),)`` float32."""
    return torch.ones(int(np.prod(sizes)))


#: Peak learning rates of the controls that do not share the generator's, chosen on validation images like its own;
#: from the third on those are of two draws from MNIST's training files; what they gave is in
#: docs/explanation/method.md.
CONTROL_LR = {
    "random_subspace": 0.1,
    "plain_network": 0.003,
    "small_network": 0.03,
    "pruned": 0.003,
    "weight_sharing": 0.001,
    "hashed": 0.1,
    "low_rank": 0.01,
}
#: Parts of all epochs between which weights are pruned; gradually, chosen on the same images against all at half-time.
PRUNED_BETWEEN = (0.1, 0.6)


@final
@dataclass(frozen=True, eq=False)
class Control:
    """One control, ready to train.

    :param fitter: of its generator, for a network that need not be the run's; it holds no state.
    :param p: the frozen p that the generator sees.
    :param trials: independent starts, of which the one with the lowest training loss goes on; 0 for one start.
    :param before_epoch: called before each epoch with what is trained, where the generator changes in between.
    """

    name: str
    fitter: Fitter
    p: Tensor
    trials: int = 0
    before_epoch: Callable[[FitState, int], None] = lambda state, epoch: None


def open_control(name: str, training: Training) -> Control:
    """Build a control for a run.

    Controls with random starts get the run's trials, chosen by training loss like its own; the others spend those
    epochs in a longer schedule.

    :raises NoSuchControl: for one that this network and this budget do not allow; see
        :class:`~qpu_sdk.training.baselines.NoSuchControl`.
    :raises ConfigError: for an unknown name.
    """
    seed = child_seed(training.seed, "control", name)
    sizes, generator = training.bank.sizes, training.fitter.generator
    match name:
        case "frozen_random":
            return _on(frozen_random(sizes, seed=seed), name, training)
        case "constant":
            return _on(constant(sizes), name, training)
        case "untrained_circuits":
            return _on(_untrained(training), name, training)
        case "fresh_random":
            fresh = FreshRandomGenerator(without_ordinary(generator), seed=seed)
            return _on(torch.ones(1), name, training, with_ordinary(fresh, training.target))
        case "small_network":
            return _small(name, training, seed=seed)
        case "pruned":
            return _pruned(name, training)
        case _:
            return _alone(name, training, _baseline(name, training, seed=seed), training.target)


def trainable_parameters(training: Training) -> int:
    """Phases, generator parameters and ordinary weights of a run: the budget that its controls get."""
    return training.bank.declared + training.fitter.generator.parameter_count


def _on(p: Tensor, name: str, training: Training, generator: Generator | None = None) -> Control:
    """The run's own generator, or one around it, on a p that does not change."""
    fitter = replace(training.fitter, generator=generator or training.fitter.generator)
    return _with_trials(Control(name, fitter, p), training)


def _with_trials(control: Control, training: Training) -> Control:
    """The same with the run's independent starts, or all epochs in one where it has none."""
    trials = training.config.trials if training.config.trials > 1 else 0
    epochs = training.schedule.epochs if trials else training.schedule.total_epochs
    return replace(control, fitter=replace(control.fitter, total_epochs=epochs), trials=trials)


def _untrained(training: Training) -> Tensor:
    """The p of the ideal circuits at the phases that the run's first trial begins with, ``(K,)``."""
    phases = training.bank.initial_phases(seed=trial_seed(training.seed, "phases", 0))
    return training.bank.exact(torch.from_numpy(phases)).detach()


def _alone(name: str, training: Training, generator: Generator, target: Target) -> Control:
    """A generator without circuits under plain Adam, in one run of all epochs."""
    # A covariance of all weights of a network would be too large for rotated-adam.
    config = training.config.model_copy(update={"lr": CONTROL_LR[name], "optimiser": "adam"})
    epochs = training.schedule.total_epochs
    fitter = replace(training.fitter, generator=generator, target=target, config=config, total_epochs=epochs)
    return Control(name, fitter, torch.ones(1))


def _baseline(name: str, training: Training, *, seed: int) -> Generator:
    """Another generator of all weights of the run's network.

    What the run trains as it is, these controls train as it is too: they compress what the run generates.
    """
    if name == "plain_network":
        return DirectWeights(initial_weights(training.target))
    inner = _compressing(name, training.target.generated_part, _compressed_budget(training), seed=seed)
    return with_ordinary(inner, training.target)


def _compressed_budget(training: Training) -> int:
    """Numbers of a run that its ordinary weights leave over."""
    return trainable_parameters(training) - training.target.ordinary


def _compressing(name: str, target: Target, budget: int, *, seed: int) -> Generator:
    match name:
        case "random_subspace":
            return RandomSubspaceGenerator(initial_weights(target), min(budget, target.size), seed=seed)
        case "weight_sharing":
            return shared_rows(target, budget)
        case "hashed":
            return hashed(target, budget, seed=seed)
        case "low_rank":
            return low_rank(target, budget)
    raise ConfigError(f"control {name!r} is unknown. Use one of {', '.join(CONTROLS)}.")


def _small(name: str, training: Training, *, seed: int) -> Control:
    images = training.batches.images
    with torch.no_grad():
        outputs = training.target.logits(torch.zeros(training.target.size), images[:2]).shape[1:]
    if len(outputs) > 1:
        raise NoSuchControl(
            f"the target answers an image with numbers of shape {tuple(outputs)}; a small one with a row."
        )

    def make(*, seed: int) -> nn.Module:
        size = outputs.numel()
        network = small_network(tuple(images.shape[1:]), size, trainable_parameters(training), seed=seed)
        return network if outputs else nn.Sequential(network, nn.Flatten(0))

    target = Target(make(seed=seed))

    def start(seed: int) -> Tensor:
        return initial_weights(Target(make(seed=seed)))

    # Networks of a few channels differ by their start more than by anything else.
    return _with_trials(_alone(name, training, DirectWeights(initial_weights(target), start), target), training)


def _pruned(name: str, training: Training) -> Control:
    """The plain network, of which the smallest weights go while it is trained."""
    target, epochs = training.target, training.schedule.total_epochs
    begin, end = (int(part * epochs) for part in PRUNED_BETWEEN)
    size = target.generated
    schedule = PruningSchedule(size, min(_compressed_budget(training), size), begin, end)
    pruned = PrunedWeights(initial_weights(target.generated_part), schedule.keep)
    generator = with_ordinary(pruned, target)
    key = next(name for name, q in generator.named_parameters() if q is pruned.weights)

    def prune(state: FitState, epoch: int) -> None:
        pruned.prune_(state.parameters[key], schedule.count(epoch))

    return replace(_alone(name, training, generator, target), before_epoch=prune)


def train_control(control: Control, training: Training) -> Iterator[tuple[FitState, EpochResult]]:
    """Train a control for as many epochs as the run has; after each epoch the state of its fit, and its result."""
    fitter, tried = control.fitter, training.config.trial_epochs if control.trials else 0
    best: FitState | None = None
    best_loss = math.inf
    for trial in range(control.trials):
        state = fitter.init(seed=trial_seed(training.seed, "generator", trial))
        for epoch in range(tried):
            state, result = fitter.run_epoch(state, training.batches, epoch, control.p)
            yield state, result
        if result.loss < best_loss:
            best, best_loss = state, result.loss
    state = best if best is not None else fitter.init(seed=trial_seed(training.seed, "generator", 0))
    for epoch in range(tried, fitter.total_epochs):
        control.before_epoch(state, epoch)
        state, result = fitter.run_epoch(state, training.batches, epoch, control.p)
        yield state, result
