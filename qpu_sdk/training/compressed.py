"""Generators that compress a network's weights: shared rows, a hash, low rank."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ..generator.factors import JointOutcomes
from ..generator.mps import Generator
from .baselines import NoSuchControl, initial_weights
from .targets import Target


@final
class TiedWeights(Generator):
    """Every weight is one of few trained numbers: w_i = b_i + f_i theta_{h(i)}, with b, f and h fixed.

    :param index: h, ``(target_size,)`` int64.
    :param factor: f, ``(target_size,)``.
    :param base: b, ``(target_size,)``.
    :param initial: theta at the start, ``(d,)``.

    >>> TiedWeights(torch.tensor([0, 0, 1]), torch.tensor([1.0, -1, 1]), torch.zeros(3), torch.ones(2))(
    ...     torch.ones(1)).tolist()
    [1.0, -1.0, 1.0]
    """

    def __init__(self, index: Tensor, factor: Tensor, base: Tensor, initial: Tensor) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed = len(index), 0
        self.theta = nn.Parameter(initial.detach().clone())
        for name, fixed in (("index", index), ("factor", factor), ("base", base), ("initial", initial)):
            self.register_buffer(name, fixed.detach().clone(), persistent=False)

    def reset(self, *, seed: int) -> None:
        """The initial numbers; there is but one start and the seed is ignored."""
        with torch.no_grad():
            self.theta.copy_(self.get_buffer("initial"))

    def forward(self, p: JointOutcomes) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        chosen = self.theta.index_select(0, self.get_buffer("index"))
        return self.get_buffer("base") + self.get_buffer("factor") * chosen


def hashed(target: Target, budget: int, *, seed: int) -> TiedWeights:
    """HashedNets, Chen et al., arXiv:1504.04788: w_i = +- s theta_{h(i)} with d = budget trained numbers.

    The seeded h spreads the weights evenly, so that no number is without one. All layers share the numbers, which start
    at N(0, 1), and s is the standard deviation of a tensor's initial weights; tensors that start constant, as of norms,
    keep that constant as b.

    :param seed: of h, of the signs and of the start.
    """
    initial, size = initial_weights(target), min(budget, target.size)
    rng = torch.Generator().manual_seed(seed)
    index = torch.randperm(target.size, generator=rng) % size
    sign = 2.0 * torch.randint(0, 2, (target.size,), generator=rng) - 1.0
    scales, bases = [], []
    for part in torch.split(initial, target.sizes):
        spread = float(part.std(correction=0))
        scales.append(torch.full_like(part, spread if spread > 0 else 0.1))
        bases.append(torch.zeros_like(part) if spread > 0 else part)
    return TiedWeights(index, sign * torch.cat(scales), torch.cat(bases), torch.randn(size, generator=rng))


def shared_rows(target: Target, budget: int) -> TiedWeights:
    """The weight sharing of arXiv:2505.08474: the largest linear layer is r trained rows, over and over.

    Output o has row o mod r, and r is the largest that the budget allows: 2,850 + 192 r numbers of the published
    network. All numbers start as the weights they stand for.

    :raises NoSuchControl: when no layer is linear, or a single row is beyond the budget.
    """
    layers = {f"{name}.weight": m for name, m in target.module.named_modules() if isinstance(m, nn.Linear)}
    layers = {name: m for name, m in layers.items() if name in target.shapes}
    if not layers:
        raise NoSuchControl("the network has no linear layer whose rows could be shared.")
    name = max(layers, key=lambda key: layers[key].weight.numel())
    outputs, inputs = layers[name].weight.shape
    rest = target.size - outputs * inputs
    rows = min((budget - rest) // inputs, outputs)
    if rows < 1:
        raise NoSuchControl(
            f"weight sharing trains at least {rest + inputs:,} numbers of this network; the run trains {budget:,}."
        )
    before = sum(target.sizes[: list(target.shapes).index(name)])
    after = torch.arange(rest - before) + before + rows * inputs
    shared = before + (torch.arange(outputs)[:, None] % rows * inputs + torch.arange(inputs)).flatten()
    index = torch.cat([torch.arange(before), shared, after])
    initial, first = initial_weights(target), torch.zeros(rest + rows * inputs)
    first[index.flip(0)] = initial.flip(0)  # of all rows that share one the first
    return TiedWeights(index, torch.ones(target.size), torch.zeros(target.size), first)


@final
class LowRankWeights(Generator):
    """Every weight matrix is a product of two factors, W = U V, those of convolutions as (outputs, inputs k k).

    They start as the truncated singular value decomposition of the initial weights, each with the root of the singular
    values (spectral initialisation, Khodak et al., arXiv:2105.01029).

    :param ranks: of each tensor by its name; 0 for one that is trained as it is, such as a bias.
    """

    def __init__(self, target: Target, ranks: dict[str, int]) -> None:
        super().__init__()
        self.target_size, self.outcomes_needed = target.size, 0
        self._ranks = [ranks[name] for name in target.shapes]
        parts = torch.split(initial_weights(target), target.sizes)
        self._initial: list[tuple[Tensor, ...]] = []
        for part, shape, rank in zip(parts, target.shapes.values(), self._ranks, strict=True):
            self._initial.append(_factors(part.view(shape[0], -1), rank) if rank else (part,))
        self.factors = nn.ParameterList([nn.Parameter(f.clone()) for factors in self._initial for f in factors])

    def reset(self, *, seed: int) -> None:
        """The initial factors; there is but one start and the seed is ignored."""
        with torch.no_grad():
            for parameter, first in zip(self.factors, (f for fs in self._initial for f in fs), strict=True):
                parameter.copy_(first)

    def forward(self, p: JointOutcomes) -> Tensor:
        """The weights; ``p`` is ignored.

        :returns: ``(target_size,)``.
        """
        factors, parts = iter(self.factors), []
        for rank in self._ranks:
            first = next(factors)
            parts.append((first @ next(factors) if rank else first).reshape(-1))
        return torch.cat(parts)


def _factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    u, singular, v = torch.linalg.svd(matrix, full_matrices=False)
    root = singular[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]


def low_rank(target: Target, budget: int) -> LowRankWeights:
    """Low-rank layers with ranks that use the budget: again and again one more for the layer with the least of its full
    rank that still can have one. A layer whose factors would be no smaller is trained as it is.

    :raises NoSuchControl: when rank 1 everywhere is beyond the budget.
    """
    matrices = {n: (s[0], s.numel() // s[0]) for n, s in target.shapes.items() if len(s) > 1 and s.numel()}
    ranks = dict.fromkeys(matrices, 1)

    def cost(name: str, rank: int) -> int:
        rows, columns = matrices[name]
        return min(rank * (rows + columns), rows * columns)

    vectors = target.size - sum(rows * columns for rows, columns in matrices.values())
    spent = vectors + sum(cost(name, 1) for name in matrices)
    if spent > budget:
        raise NoSuchControl(f"rank 1 everywhere is {spent:,} numbers of this network; the run trains {budget:,}.")
    while True:
        steps = {n: cost(n, r + 1) - cost(n, r) for n, r in ranks.items() if r < min(matrices[n])}
        open_ = [name for name, step in steps.items() if step <= budget - spent]
        if not open_:
            break
        chosen = min(open_, key=lambda name: ranks[name] / min(matrices[name]))
        spent, ranks[chosen] = spent + steps[chosen], ranks[chosen] + 1
    whole = {n for n, r in ranks.items() if cost(n, r) == matrices[n][0] * matrices[n][1]}
    return LowRankWeights(target, {n: 0 if n not in ranks or n in whole else ranks[n] for n in target.shapes})
