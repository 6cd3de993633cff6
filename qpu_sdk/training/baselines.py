"""Generators without circuits: other ways to make all weights of a network of fewer trained numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..generator.factors import JointOutcomes
from ..generator.mps import Generator
from ..seeds import child_seed
from .targets import Target

#: Entries that the dense random matrix of :class:`RandomSubspaceGenerator` may have (4 bytes each).
MAX_ENTRIES = 250_000_000


@final
class NoSuchControl(ConfigError):
    """A control that cannot exist for this network within this budget."""


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
            raise NoSuchControl(
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

    def forward(self, p: JointOutcomes) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        matrix: Tensor = self.get_buffer("matrix")
        return self.get_buffer("initial") + matrix @ self.theta


@final
class DirectWeights(Generator):
    """The plain network: every weight is a parameter.

    :param initial: the network's own seeded initial weights, ``(target_size,)``.
    :param starts: gives other initial weights, ``(target_size,)``, for every seed; None: there is but one start.
    """

    def __init__(self, initial: Tensor, starts: Callable[[int], Tensor] | None = None) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed = len(initial), 0
        self.weights = nn.Parameter(initial.detach().clone())
        self.register_buffer("initial", initial.detach().clone(), persistent=False)
        self._starts = starts

    def reset(self, *, seed: int) -> None:
        """The initial weights of this seed, or the only ones."""
        with torch.no_grad():
            self.weights.copy_(self.get_buffer("initial") if self._starts is None else self._starts(seed))

    def forward(self, p: JointOutcomes) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        return self.weights


@final
class PrunedWeights(Generator):
    """The plain network with most weights held at zero: w = m * theta with m in {0, 1}.

    :param initial: the network's own seeded initial weights, ``(target_size,)``.
    :param keep: weights that are not zero in the end, which is what is counted; where they are is not.

    >>> generator = PrunedWeights(torch.tensor([3.0, 1.0, 2.0]), 1)
    >>> generator.prune_(generator.weights, 1)
    >>> generator(torch.ones(1)).tolist(), generator.parameter_count
    ([3.0, 0.0, 0.0], 1)
    """

    mask: Tensor

    def __init__(self, initial: Tensor, keep: int) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed, self.keep = len(initial), 0, keep
        self.weights = nn.Parameter(initial.detach().clone())
        self.register_buffer("initial", initial.detach().clone(), persistent=False)
        self.register_buffer("mask", torch.ones(len(initial)), persistent=False)

    def reset(self, *, seed: int) -> None:
        """The initial weights, all of them; there is but one start and the seed is ignored."""
        with torch.no_grad():
            self.weights.copy_(self.get_buffer("initial"))
            self.mask.fill_(1.0)

    def prune_(self, weights: Tensor, count: int) -> None:
        """Leave the ``count`` largest magnitudes, over all layers; what is pruned comes back only with all weights.

        :param weights: values of the parameter, ``(target_size,)``.
        """
        if count >= self.target_size:
            self.mask.fill_(1.0)
            return
        kept = (weights.detach() * self.mask).abs().topk(count).indices
        self.mask.zero_()[kept] = 1.0

    @property
    def parameter_count(self) -> int:
        """Weights that are not held at zero in the end."""
        return self.keep

    def forward(self, p: JointOutcomes) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        return self.weights * self.mask


@final
@dataclass(frozen=True)
class PruningSchedule:
    """How many weights stay in an epoch: keep + (size - keep) (1 - (epoch - begin) / (end - begin))^3.

    The cubic schedule of Zhu and Gupta, arXiv:1710.01878; with ``end = begin`` all are pruned at once.

    >>> schedule = PruningSchedule(size=100, keep=10, begin=2, end=4)
    >>> [schedule.count(epoch) for epoch in range(6)]
    [100, 100, 100, 21, 10, 10]
    """

    size: int
    keep: int
    begin: int
    end: int

    def count(self, epoch: int) -> int:
        """Weights that are not zero in this epoch, from 0."""
        if epoch >= self.end:
            return self.keep
        left = 1.0 - max(0, epoch - self.begin) / max(1, self.end - self.begin)
        return self.keep + round((self.size - self.keep) * left**3)


@final
class FreshRandomGenerator(Generator):
    """The published ablation of arXiv:2505.08474, which is void: w_i = beta (eps_i - mean eps), drawn anew each call.

    It gives one random bit string to all rows in place of their own, and a normal eps_i in place of p_i, so that all
    weights are one number times noise. Whatever is trained, the network is another at the next call.

    :param inner: whose beta it is, of the slope of w_i by p_i in the drawn row.
    :param seed: of the draws; calls are counted.
    """

    def __init__(self, inner: Generator, *, seed: int) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed = inner.target_size, 0
        self.inner = inner
        self._seed, self._calls = seed, 0

    def reset(self, *, seed: int) -> None:
        """A fresh start of the generator inside; the draws go on."""
        self.inner.reset(seed=seed)

    def forward(self, p: JointOutcomes) -> Tensor:
        """The weights of this call; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        rng = torch.Generator().manual_seed(child_seed(self._seed, "call", self._calls))
        self._calls += 1
        n = self.target_size
        row = int(torch.randint(n, (), generator=rng))
        noise = torch.randn(n, generator=rng)
        one = torch.zeros(n, device=next(self.inner.parameters()).device)
        one[row] = 1.0
        # The mean over rows, which generators subtract, takes 1/n of the slope along.
        slope: Tensor = (self.inner(one) - self.inner(torch.zeros_like(one)))[row] * (n / max(1, n - 1))
        return slope * (noise - noise.mean()).to(one.device)


def initial_weights(target: Target) -> Tensor:
    """The network's own seeded initial weights, ``(target.size,)`` float32."""
    return target.flat(dict(target.module.named_parameters())).float()
