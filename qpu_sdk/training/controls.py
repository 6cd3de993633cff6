"""Controls: what the same budget reaches without a trained photonic circuit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..generator.mps import Generator
from ..seeds import child_seed
from .config import RunConfig
from .fit import Batches, EpochResult, Fitter
from .schedule import schedule_epochs, total_epochs
from .targets import Target

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
        p = np.outer(p, q / q.mean()).ravel()
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
        rng = torch.Generator().manual_seed(seed)
        matrix = torch.randn(len(initial), dimension, generator=rng)
        self.theta = nn.Parameter(torch.zeros(dimension))
        self.register_buffer("matrix", matrix / matrix.norm(dim=0), persistent=False)
        self.register_buffer("initial", initial.detach().clone(), persistent=False)

    def reset(self, *, seed: int) -> None:
        """theta = 0; the subspace stays, so there is but one start and the seed is ignored."""
        with torch.no_grad():
            self.theta.zero_()

    def forward(self, p: Tensor) -> Tensor:
        """The weights; ``p`` is ignored."""
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
        """The weights; ``p`` is ignored."""
        return self.weights


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
