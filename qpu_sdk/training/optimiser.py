"""Optimisers as rules without state: what they remember is named tensors, made once and handed back at each step.

Steps change parameters and state in place, as the underscore of ``step_`` says: whoever keeps a state takes a copy.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..errors import ConfigError

#: The step with the first eigenbasis of :class:`RotatedAdam`: fewer gradients say little of their covariance.
FIRST_BASIS = 20
#: Largest covariance of :class:`RotatedAdam`.
LARGEST_BLOCK = 1000
#: How names of what :class:`FirstApart` remembers of the first parameter begin.
_FIRST = "first."

#: What is remembered, by name; some optimisers add to it at their first step.
NamedTensors = dict[str, Tensor]


class Optimiser(abc.ABC):
    """Changes parameters from their gradients; ``state["count"]`` says how often it has."""

    @abc.abstractmethod
    def init(self, parameters: Sequence[Tensor]) -> NamedTensors:
        """The state before the first step, for parameters of these shapes."""

    @abc.abstractmethod
    def step_(self, state: NamedTensors, parameters: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
        """One step with learning rate ``lr``, in place; gradients in the order of the parameters."""


@final
@dataclass(frozen=True)
class Adam(Optimiser):
    """Kingma and Ba, arXiv:1412.6980, on all parameters as one vector (few, so this is the fast way).

    >>> adam, x = Adam(), torch.tensor([3.0])
    >>> state = adam.init([x])
    >>> for _ in range(200):
    ...     adam.step_(state, [x], [2 * x], 0.1)
    >>> bool(x.abs() < 0.1), int(state["count"])
    (True, 200)
    """

    beta1: float = 0.9
    beta2: float = 0.999

    def init(self, parameters: Sequence[Tensor]) -> NamedTensors:
        """Both moments, ``(P,)`` for P numbers in all, and the step count."""
        size = sum(q.numel() for q in parameters)
        return {"mean": torch.zeros(size), "square": torch.zeros(size), "count": torch.zeros((), dtype=torch.int64)}

    def step_(self, state: NamedTensors, parameters: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
        """x <- x - lr m / (sqrt(v) + 1e-8), both moments bias-corrected."""
        mean, square, count = state["mean"], state["square"], _counted(state)
        g = torch.cat([gradient.reshape(-1) for gradient in gradients])
        mean.mul_(self.beta1).add_(g, alpha=1 - self.beta1)
        square.mul_(self.beta2).addcmul_(g, g, value=1 - self.beta2)
        root = square.sqrt().div_((1 - self.beta2**count) ** 0.5).add_(1e-8)
        _subtract(parameters, mean / root * (lr / (1 - self.beta1**count)))


@final
@dataclass(frozen=True)
class RotatedAdam(Optimiser):
    """Adam in the eigenbasis of the gradients' covariance, as in SOAP (Vyas et al., arXiv:2409.11321).

    A matrix product has gauge freedom: many directions of its parameters do nothing and others are strongly
    coupled, which a rate per parameter cannot see. With few parameters the whole covariance C of the gradients is
    affordable; every ``period`` steps its eigenbasis Q is renewed and the second moments v restart from its
    eigenvalues. The step is Q d with d = Q^T m / (sqrt(v) + damping max sqrt(v)), each component at most ``limit``.
    Before step :data:`FIRST_BASIS` there is no basis, and the step is plain Adam's: Q = 1 without damping.

    Groups of neighbouring parameters have a covariance of their own, see :func:`covariance_blocks`.
    """

    beta1: float = 0.9
    beta2: float = 0.99
    period: int = 50
    damping: float = 3e-3
    limit: float = 1.5

    def init(self, parameters: Sequence[Tensor]) -> NamedTensors:
        """Moments ``(P,)``, a covariance and a basis ``(b, b)`` for each block, and the step count.

        :raises ConfigError: when a covariance would be too large.
        """
        size = sum(q.numel() for q in parameters)
        state = {"mean": torch.zeros(size), "square": torch.zeros(size), "count": torch.zeros((), dtype=torch.int64)}
        for i, b in enumerate(covariance_blocks(parameters)):
            state |= {f"covariance{i}": torch.zeros(b, b), f"basis{i}": torch.eye(b)}
        return state

    def step_(self, state: NamedTensors, parameters: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
        """One step; the first ones, before there is a basis, along the parameters themselves."""
        mean, square, count = state["mean"], state["square"], _counted(state)
        covariances, bases = _numbered("covariance", state), _numbered("basis", state)
        g = torch.cat([gradient.reshape(-1) for gradient in gradients]).to(mean.dtype)  # phases are of 64 bits
        for covariance, part in zip(covariances, torch.split(g, [len(c) for c in covariances]), strict=True):
            covariance.addr_(part, part, beta=self.beta2, alpha=1 - self.beta2)
        mean.mul_(self.beta1).add_(g, alpha=1 - self.beta1)
        if count == FIRST_BASIS or count % self.period == 0:  # the first one early: until then gauge freedom is unseen
            _renew_bases(covariances, bases, square)
        rotated = _rotate(bases, g, forward=True)
        square.mul_(self.beta2).addcmul_(rotated, rotated, value=1 - self.beta2)
        root = square.div(1 - self.beta2**count).sqrt_()
        direction = _rotate(bases, mean, forward=True) / (1 - self.beta1**count)
        damping = self.damping if count >= FIRST_BASIS else 0.0
        # Bounded: just after a renewal the smallest eigenvalues make the largest quotients.
        direction = (direction / (root + damping * root.max() + 1e-8)).clamp_(-self.limit, self.limit)
        _subtract(parameters, _rotate(bases, direction, forward=False) * lr)


@final
@dataclass(frozen=True)
class FirstApart(Optimiser):
    """One optimiser for the first parameter, at a rate of its own, and another for the rest.

    :param ratio: of the learning rates, the first parameter's to the others'.

    >>> both, x, y = FirstApart(Adam(), Adam(), 2.0), torch.tensor([3.0]), torch.tensor([3.0])
    >>> both.step_(both.init([x, y]), [x, y], [2 * x, 2 * y], 0.1)
    >>> round(float(x), 4), round(float(y), 4)
    (2.8, 2.9)
    """

    first: Optimiser
    rest: Optimiser
    ratio: float

    def init(self, parameters: Sequence[Tensor]) -> NamedTensors:
        """Both states, that of the first parameter under names of its own."""
        own = {f"{_FIRST}{name}": tensor for name, tensor in self.first.init(parameters[:1]).items()}
        return {**self.rest.init(parameters[1:]), **own}

    def step_(self, state: NamedTensors, parameters: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
        """One step of each."""
        own = {name.removeprefix(_FIRST): tensor for name, tensor in state.items() if name.startswith(_FIRST)}
        rest = {name: tensor for name, tensor in state.items() if not name.startswith(_FIRST)}
        self.first.step_(own, parameters[:1], gradients[:1], self.ratio * lr)
        self.rest.step_(rest, parameters[1:], gradients[1:], lr)
        state.update(rest)
        state.update({f"{_FIRST}{name}": tensor for name, tensor in own.items()})


def _counted(state: NamedTensors) -> int:
    """Count one more step, and give their number."""
    return int(state["count"].add_(1))


def _numbered(name: str, state: NamedTensors) -> list[Tensor]:
    """The tensors of all blocks, in their order."""
    # By number: a file lists names as texts, with basis10 before basis2.
    return [state[f"{name}{i}"] for i in range(sum(key.startswith(name) for key in state))]


def _renew_bases(covariances: Sequence[Tensor], bases: Sequence[Tensor], square: Tensor) -> None:
    """Eigenbases of the covariances; second moments restart as their eigenvalues (equally biased)."""
    parts = torch.split(square, [len(basis) for basis in bases])
    for covariance, basis, part in zip(covariances, bases, parts, strict=True):
        # In float32, which is off by 1e-7 of the largest: the damping hides what is below 1e-5 of it.
        values, vectors = torch.linalg.eigh(covariance.cpu())  # not every accelerator has it
        basis.copy_(vectors)  # in place: eigh's own memory layout would not survive a checkpoint
        part.copy_(values.clamp_min(0.0))  # a zero may come out as -1e-20, and has a root


def _rotate(bases: Sequence[Tensor], vector: Tensor, *, forward: bool) -> Tensor:
    """Q^T v (forward) or Q v, block by block, ``(P,)``."""
    if len(bases) == 1:
        return torch.mv(bases[0].mT if forward else bases[0], vector)
    parts = zip(bases, torch.split(vector, [len(basis) for basis in bases]), strict=True)
    return torch.cat([(basis.T if forward else basis) @ part for basis, part in parts])


def _subtract(parameters: Sequence[Tensor], step: Tensor) -> None:
    with torch.no_grad():
        for q, part in zip(parameters, torch.split(step, [q.numel() for q in parameters]), strict=True):
            q.sub_(part.view_as(q))


def open_optimiser(name: str, *, beta2: float) -> Optimiser:
    """The optimiser a configuration names, ``adam`` or ``rotated-adam``; raises :class:`ConfigError` for others."""
    if name == "adam":
        return Adam(beta2=beta2)
    if name == "rotated-adam":
        return RotatedAdam(beta2=beta2)
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
