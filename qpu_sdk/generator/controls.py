"""Controls: what the same budget reaches without a trained photonic circuit.

An accuracy of a photonic generator says little unless it is beside

* ``frozen_random``: the same generator and schedule, p drawn once at random and frozen;
* ``constant``: the same generator and schedule, p_i = 1 for every outcome;
* ``random_subspace``: as many trainable numbers, mapped to the weights by a fixed random matrix
  (Li et al., arXiv:1804.08838), no p at all;
* the plain network, all weights trained (:mod:`qpu_sdk.training.baselines`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .mps import Generator

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
