"""Fit a generator with p frozen: the part of training that needs no circuit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from ..generator.mps import Generator
from ..seeds import child_seed
from .config import TrainingConfig
from .data import Dataset, check_labels
from .optimiser import open_optimiser
from .targets import Target

EVALUATION_BATCH = 1000


@final
@dataclass(frozen=True, eq=False)
class Batches:
    """Training images as tensors, in an order that depends on seed and epoch alone."""

    images: Tensor
    labels: Tensor
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, *, seed: int) -> Batches:
        """The training part of a dataset."""
        return cls(torch.from_numpy(dataset.x_train), torch.from_numpy(dataset.y_train), seed)

    def epoch(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches; the last one may be smaller."""
        order = np.random.default_rng(child_seed(self.seed, "epoch", epoch)).permutation(len(self.labels))
        for chosen in torch.split(torch.from_numpy(order), size):
            yield self.images[chosen], self.labels[chosen]

    def sample(self, size: int, label: int) -> tuple[Tensor, Tensor]:
        """A fixed random subset, for losses that are to be compared."""
        rng = np.random.default_rng(child_seed(self.seed, "sample", label))
        chosen = torch.from_numpy(rng.permutation(len(self.labels))[:size])
        return self.images[chosen], self.labels[chosen]


@final
@dataclass(frozen=True)
class EpochResult:
    """Means over the batches of one epoch, measured while the weights moved."""

    loss: float
    accuracy: float
    lr: float


@final
class Fitter:
    """One generator and one target under one optimiser and one schedule over all epochs of a run.

    With step t of T and warm-up W = warmup T, the rate is lr min(t / W, f + (1 - f) (1 + cos(pi t / T)) / 2) with
    f = final_lr, whatever circuit work lies between the steps. Gradients are clipped to norm ``clip``.

    :param total_epochs: epochs of the whole run.
    :param steps_per_epoch: batches of one epoch.
    """

    def __init__(
        self, generator: Generator, target: Target, config: TrainingConfig, *, total_epochs: int, steps_per_epoch: int
    ) -> None:
        self.generator, self.target, self._config = generator, target, config
        self._total = max(1, total_epochs * steps_per_epoch)
        self._parameters = list(generator.parameters())
        self._restart_optimiser()

    def _restart_optimiser(self) -> None:
        self._optimiser = open_optimiser(self._config.optimiser, self._parameters, beta2=self._config.beta2)
        self.step = 0

    def reset(self, *, seed: int) -> None:
        """Begin again: fresh parameters, fresh optimiser, first step of the schedule."""
        self.generator.reset(seed=seed)
        self._restart_optimiser()

    def rate(self, step: int) -> float:
        """Learning rate of one step."""
        config, t = self._config, step + 1
        cosine = (1.0 + math.cos(math.pi * min(t / self._total, 1.0))) / 2.0
        decay = config.final_lr + (1.0 - config.final_lr) * cosine
        warm = config.warmup * self._total
        return config.lr * min(decay, t / warm if warm > 0 else 1.0)

    def run_epoch(self, batches: Batches, epoch: int, p: Tensor) -> EpochResult:
        """One pass over the training images with p frozen."""
        loss, correct, seen = 0.0, 0, 0
        for images, labels in batches.epoch(epoch, self._config.batch_size):
            logits = self.run_batch(p, images, labels)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(dim=1) == labels).sum())
            seen += len(labels)
        if not math.isfinite(loss):
            raise ConfigError(f"training diverged in epoch {epoch + 1}: the loss is {loss}. Lower training.lr.")
        return EpochResult(loss / seen, correct / seen, self.rate(self.step - 1))

    def run_batch(self, p: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """One step on one batch; gives the logits from before the step."""
        objective, logits = self.objective(p, images, labels)
        self.apply(torch.autograd.grad(objective, self._parameters))
        return logits

    def objective(self, p: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What is minimised, and the logits without gradient.

        Cross-entropy with ``label_smoothing``, plus ``weight_penalty`` times the sum of the squared weights.
        """
        weights = self.generator(p)
        logits = self.target.logits(weights, images)
        value = F.cross_entropy(logits, labels, label_smoothing=self._config.label_smoothing)
        if self._config.weight_penalty:
            value = value + self._config.weight_penalty * weights.square().sum()
        return value, logits.detach()

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """One step of the optimiser."""
        clipped = clip_by_norm(gradients, self._config.clip)
        self._optimiser.step(clipped, self.rate(self.step))
        self.step += 1

    def weights(self, p: Tensor) -> Tensor:
        """The generated weights, without gradient."""
        with torch.no_grad():
            weights: Tensor = self.generator(p).detach()
        return weights

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, by name."""
        parameters = {f"generator.{name}": q.detach() for name, q in self.generator.named_parameters()}
        return parameters | {f"optimiser.{name}": t for name, t in self._optimiser.tensors().items()}

    def restore(self, tensors: Mapping[str, Tensor], *, step: int) -> None:
        """Set what :meth:`tensors` gave."""
        with torch.no_grad():
            for name, q in self.generator.named_parameters():
                q.copy_(tensors[f"generator.{name}"])
        prefix = "optimiser."
        self._optimiser.restore({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        self.step = step


def clip_by_norm(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Scale gradients so that their joint norm is at most ``limit`` (0: leave them)."""
    if not limit:
        return list(gradients)
    norm = torch.sqrt(torch.stack([g.square().sum() for g in gradients]).sum())
    scale = (limit / norm.clamp_min(1e-12)).clamp_max(1.0)
    return [g * scale for g in gradients]


def check_fit(target: Target, images: Tensor, dataset: Dataset) -> None:
    """Raise unless the network takes these images and tells all their labels apart.

    :raises ConfigError: for images of another shape.
    :raises DataError: for labels beyond the network's classes.
    """
    try:
        with torch.no_grad():
            logits = target.logits(torch.zeros(target.size), images[:1])
    except RuntimeError as error:
        shape, reason = tuple(images.shape[1:]), str(error).splitlines()[0]
        raise ConfigError(
            f"the target does not take images of shape {shape} ({reason}). Use another target."
        ) from error
    check_labels(dataset, logits.shape[1])


@final
@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and accuracy (a fraction) on ``size`` images."""

    loss: float
    accuracy: float
    size: int


def evaluate(target: Target, weights: Tensor, images: Tensor, labels: Tensor) -> Evaluation:
    """Run the plain network on images, ``(n, 1, H, W)``, in batches."""
    loss, correct = 0.0, 0
    with torch.no_grad():
        for x, y in zip(*(torch.split(t, EVALUATION_BATCH) for t in (images, labels)), strict=True):
            logits = target.logits(weights, x)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
            correct += int((logits.argmax(dim=1) == y).sum())
    return Evaluation(loss / len(labels), correct / len(labels), len(labels))
