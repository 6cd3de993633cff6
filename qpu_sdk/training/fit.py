"""Fit a generator with p frozen: the part of training that needs no circuit."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..generator.mps import Generator
from ..seeds import child_seed
from .accelerator import CPU, on_device
from .batches import Batches
from .config import TrainingConfig
from .losses import CROSS_ENTROPY, Loss
from .optimiser import NamedTensors, Optimiser
from .ordinary import optimiser_of
from .places import Places
from .targets import Target


@final
@dataclass(frozen=True)
class EpochResult:
    """Means over the batches of one epoch, measured while the weights moved.

    :param accuracy: None where labels are no classes.
    """

    loss: float
    accuracy: float | None
    lr: float

    @property
    def figures(self) -> dict[str, float]:
        """Loss and, where there is one, accuracy."""
        return epoch_figures(self.loss, self.accuracy)


@final
@dataclass(frozen=True, eq=False)
class FitState:
    """Where the fit of a generator stands.

    :param parameters: of the generator, by name.
    :param optimiser: what the optimiser remembers, by name.
    """

    parameters: NamedTensors = field(repr=False)
    optimiser: NamedTensors = field(repr=False)

    @property
    def step(self) -> int:
        """Steps that were taken."""
        return int(self.optimiser["count"])

    def copy(self) -> FitState:
        """The same in memory of its own."""
        return FitState(clones(self.parameters), clones(self.optimiser))

    def to(self, device: torch.device) -> FitState:
        """The same on a device, but for the count of steps, which would be waited for there at every step."""
        parameters = {name: tensor.to(device) for name, tensor in self.parameters.items()}
        return FitState(parameters, {n: t if n == "count" else t.to(device) for n, t in self.optimiser.items()})


@final
@dataclass(frozen=True, eq=False)
class Fitter:
    """One generator and one target under one optimiser and one schedule over all epochs of a run; it holds no state.

    With step t of T and warm-up W = warmup T, the rate is lr min(t / W, f + (1 - f) (1 + cos(pi t / T)) / 2) with
    f = final_lr, whatever circuit work lies between the steps. Gradients are clipped to norm ``clip``.

    :param generator: of which the structure counts; its own parameters are neither read nor changed.
    :param total_epochs: epochs of the whole run.
    :param steps_per_epoch: batches of one epoch.
    :param seed: of what the network draws in its steps, as dropout does.
    :param device: where the steps are done; states are on the CPU before and after an epoch.
    """

    generator: Generator
    target: Target
    config: TrainingConfig
    total_epochs: int
    steps_per_epoch: int
    seed: int
    loss: Loss = CROSS_ENTROPY
    device: torch.device = CPU

    def there(self) -> Fitter:
        """The same with generator and target on the device, as they are now: controls change theirs between epochs."""
        if self.device == CPU:
            return self
        return replace(
            self, generator=copy.deepcopy(self.generator).to(self.device), target=self.target.to(self.device)
        )

    @functools.cached_property
    def optimiser(self) -> Optimiser:
        """The rule that the configuration names."""  # kept: one of a user's own is imported
        return optimiser_of(self.generator, self.config)

    def init(self, *, seed: int) -> FitState:
        """Fresh parameters and a fresh optimiser, at the first step of the schedule.

        :raises ConfigError: when the optimiser does not take so many parameters.
        """
        fresh = copy.deepcopy(self.generator)  # reset() works in place, and all trials share this one
        fresh.reset(seed=seed)
        parameters = {name: q.detach() for name, q in fresh.named_parameters()}
        return FitState(parameters, self.optimiser.init(list(parameters.values())))

    def parameters(self, state: FitState) -> list[Tensor]:
        """In the generator's order, whatever that of the names: a state that comes from a file has another.

        :returns: the parameters, with the same shapes as the generator's.
        """
        return [state.parameters[name] for name in self._names]

    @cached_property
    def _names(self) -> list[str]:
        return [name for name, _ in self.generator.named_parameters()]

    def rate(self, step: int) -> float:
        """Learning rate of one step."""
        # From 1: a warm-up from 0 would waste its first step.
        total, t = max(1, self.total_epochs * self.steps_per_epoch), step + 1
        cosine = (1.0 + math.cos(math.pi * min(t / total, 1.0))) / 2.0
        decay = self.config.final_lr + (1.0 - self.config.final_lr) * cosine
        warm = self.config.warmup * total
        return self.config.lr * min(decay, t / warm if warm > 0 else 1.0)

    def run_epoch(self, state: FitState, batches: Batches, epoch: int, p: Tensor) -> tuple[FitState, EpochResult]:
        """One pass over the training images with p frozen; ``state`` is left as it was.

        :raises ConfigError: when the loss, or what was trained, is not finite.
        """
        there, p = self.there(), p.to(self.device)
        state = state.copy().to(self.device)  # what follows works in place, and a checkpoint may hold the old one
        passes = on_device(batches.epoch(epoch, self.config.batch_size), self.device)
        with diverging(f"epoch {epoch + 1}", "training.lr, or clip with training.clip"):
            loss, accuracy = one_pass(passes, lambda x, y: there.step_(state, p, x, y), self.loss)
            # The loss is of before the last step, which may be the one that went too far.
            check_finite(loss, [*self.parameters(state), there.weights(state, p)])
        return state.to(CPU), EpochResult(loss, accuracy, self.rate(state.step - 1))

    def step_(self, state: FitState, p: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """One step on one batch, in place; gives the network's outputs from before the step.

        :param images: ``(n, C, H, W)``.
        :returns: outputs, ``(n, classes)`` or as the loss takes them.
        """
        with gradients_of(self.parameters(state)) as parameters:
            objective, logits = self.objective(state, p, images, labels)
            gradients = torch.autograd.grad(objective, parameters)  # backward() would leave them behind in .grad
        self.apply_(state, gradients)
        return logits

    def objective(self, state: FitState, p: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What is minimised, and the outputs without gradient, ``(n, classes)`` or as the loss takes them.

        Cross-entropy with ``label_smoothing``, or the user's own loss, plus ``weight_penalty`` times the sum of the
        squared generated weights.
        """
        weights = self._generated(state, p)
        drawn = child_seed(self.seed, "step", state.step)  # of the step alone, so that a resumed run has the same bits
        logits = self.target.logits(weights, images, learning=True, seed=drawn)
        value = self.loss.objective(logits, labels, smoothing=self.config.label_smoothing)
        if self.config.weight_penalty:
            own = weights[: self.target.generated]
            value = value + self.config.weight_penalty * torch.dot(own, own)
        return value, logits.detach()

    def apply_(self, state: FitState, gradients: Sequence[Tensor]) -> None:
        """One step of the optimiser, in place."""
        clipped = clip_by_norm(gradients, self.config.clip)
        self.optimiser.step_(state.optimiser, self.parameters(state), clipped, self.rate(state.step))

    def weights(self, state: FitState, p: Tensor) -> Tensor:
        """The generated weights, without gradient, ``(target.size,)``."""
        with torch.no_grad():
            return self._generated(state, p)

    def _generated(self, state: FitState, p: Tensor) -> Tensor:
        with self._places.holding(dict(state.parameters)):
            weights: Tensor = self.generator(p)
        return weights

    @cached_property
    def _places(self) -> Places:
        return Places(self.generator)


def trial_seed(seed: int, name: str, trial: int) -> int:
    """Seed of what a trial starts from; the first trial starts where a run without trials does."""
    return child_seed(seed, name, trial) if trial else child_seed(seed, name)


def one_pass(
    batches: Iterable[tuple[Tensor, Tensor]], step: Callable[[Tensor, Tensor], Tensor], loss: Loss = CROSS_ENTROPY
) -> tuple[float, float | None]:
    """Mean loss, and accuracy where labels are classes, of what ``step`` says of each batch, ``(n, classes)``."""
    total, right, seen = 0.0, 0, 0
    for images, labels in batches:
        outputs = step(images, labels)
        total += loss.total(outputs, labels)
        right += loss.right(outputs, labels)
        seen += len(labels)
    return total / seen, right / seen if loss.classes else None


def epoch_figures(loss: float, accuracy: float | None) -> dict[str, float]:
    """Of a row: the accuracy where there is one."""
    return {"loss": loss} if accuracy is None else {"loss": loss, "accuracy": accuracy}


@contextmanager
def diverging(where: str, keys: str) -> Iterator[None]:
    """Work that may diverge: what then happens is one error that says where, and what to change.

    :param keys: of the configuration, to lower.
    :raises Diverged: of :func:`check_finite`.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # said by the error, and not by numpy as well
            yield
    except _NotFinite as error:
        raise Diverged(f"training diverged in {where}: {error}. Lower {keys}.") from None


def check_finite(loss: float, trained: Iterable[Tensor]) -> None:
    """End work under :func:`diverging` when a loss, or what was trained, is not finite."""
    if not math.isfinite(loss):
        raise _NotFinite(f"the loss is {loss}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in trained):
        raise _NotFinite(f"the loss was {loss:.3g}, and then a parameter or a weight was no finite number any more")


@final
class Diverged(ConfigError):
    """Training left the finite numbers: steps were too long."""


@final
class _NotFinite(ArithmeticError):
    """What :func:`diverging` waits for."""


@contextmanager
def gradients_of(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors as variables of what is computed inside.

    They have the same shapes, and need no gradient any more afterwards.
    """
    variables = [tensor.requires_grad_() for tensor in tensors]
    try:
        yield variables
    finally:
        for variable in variables:
            variable.requires_grad_(False)


def clones(tensors: NamedTensors) -> dict[str, Tensor]:
    """Copies in memory of their own.

    :returns: by name, with the same shapes.
    """
    return {name: tensor.clone() for name, tensor in tensors.items()}


def clip_by_norm(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Scale gradients so that their joint norm is at most ``limit`` (0: leave them).

    :returns: with the same shapes.
    """
    if not limit:
        return list(gradients)
    norm = torch.sqrt(torch.stack([g.square().sum() for g in gradients]).sum())
    scale = (limit / norm.clamp_min(1e-12)).clamp_max(1.0)  # gradients of exactly 0 stay 0
    return [g * scale for g in gradients]
