"""Controls: what the same budget reaches without a trained photonic circuit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..generator.mps import Generator
from ..seeds import child_seed
from .fit import EpochResult, FitState, Fitter, trial_seed
from .loop import Training

CONTROLS = ("frozen_random", "constant", "random_subspace", "plain_network")
#: Entries that the dense random matrix of :class:`RandomSubspaceGenerator` may have (4 bytes each).
MAX_ENTRIES = 250_000_000


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


@final
class RandomSubspaceGenerator(Generator):
    """w = w0 + P theta: d trained numbers theta, a fixed Gaussian P with columns of length 1, and fixed w0.

    :param initial: w0, the network's own seeded initial weights, ``(target_size,)``.
    :param dimension: d.
    :param seed: of P.

    >>> generator = RandomSubspaceGenerator(torch.zeros(100), 7, seed=1)
    >>> generator.parameter_count, float(generator(torch.ones(1)).detach().norm())
    (7, 0.0)
    """

    def __init__(self, initial: Tensor, dimension: int, *, seed: int) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed = len(initial), 0
        if dimension * len(initial) > MAX_ENTRIES:
            raise ConfigError(
                f"a random subspace of {dimension} parameters for {len(initial)} weights needs a matrix of "
                f"{dimension * len(initial)} entries; {MAX_ENTRIES} are allowed. Use a smaller bond_dim."
            )
        rng = torch.Generator().manual_seed(seed)  # the global stream stays where it is
        matrix = torch.randn(len(initial), dimension, generator=rng)
        self.theta = nn.Parameter(torch.zeros(dimension))
        # Up to a gigabyte that the seed gives back: it has no place in a checkpoint.
        self.register_buffer("matrix", matrix / matrix.norm(dim=0), persistent=False)
        self.register_buffer("initial", initial.detach().clone(), persistent=False)

    def reset(self, *, seed: int) -> None:
        """theta = 0; the subspace stays, so there is but one start and the seed is ignored."""
        with torch.no_grad():
            self.theta.zero_()

    def forward(self, p: Tensor) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        matrix: Tensor = self.get_buffer("matrix")
        return self.get_buffer("initial") + matrix @ self.theta


@final
class DirectWeights(Generator):
    """The plain network: every weight is a parameter.

    :param initial: the network's own seeded initial weights, ``(target_size,)``.
    """

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed = len(initial), 0
        self.weights = nn.Parameter(initial.detach().clone())
        self.register_buffer("initial", initial.detach().clone(), persistent=False)

    def reset(self, *, seed: int) -> None:
        """The initial weights; there is but one start and the seed is ignored."""
        with torch.no_grad():
            self.weights.copy_(self.get_buffer("initial"))

    def forward(self, p: Tensor) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        return self.weights


#: Peak learning rates of the controls that do not share the generator's, chosen on validation images like its own.
CONTROL_LR = {"random_subspace": 0.1, "plain_network": 0.003}


@final
@dataclass(frozen=True, eq=False)
class Control:
    """One control, ready to train.

    :param fitter: of its generator; it holds no state.
    :param p: the frozen p that the generator sees.
    :param trials: independent starts, of which the one with the lowest training loss goes on; 0 for one start.
    """

    name: str
    fitter: Fitter
    p: Tensor
    trials: int = 0


def open_control(name: str, training: Training) -> Control:
    """Build a control for a run.

    Controls with random starts get the run's trials, chosen by training loss like its own; the others spend those
    epochs in a longer schedule.

    :raises ConfigError: for an unknown name, or a random subspace that would not fit in memory.
    """
    run, target, sizes = training.fitter, training.target, training.bank.sizes
    seed = child_seed(training.seed, "control", name)
    if name in ("frozen_random", "constant"):
        p = frozen_random(sizes, seed=seed) if name == "frozen_random" else constant(sizes)
        trials = training.config.trials if training.config.trials > 1 else 0
        epochs = training.schedule.epochs if trials else training.schedule.total_epochs
        return Control(name, replace(run, total_epochs=epochs), p, trials)
    initial = target.flat(dict(target.module.named_parameters()))
    generator: Generator
    match name:
        case "random_subspace":
            generator = RandomSubspaceGenerator(initial, min(trainable_parameters(training), target.size), seed=seed)
        case "plain_network":
            generator = DirectWeights(initial)
        case _:
            raise ConfigError(f"control {name!r} is unknown. Use one of {', '.join(CONTROLS)}.")
    # A covariance of all weights of a network would be too large for rotated-adam.
    config = training.config.model_copy(update={"lr": CONTROL_LR[name], "optimiser": "adam"})
    fitter = replace(run, generator=generator, config=config, total_epochs=training.schedule.total_epochs)
    return Control(name, fitter, torch.ones(1))


def trainable_parameters(training: Training) -> int:
    """Phases and generator parameters of a run: the budget that its controls get."""
    return training.bank.declared + training.fitter.generator.parameter_count


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
        state, result = fitter.run_epoch(state, training.batches, epoch, control.p)
        yield state, result
