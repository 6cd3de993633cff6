"""Optimisers of generator parameters; their state is named tensors, so a run can stop after any step."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from ..errors import ConfigError

#: Steps before the first eigenbasis of :class:`RotatedAdam`.
FIRST_BASIS = 20
#: Largest covariance of :class:`RotatedAdam`.
LARGEST_BLOCK = 1000


class Optimiser(abc.ABC):
    """Changes parameters in place from their gradients."""

    @abc.abstractmethod
    def step(self, gradients: Sequence[Tensor], lr: float) -> None:
        """One step with learning rate ``lr``; gradients in the order of the parameters."""

    @abc.abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The state, by name.

        :returns: by name; each of the shape of a parameter, or of its block ``(n, n)``.
        """

    @final
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set what :meth:`tensors` gave."""
        for name, own in self.tensors().items():
            own.copy_(tensors[name])


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
        """Both moments and the step count.

        :returns: by name; each of the shape of a parameter, or of its block ``(n, n)``.
        """
        return {"mean": self._mean, "square": self._square, "count": self._count}


@final
class RotatedAdam(Optimiser):
    """Adam in the eigenbasis of the gradients' covariance, as in SOAP (Vyas et al., arXiv:2409.11321).

    A matrix product has gauge freedom: many directions of its parameters do nothing and others are strongly
    coupled, which a rate per parameter cannot see. With few parameters the whole covariance C of the gradients is
    affordable; every ``period`` steps its eigenbasis Q is renewed and the second moments v restart from its
    eigenvalues. The step is Q d with d = Q^T m / (sqrt(v) + damping max sqrt(v)), each component at most ``limit``.

    :param blocks: sizes of the groups of neighbouring parameters that have a covariance of their own.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        blocks: Sequence[int],
        *,
        beta1: float = 0.9,
        beta2: float = 0.99,
        period: int = 50,
        damping: float = 3e-3,
        limit: float = 1.5,
    ) -> None:
        self._parameters = list(parameters)
        self._blocks = list(blocks)
        self._betas, self._period, self._damping, self._limit = (beta1, beta2), period, damping, limit
        size = sum(q.numel() for q in parameters)
        self._mean, self._square = torch.zeros(size), torch.zeros(size)
        self._covariances = [torch.zeros(b, b) for b in blocks]
        self._bases = [torch.eye(b) for b in blocks]
        self._count = torch.zeros((), dtype=torch.int64)

    def step(self, gradients: Sequence[Tensor], lr: float) -> None:
        """One step; the first ones, before there is a basis, only collect gradients."""
        g = torch.cat([gradient.reshape(-1) for gradient in gradients])
        beta1, beta2 = self._betas
        self._count += 1
        count = int(self._count)
        for covariance, part in zip(self._covariances, torch.split(g, self._blocks), strict=True):
            covariance.mul_(beta2).addr_(part, part, alpha=1 - beta2)
        self._mean.mul_(beta1).add_(g, alpha=1 - beta1)
        if count == FIRST_BASIS or count % self._period == 0:
            self._renew_bases()
        rotated = self._rotate(g, forward=True)
        self._square.mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        if count <= FIRST_BASIS:
            return
        root = self._square.div(1 - beta2**count).sqrt_()
        direction = self._rotate(self._mean, forward=True) / (1 - beta1**count)
        direction = (direction / (root + self._damping * root.max() + 1e-8)).clamp_(-self._limit, self._limit)
        _subtract(self._parameters, self._rotate(direction, forward=False) * lr)

    def _renew_bases(self) -> None:
        """Eigenbases of the covariances; second moments restart as their eigenvalues (equally biased)."""
        for i, (covariance, square) in enumerate(
            zip(self._covariances, torch.split(self._square, self._blocks), strict=True)
        ):
            values, basis = torch.linalg.eigh(covariance.double())
            self._bases[i].copy_(basis)  # in place: eigh's own memory layout would not survive a checkpoint
            square.copy_(values.clamp_min(0.0))

    def _rotate(self, vector: Tensor, *, forward: bool) -> Tensor:
        parts = zip(self._bases, torch.split(vector, self._blocks), strict=True)
        return torch.cat([(basis.T if forward else basis) @ part for basis, part in parts])

    def tensors(self) -> dict[str, Tensor]:
        """Moments, covariances, bases and the step count.

        :returns: by name; each of the shape of a parameter, or of its block ``(n, n)``.
        """
        out = {"mean": self._mean, "square": self._square, "count": self._count}
        for i, (covariance, basis) in enumerate(zip(self._covariances, self._bases, strict=True)):
            out |= {f"covariance{i}": covariance, f"basis{i}": basis}
        return out


def _subtract(parameters: Sequence[Tensor], step: Tensor) -> None:
    with torch.no_grad():
        for q, part in zip(parameters, torch.split(step, [q.numel() for q in parameters]), strict=True):
            q.sub_(part.view_as(q))


def open_optimiser(name: str, parameters: Sequence[Tensor], *, beta2: float) -> Optimiser:
    """The optimiser a configuration names: ``adam`` or ``rotated-adam``.

    :raises ConfigError: for an unknown name.
    """
    if name == "adam":
        return Adam(parameters, beta2=beta2)
    if name == "rotated-adam":
        return RotatedAdam(parameters, covariance_blocks(parameters), beta2=beta2)
    raise ConfigError(f"optimiser {name!r} is unknown. Use adam or rotated-adam.")


def covariance_blocks(parameters: Sequence[Tensor]) -> list[int]:
    """One block of everything up to :data:`LARGEST_BLOCK` parameters, else a block a tensor, cut along its first axis.

    :raises ConfigError: when a block would have more than :data:`LARGEST_BLOCK` parameters.

    >>> covariance_blocks([torch.zeros(13, 6, 6), torch.zeros(6)]), covariance_blocks([torch.zeros(14, 10, 20)])
    ([474], [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200])
    """
    total = sum(q.numel() for q in parameters)
    if total <= LARGEST_BLOCK:
        return [total]
    blocks: list[int] = []
    for q in parameters:
        rows = 1 if q.numel() <= LARGEST_BLOCK // 4 else len(q)
        blocks += [q.numel() // rows] * rows
    if max(blocks) > LARGEST_BLOCK:
        raise ConfigError(f'rotated-adam would need a covariance of {max(blocks)} parameters. Use optimiser = "adam".')
    return blocks
