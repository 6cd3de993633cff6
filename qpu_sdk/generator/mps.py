"""Matrix-product-state generators: outcome probabilities p -> flat weights w of a target network.

Weight i belongs to an index of n bits b_1 ... b_n in {-1, +1} (most significant first, 0 -> -1) and to the
probability p_i. All generators here end in a site that is affine in p_i, so

    w_i = alpha_i + beta_i p_i,     (alpha_i, beta_i) = left(b_1 .. b_k) . right(b_{k+1} .. b_n),

with two matrix products over bits. Instead of one chain a weight, the 2^k left and 2^(n-k) right vectors are
built once, bit by bit, and multiplied: O(2^k chi^2 + 2^(n-k) chi^2 + 2^n chi) instead of O(2^n n chi^2), and
exact (only the order of summation differs).
"""

from __future__ import annotations

import abc
import copy
import math
from typing import final

import torch
from torch import Tensor, nn

from ..arrays import real, whole
from ..errors import ConfigError
from .chain import chain_weights
from .factors import Factors, JointOutcomes, two_factors
from .limits import MOST_WEIGHTS, checked_bond


class Generator(nn.Module, abc.ABC):
    """Maps probabilities ``p`` of joint outcomes to the flat weights of a network.

    :ivar target_size: number of weights.
    :ivar outcomes_needed: length that ``p`` must have at least.
    """

    target_size: int
    outcomes_needed: int

    @abc.abstractmethod
    def forward(self, p: JointOutcomes) -> Tensor:
        """``(n_outcomes,) -> (target_size,)``; of several circuits the factors ``(K1,)``, ``(K2,)`` ... do as well."""

    @abc.abstractmethod
    def reset(self, *, seed: int) -> None:
        """Set all parameters to a fresh start; the constructor's start is ``reset(seed=seed)``."""

    @property
    def parameter_count(self) -> int:
        """Declared trainable parameters."""
        return sum(q.numel() for q in self.parameters())

    def checked(self, p: JointOutcomes, own: Tensor) -> Factors:
        """``p`` as at most two factors.

        :param own: a parameter, of the type that they will have, and on whose device they must be.
        :raises ConfigError: when it has too few entries, or is on another device.
        """
        given = [p] if isinstance(p, Tensor) else list(p)
        found = math.prod([one.numel() for one in given])
        if [one.ndim for one in given] != [1] * len(given) or found < self.outcomes_needed:
            raise ConfigError(
                f"{found} joint outcomes for {self.target_size} weights; {self.outcomes_needed} are needed. "
                "Use more modes or photons, more QNNs, or a smaller target."
            )
        for one in given:
            if one.device != own.device:
                raise ConfigError(
                    f"p is on {one.device}, and the generator on {own.device}. Move one of them with .to()."
                )
        return two_factors([one.to(own.dtype) for one in given])


def index_bits(target_size: int) -> int:
    """Bits that tell ``target_size`` weights apart, ceil(log2 target_size), at least 2.

    :raises ConfigError: when the target has fewer than 2 weights.

    >>> index_bits(6690)
    13
    """
    if target_size < 2:
        raise ConfigError(f"the target has {target_size} weights; a generator needs 2 or more. Choose another target.")
    return max(2, math.ceil(math.log2(target_size)))


@final
class MPSGenerator(Generator):
    """The published mapping (arXiv:2505.08474, authors' code; TorchMPS with its defaults).

    A chain of n + 1 sites, n bits and then p, with a label core in the middle. Site s has the matrix
    M_s(x) = A_s[:, :, 0] x + A_s[:, :, 1] (1 - x) + B_h, where the bias B_h is shared by the sites of each half;
    the ends are the fixed vectors e_1, and the mean over all weights is subtracted. It has
    2 (n+1) chi^2 + chi^2 + 2 chi^2 = 31 chi^2 parameters for n = 13.

    :param target_size: number of weights.
    :param bond_dim: chi.
    :param init_std: standard deviation of the initial noise (published: 1e-9, so all weights start at 0).
    :param seed: of that noise.

    >>> generator = MPSGenerator(6690, 4, seed=1)
    >>> generator.parameter_count, tuple(generator(torch.ones(8820)).shape)
    (496, (6690,))
    """

    signs: Tensor
    sides: Tensor
    affine_in_p: Tensor
    first: Tensor

    def __init__(self, target_size: int, bond_dim: int, *, seed: int, init_std: float = 1e-9) -> None:
        super().__init__()
        chi = checked_bond(bond_dim)
        self.target_size = self.outcomes_needed = whole(target_size, "target_size", ConfigError, most=MOST_WEIGHTS)
        self.bits = index_bits(self.target_size)
        sites = self.bits + 1
        self.label_site = sites // 2
        self.init_std = real(init_std, "init_std", ConfigError, least=0.0)
        self.cores = nn.Parameter(torch.empty(sites, chi, chi, 2))
        self.label = nn.Parameter(torch.empty(chi, chi))
        self.biases = nn.Parameter(torch.empty(2, chi, chi))
        self.reset(seed=seed)
        # M(x) = x A_0 + (1 - x) A_1 + B at x = -1 and x = +1; and M(p) = (M(+1) + M(-1)) / 2 + p (M(+1) - M(-1)) / 2
        self.register_buffer("signs", torch.tensor([[-1.0, 2.0], [1.0, 0.0]]), persistent=False)
        of_half = torch.arange(sites) >= self.label_site
        self.register_buffer("sides", torch.stack((~of_half, of_half), 1).float(), persistent=False)
        self.register_buffer("affine_in_p", torch.tensor([[0.5, 0.5], [-0.5, 0.5]]), persistent=False)
        self.register_buffer("first", torch.eye(chi)[0], persistent=False)  # constants belong in no checkpoint

    def reset(self, *, seed: int) -> None:
        """Noise of ``init_std`` in the cores and around the label core's identity; biases are identities."""
        rng = torch.Generator().manual_seed(whole(seed, "seed", ConfigError, least=0, most=2**64 - 1))
        identity = torch.eye(len(self.label), dtype=self.label.dtype)
        with torch.no_grad():
            self.cores.copy_(torch.randn(self.cores.shape, generator=rng) * self.init_std)
            self.label.copy_(identity + torch.randn(self.label.shape, generator=rng) * self.init_std)
            self.biases.copy_(identity.expand_as(self.biases))

    def forward(self, p: JointOutcomes) -> Tensor:
        """See :class:`MPSGenerator`.

        :param p: ``(n_outcomes,)``, or its factors, one a circuit.
        :returns: weights, ``(target_size,)``.
        """
        k, n = self.label_site, self.bits
        of_bits, of_p = torch.split(self.pairs, [n, 1])
        last = self.affine_in_p @ of_p[0, :, :, 0]
        ends = self.first[None], last[:, None]
        return chain_weights(of_bits, k, self.label, ends, self.checked(p, self.cores), self.target_size)

    @property
    def pairs(self) -> Tensor:
        """M(-1) and M(+1) of every site, ``(n + 1, 2, chi, chi)``."""
        sites, chi = self.cores.shape[:2]
        half = torch.mm(self.sides, self.biases.flatten(1)).unsqueeze(1)
        both = torch.baddbmm(half, self.signs.expand(sites, -1, -1), self.cores.flatten(1, 2).mT)
        return both.view(sites, 2, chi, chi)


class _OneMatrixABit(Generator, abc.ABC):
    """What chains with the matrices 1 +- X_k have in common."""

    signs: Tensor
    identity: Tensor
    cores: nn.Parameter

    def __init__(self, target_size: int, rank: int, init_std: float) -> None:
        super().__init__()
        self.target_size = self.outcomes_needed = whole(target_size, "target_size", ConfigError, most=MOST_WEIGHTS)
        self.bits = index_bits(self.target_size)
        self.init_std = real(init_std, "init_std", ConfigError, least=0.0)
        self.register_buffer("signs", torch.tensor([-1.0, 1.0]).view(2, 1, 1), persistent=False)
        self.register_buffer("identity", torch.eye(rank), persistent=False)

    @property
    def pairs(self) -> Tensor:
        """1 - X_k and 1 + X_k of every bit k that has one, ``(bits, 2, r, r)``."""
        return torch.addcmul(self.identity, self.signs, self.cores.unsqueeze(1))


@final
class LeanMPSGenerator(_OneMatrixABit):
    """The chain without its redundancy: one matrix a bit.

        w_i = l^T prod_k (1 + b_k(i) X_k) (u_0 + p_i u_1)   minus the mean over i,

    with X_k ~ N(0, init_std^2) of size r x r, l = u_0 = e_1 and u_1 = 0 at the start: bits r^2 + 3 r parameters,
    486 for 6,690 weights and r = 6. No label core, no biases and no second matrix a site, none of which adds a
    function of the bits that X_k cannot represent.

    >>> LeanMPSGenerator(6690, 6, seed=1).parameter_count
    486
    """

    def __init__(self, target_size: int, bond_dim: int, *, seed: int, init_std: float = 0.01) -> None:
        rank = checked_bond(bond_dim)
        super().__init__(target_size, rank, init_std)
        self.cores = nn.Parameter(torch.empty(self.bits, rank, rank))
        self.left = nn.Parameter(torch.empty(rank))
        self.right = nn.Parameter(torch.empty(2, rank))
        self.reset(seed=seed)

    def reset(self, *, seed: int) -> None:
        """X_k ~ N(0, init_std^2), l = u_0 = e_1, u_1 = 0."""
        rng = torch.Generator().manual_seed(whole(seed, "seed", ConfigError, least=0, most=2**64 - 1))
        with torch.no_grad():
            self.cores.copy_(torch.randn(self.cores.shape, generator=rng) * self.init_std)
            self.left.copy_(self.identity[0])
            self.right.zero_()
            self.right[0, 0] = 1.0

    def forward(self, p: JointOutcomes) -> Tensor:
        """See :class:`LeanMPSGenerator`.

        :param p: ``(n_outcomes,)``, or its factors, one a circuit.
        :returns: weights, ``(target_size,)``.
        """
        half, ends = (self.bits + 1) // 2, (self.left[None], self.right[:, None])
        return chain_weights(self.pairs, half, None, ends, self.checked(p, self.cores), self.target_size)


@final
class TaperedMPSGenerator(_OneMatrixABit):
    """The lean chain without what is redundant at its ends: every parameter changes the weights in a way of its own.

        w_i = L(b_1 .. b_m)^T prod_k (1 + b_k(i) X_k) (u_0 + p_i u_1)(b_{n-m+2} .. b_n)   minus the mean over i,

    with 2^(m-1) < r <= 2^m. Fewer than m bits cannot fill a vector of r numbers, so the first m bits choose one of 2^m
    rows L, of which the first r are unit vectors (any chain has this form: it is a choice of basis), and the last m - 1
    bits choose a pair of columns u. X_k ~ N(0, init_std^2), and all numbers of L, u_0 and u_1 start at their own noise
    around 0, 1 and 0. It has (2^m - r) r + (n - 2m + 1) r^2 + 2^m r parameters: 576 for 6,690 weights and r = 8, where
    the lean chain has 856.

    :raises ConfigError: when there are too few bits for this rank.

    >>> TaperedMPSGenerator(6690, 8, seed=1).parameter_count
    576
    """

    def __init__(self, target_size: int, bond_dim: int, *, seed: int, init_std: float = 0.1) -> None:
        rank = checked_bond(bond_dim)
        super().__init__(target_size, rank, init_std)
        self.first_bits = max(1, (rank - 1).bit_length())
        between = self.bits - 2 * self.first_bits + 1
        if between < 1:
            most = 2 ** (self.bits // 2)
            raise ConfigError(
                f"bond_dim is {rank}, and {self.target_size} weights have {self.bits} bits, of which a tapered chain "
                f"fills {most} at most. Use {most} or less."
            )
        self.cores = nn.Parameter(torch.empty(between, rank, rank))
        self.left = nn.Parameter(torch.empty(2**self.first_bits - rank, rank))
        self.right = nn.Parameter(torch.empty(2, 2 ** (self.first_bits - 1), rank))
        self.reset(seed=seed)

    def reset(self, *, seed: int) -> None:
        """See :class:`TaperedMPSGenerator`."""
        rng = torch.Generator().manual_seed(whole(seed, "seed", ConfigError, least=0, most=2**64 - 1))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=rng) * self.init_std)
            self.left[:, 0] += 1.0  # sums of each row are 1: all weights begin alike, and so near 0
            self.right[0] += 1.0

    def forward(self, p: JointOutcomes) -> Tensor:
        """See :class:`TaperedMPSGenerator`.

        :param p: ``(n_outcomes,)``, or its factors, one a circuit.
        :returns: weights, ``(target_size,)``.
        """
        half = max(0, (self.bits + 1) // 2 - self.first_bits)
        ends = torch.cat([self.identity, self.left]), self.right
        return chain_weights(self.pairs, half, None, ends, self.checked(p, self.cores), self.target_size)


def identifiable_parameters(generator: Generator, *, seed: int) -> int:
    """Rank of the Jacobian of the weights by the generator's parameters, at a generic point.

    Redundant parameters (gauge freedom, dead entries) are not counted. It is computed in float64 at random
    parameter values and random p, where the rank is the generic one.

    >>> identifiable_parameters(MPSGenerator(6690, 1, seed=1), seed=1)
    15
    """
    twin = copy.deepcopy(generator).double()
    rng = torch.Generator().manual_seed(whole(seed, "seed", ConfigError, least=0, most=2**64 - 1))
    with torch.no_grad():
        for parameter in twin.parameters():
            # Away from the start, where identities and zeros hide what parameters do.
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    parameters = list(twin.parameters())
    p = -torch.rand(max(twin.outcomes_needed, 1), generator=rng, dtype=torch.float64).log()  # as spread as outcomes
    weights = twin(p)

    def row(cotangent: Tensor) -> Tensor:
        gradients = torch.autograd.grad(weights, parameters, cotangent, retain_graph=True)
        return torch.cat([g.reshape(-1) for g in gradients])

    limit = min(sum(q.numel() for q in parameters), twin.target_size)
    rows: list[Tensor] = []
    while True:  # random mixtures of the Jacobian's rows are independent until there are more of them than its rank
        wanted = min(limit, max(128, 2 * len(rows)))
        mixtures = torch.randn(wanted - len(rows), twin.target_size, generator=rng, dtype=torch.float64)
        rows += [row(mixture) for mixture in mixtures]
        singular = torch.linalg.svdvals(torch.stack(rows))
        rank = int((singular > singular[0] * 1e-10).sum())
        if rank < wanted or wanted == limit:
            return rank
