"""Optimisers of generator parameters; their state is named tensors, so a run can stop after any step."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from ..errors import ConfigError


class Optimiser(abc.ABC):
    """Changes parameters in place from their gradients."""

    @abc.abstractmethod
    def step(self, gradients: Sequence[Tensor], lr: float) -> None:
        """One step with learning rate ``lr``; gradients in the order of the parameters."""

    @abc.abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The state, by name."""

    @abc.abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set what :meth:`tensors` gave."""


@final
class Adam(Optimiser):
    """Kingma and Ba, arXiv:1412.6980, on all parameters as one vector (few, so this is the fast way)."""

    def __init__(self, parameters: Sequence[Tensor], *, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self._parameters = list(parameters)
        size = sum(q.numel() for q in parameters)
        self._betas = (beta1, beta2)
        self._mean, self._square = torch.zeros(size), torch.zeros(size)
        self._count = torch.zeros((), dtype=torch.int64)

    def step(self, gradients: Sequence[Tensor], lr: float) -> None:
        """x <- x - lr m / (sqrt(v) + 1e-8), both moments bias-corrected."""
        g = torch.cat([gradient.reshape(-1) for gradient in gradients])
        beta1, beta2 = self._betas
        self._count += 1
        count = int(self._count)
        self._mean.mul_(beta1).add_(g, alpha=1 - beta1)
        self._square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        root = self._square.sqrt().div_((1 - beta2**count) ** 0.5).add_(1e-8)
        _subtract(self._parameters, self._mean / root * (lr / (1 - beta1**count)))

    def tensors(self) -> dict[str, Tensor]:
        """Both moments and the step count."""
        return {"mean": self._mean, "square": self._square, "count": self._count}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set what :meth:`tensors` gave."""
        self._mean.copy_(tensors["mean"])
        self._square.copy_(tensors["square"])
        self._count.copy_(tensors["count"])


def _subtract(parameters: Sequence[Tensor], step: Tensor) -> None:
    with torch.no_grad():
        for q, part in zip(parameters, torch.split(step, [q.numel() for q in parameters]), strict=True):
            q.sub_(part.view_as(q))


def open_optimiser(name: str, parameters: Sequence[Tensor], *, beta2: float) -> Optimiser:
    """The optimiser a configuration names."""
    if name == "adam":
        return Adam(parameters, beta2=beta2)
    raise ConfigError(f"optimiser {name!r} is unknown. Use adam.")
