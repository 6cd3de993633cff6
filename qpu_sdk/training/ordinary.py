"""Weights that are not generated, trained as they are beside those that are."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ..generator.factors import JointOutcomes
from ..generator.mps import Generator
from .config import TrainingConfig
from .optimiser import Adam, FirstApart, Optimiser, open_optimiser
from .targets import Target
from .torch_optimiser import named_optimiser

#: Learning rate of ordinary weights, that of the plain network among the controls.
REST_LR = 0.003


@final
class WithOrdinary(Generator):
    """Generated weights, and behind them those that are trained as they are: w = (g(p), v).

    :param inner: g.
    :param initial: v at the start, ``(n,)``.

    >>> from .baselines import DirectWeights
    >>> WithOrdinary(DirectWeights(torch.ones(2)), torch.zeros(1))(torch.ones(1)).tolist()
    [1.0, 1.0, 0.0]
    """

    def __init__(self, inner: Generator, initial: Tensor) -> None:
        super().__init__()
        self.inner = inner  # whose parameters come after this module's own
        self.target_size = inner.target_size + len(initial)
        self.outcomes_needed = inner.outcomes_needed
        self.ordinary = nn.Parameter(initial.detach().float().clone())
        self.register_buffer("initial", initial.detach().float().clone(), persistent=False)

    def reset(self, *, seed: int) -> None:
        """A fresh start of the generator; the ordinary weights have but one."""
        self.inner.reset(seed=seed)
        with torch.no_grad():
            self.ordinary.copy_(self.get_buffer("initial"))

    @property
    def parameter_count(self) -> int:
        """Those of the generator, and every ordinary weight."""
        return self.inner.parameter_count + self.ordinary.numel()

    def forward(self, p: JointOutcomes) -> Tensor:
        """All weights.

        :param p: as the generator takes it, ``(n_outcomes,)`` or its factors.
        :returns: ``(target_size,)``.
        """
        return torch.cat([self.inner(p), self.ordinary])


def with_ordinary(inner: Generator, target: Target) -> Generator:
    """A generator of the weights that a target has generated as one of all its weights."""
    if not target.ordinary:
        return inner
    return WithOrdinary(inner, target.flat(dict(target.module.named_parameters()))[target.generated :])


def without_ordinary(generator: Generator) -> Generator:
    """The generator alone."""
    return generator.inner if isinstance(generator, WithOrdinary) else generator


def optimiser_of(generator: Generator, config: TrainingConfig) -> Optimiser:
    """What the configuration names, and Adam for ordinary weights, whose gradients are no generator's.

    :raises ConfigError: for an unknown name, and for a user's own that cannot be found.
    """
    if ":" in config.optimiser:
        own = named_optimiser(config.optimiser, config.optimiser_folder)
    else:
        own = open_optimiser(config.optimiser, beta2=config.beta2)
    if not isinstance(generator, WithOrdinary):
        return own
    # The rate has the generator's schedule: one is a multiple of the other.
    return FirstApart(Adam(), own, (config.rest_lr or REST_LR) / config.lr)
