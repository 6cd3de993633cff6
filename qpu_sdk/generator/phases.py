"""A generator that trains almost nothing but the phases of the circuits: what do photons by themselves generate?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ..arrays import whole
from ..errors import ConfigError
from .factors import JointOutcomes, joint_slice
from .limits import MOST_WEIGHTS
from .mps import Generator


@final
class PhasesGenerator(Generator):
    """Weights that follow the joint distribution, each with a sign of its own.

        w_i = w0_i + g s_i sigma_i (p_i - 1)

    with fixed w0, the network's own seeded initial weights, fixed random signs s_i, and sigma_i the root mean square of
    w0 in the tensor that i belongs to. The gain g, 1/2 at the start, is the one number that is trained beside the
    phases: a network of any size is made of as many numbers as the circuits have, and one more.

    :param initial: w0, ``(target_size,)``.
    :param sizes: weights of each tensor, in their order.
    :param seed: of the signs.
    :raises ConfigError: when sizes do not add up.

    >>> generator = PhasesGenerator(torch.ones(4), [3, 1], seed=1)
    >>> generator.parameter_count, sorted(generator(torch.tensor([1.0, 1.0, 3.0, 1.0])).tolist())[:3]
    (1, [0.0, 1.0, 1.0])
    """

    initial: Tensor
    change: Tensor

    def __init__(self, initial: Tensor, sizes: Sequence[int], *, seed: int) -> None:
        super().__init__()
        size = whole(len(initial), "target_size", ConfigError, most=MOST_WEIGHTS)
        if sum(sizes) != size:
            raise ConfigError(f"tensors of {sum(sizes)} weights are no {size} weights. Give the size of each.")
        self.target_size = self.outcomes_needed = size
        rng = torch.Generator().manual_seed(whole(seed, "seed", ConfigError, least=0, most=2**64 - 1))
        signs = 2.0 * torch.randint(2, (size,), generator=rng) - 1.0
        flat = initial.detach().float().clone()
        sigma = torch.cat([part.square().mean().sqrt().expand(len(part)) for part in torch.split(flat, list(sizes))])
        self.gain = nn.Parameter(torch.empty(()))
        self.register_buffer("initial", flat, persistent=False)  # the seed gives them back
        self.register_buffer("change", signs * sigma, persistent=False)
        self.reset(seed=seed)

    def reset(self, *, seed: int) -> None:
        """g = 1/2; signs and first weights stay, so there is but one start and the seed is ignored."""
        with torch.no_grad():
            self.gain.fill_(0.5)

    def forward(self, p: JointOutcomes) -> Tensor:
        """See :class:`PhasesGenerator`.

        :param p: ``(n_outcomes,)``, or its factors, one a circuit.
        :returns: weights, ``(target_size,)``.
        """
        used = joint_slice(*self.checked(p, self.gain), slice(0, self.target_size))
        return self.initial + self.gain * self.change * (used - 1.0)
