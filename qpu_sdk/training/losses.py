"""What training minimises: cross-entropy of classes, or a function of the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from .config import TrainingConfig
from .data import Dataset
from .factories import open_function, what_it_raised

#: ``(outputs, labels)`` of a batch to its mean loss, a scalar.
LossFunction = Callable[[Tensor, Tensor], Tensor]


@final
@dataclass(frozen=True)
class Loss:
    """The loss of a batch: a mean, so that batches of several sizes go together.

    :param function: of a user; None for cross-entropy.
    :param name: of it, as the configuration has it.
    :param classes: whether labels are classes and outputs a number a class, so that there is an accuracy.

    >>> round(CROSS_ENTROPY.mean(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])), 4)  # ln 2
    0.6931
    """

    function: LossFunction | None = None
    name: str | None = None
    classes: bool = True

    def objective(self, outputs: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
        """What is minimised, a scalar with its gradient.

        :param outputs: of the network, ``(n, ...)``.
        :param labels: ``(n, ...)``.
        :param smoothing: of labels, for cross-entropy alone.
        """
        if self.function is not None:
            return self.function(outputs, labels)
        if smoothing and outputs.ndim == 2:
            return F.cross_entropy(outputs, _smoothed(labels, outputs, smoothing))  # faster than torch's own smoothing
        return F.cross_entropy(outputs, labels, label_smoothing=smoothing)

    def mean(self, outputs: Tensor, labels: Tensor) -> float:
        """The loss alone, without smoothing, so that it compares across configurations.

        :param outputs: of the network, ``(n, ...)``.
        :param labels: ``(n, ...)``.
        """
        with torch.no_grad():
            return float(self.objective(outputs, labels, smoothing=0.0))

    def total(self, outputs: Tensor, labels: Tensor) -> float:
        """The loss of a batch summed over its images: the last batch of a pass may be smaller.

        :param outputs: of the network, ``(n, ...)``.
        :param labels: ``(n, ...)``.
        """
        if self.function is None:
            return float(F.cross_entropy(outputs, labels, reduction="sum"))
        return len(labels) * self.mean(outputs, labels)

    def right(self, outputs: Tensor, labels: Tensor) -> int:
        """How many outputs ``(n, classes)`` are largest at their label, ``(n,)``; 0 where labels are no classes."""
        return int((outputs.argmax(dim=1) == labels).sum()) if self.classes else 0

    def of(self, dataset: Dataset, outputs: Tensor, labels: Tensor) -> Loss:
        """The same once it is tried, which knows whether these labels are classes.

        :param outputs: of a few images, ``(n, ...)``, with a gradient.
        :param labels: of the same, ``(n, ...)``.
        :raises ConfigError: when the function raises, or gives no finite number with a gradient.
        """
        self._try(outputs, labels)
        many = dataset.classified and outputs.ndim == 2 and dataset.classes <= outputs.shape[1] > 1
        return replace(self, classes=many)

    def _try(self, outputs: Tensor, labels: Tensor) -> None:
        told = f"loss {self.name!r} of outputs {tuple(outputs.shape)} and labels {tuple(labels.shape)} {_kind(labels)}"
        try:
            value = self.objective(outputs, labels, smoothing=0.0)
        except (Exception, SystemExit) as error:  # it is the user's code: it may raise anything
            raise ConfigError(f"{told} raised {what_it_raised(error)}. Mend it.") from error
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
            tensor = isinstance(value, Tensor)
            found = f"a tensor of shape {tuple(value.shape)}" if tensor else f"a {type(value).__name__}"
            found += f" and type {_kind(value)}" if tensor and not value.is_floating_point() else ""
            raise ConfigError(f"{told} returned {found}. Return one real number, the mean over the batch, as a tensor.")
        if not value.requires_grad:
            raise ConfigError(f"{told} has no gradient. Compute it of the outputs, with torch.")
        if not math.isfinite(number := float(value.detach())):
            raise ConfigError(f"{told} is {number} before any training. Mend it.")


def _smoothed(labels: Tensor, outputs: Tensor, smoothing: float) -> Tensor:
    """Of each image 1 - s for its class and s shared by all, ``(n, classes)``."""
    shared = smoothing / outputs.shape[1]
    return torch.full_like(outputs, shared, requires_grad=False).scatter_(1, labels[:, None], 1.0 - smoothing + shared)


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


#: Of classes.
CROSS_ENTROPY = Loss()


def open_loss(config: TrainingConfig) -> Loss:
    """The loss that a configuration names.

    :raises ConfigError: when it cannot be found.
    """
    if config.loss is None:
        return CROSS_ENTROPY
    return Loss(open_function(config.loss, what="loss", folder=config.loss_folder), config.loss)
