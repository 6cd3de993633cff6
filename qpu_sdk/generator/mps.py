"""Matrix-product-state generators: outcome probabilities p -> flat weights w of a target network.

Weight i belongs to an index of n bits b_1 ... b_n in {-1, +1} (most significant first, 0 -> -1) and to the
probability p_i. Both generators here end in a site that is affine in p_i, so

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

from ..errors import ConfigError


class Generator(nn.Module, abc.ABC):
    """Maps probabilities ``p`` of joint outcomes to the flat weights of a network.

    :ivar target_size: number of weights.
    :ivar outcomes_needed: length that ``p`` must have at least.
    """

    target_size: int
    outcomes_needed: int

    @abc.abstractmethod
    def forward(self, p: Tensor) -> Tensor:
        """``(n_outcomes,) -> (target_size,)``."""

    @property
    def parameter_count(self) -> int:
        """Declared trainable parameters."""
        return sum(q.numel() for q in self.parameters())

    def checked(self, p: Tensor) -> Tensor:
        """The entries of ``p`` in use; raises :class:`ConfigError` when there are too few."""
        if p.ndim != 1 or len(p) < self.outcomes_needed:
            raise ConfigError(
                f"{len(p.flatten())} joint outcomes for {self.target_size} weights; {self.outcomes_needed} are needed. "
                "Use more modes or photons, more QNNs, or a smaller target."
            )
        return p


def index_bits(target_size: int) -> int:
    """Bits that tell ``target_size`` weights apart, ceil(log2 target_size), at least 2.

    >>> index_bits(6690)
    13
    """
    if target_size < 2:
        raise ConfigError(f"the target has {target_size} weights; a generator needs 2 or more. Choose another target.")
    return max(2, math.ceil(math.log2(target_size)))


def bit_chain(first: Tensor, left: Tensor, right: Tensor, last: Tensor) -> Tensor:
    """Contract a matrix product over all bit strings at once.

    :param first: row vector in front, ``(chi,)``.
    :param left: matrices of the leading bits, ``(k, 2, chi, chi)``; entry 0 is bit -1, entry 1 bit +1.
    :param right: matrices of the trailing bits, ``(n - k, 2, chi, chi)``.
    :param last: column vectors at the end, ``(c, chi)``.
    :returns: ``(2^n, c)``: row i is first^T prod_k M_k(b_k(i)) last_c.
    """
    chi = first.shape[0]
    rows = first.unsqueeze(0)
    for pair in left.transpose(1, 2).reshape(len(left), chi, 2 * chi):  # [M(-1) | M(+1)]: one product a bit
        rows = (rows @ pair).view(-1, chi)
    columns = last
    for pair in right.transpose(-1, -2).flip(0):
        columns = (columns @ pair).view(-1, chi)
    return (rows @ columns.T).view(-1, last.shape[0])


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

    def __init__(self, target_size: int, bond_dim: int, *, seed: int, init_std: float = 1e-9) -> None:
        super().__init__()
        chi = _checked_bond(bond_dim)
        self.target_size = self.outcomes_needed = target_size
        self.bits = index_bits(target_size)
        sites = self.bits + 1
        self.label_site = sites // 2
        rng = torch.Generator().manual_seed(seed)
        noise = torch.randn(sites, chi, chi, 2, generator=rng) * init_std
        self.cores = nn.Parameter(noise)
        self.label = nn.Parameter(torch.eye(chi) + torch.randn(chi, chi, generator=rng) * init_std)
        self.biases = nn.Parameter(torch.eye(chi).repeat(2, 1, 1))

    def forward(self, p: Tensor) -> Tensor:
        """See :class:`MPSGenerator`."""
        affine = self.affine()
        w = affine[:, 0] + affine[:, 1] * self.checked(p)[: self.target_size]
        return w - w.mean()

    def affine(self) -> Tensor:
        """alpha and beta of w_i = alpha_i + beta_i p_i before the mean is subtracted, ``(target_size, 2)``."""
        at_one, at_zero = self.cores[..., 0], self.cores[..., 1]  # M(x) = x at_one + (1 - x) at_zero + bias
        k, n = self.label_site, self.bits
        bias = self.biases.repeat_interleave(torch.tensor([k, n + 1 - k]), dim=0)
        pairs = torch.stack([2 * at_zero - at_one + bias, at_one + bias], dim=1)  # x = -1, x = +1
        left = torch.cat([pairs[: k - 1], (pairs[k - 1] @ self.label).unsqueeze(0)])
        last = torch.stack([(at_zero + bias)[n, :, 0], (at_one - at_zero)[n, :, 0]])
        first = torch.zeros(len(self.label), dtype=self.label.dtype)
        first[0] = 1.0
        return bit_chain(first, left, pairs[k:n], last)[: self.target_size]


def _checked_bond(bond_dim: int) -> int:
    if bond_dim < 1:
        raise ConfigError(f"bond_dim is {bond_dim}. Use 1 or more.")
    return bond_dim


@final
class LeanMPSGenerator(Generator):
    """The chain without its redundancy: one matrix a bit.

        w_i = l^T prod_k (1 + b_k(i) X_k) (u_0 + p_i u_1)   minus the mean over i,

    with X_k ~ N(0, init_std^2) of size r x r, l = u_0 = e_1 and u_1 = 0 at the start: bits r^2 + 3 r parameters,
    486 for 6,690 weights and r = 6. No label core, no biases and no second matrix a site, none of which adds a
    function of the bits that X_k cannot represent.

    >>> LeanMPSGenerator(6690, 6, seed=1).parameter_count
    486
    """

    def __init__(self, target_size: int, bond_dim: int, *, seed: int, init_std: float = 0.01) -> None:
        super().__init__()
        rank = _checked_bond(bond_dim)
        self.target_size = self.outcomes_needed = target_size
        self.bits = index_bits(target_size)
        rng = torch.Generator().manual_seed(seed)
        start = torch.zeros(rank)
        start[0] = 1.0
        self.cores = nn.Parameter(torch.randn(self.bits, rank, rank, generator=rng) * init_std)
        self.left = nn.Parameter(start.clone())
        self.right = nn.Parameter(torch.stack([start, torch.zeros(rank)]))

    def forward(self, p: Tensor) -> Tensor:
        """See :class:`LeanMPSGenerator`."""
        affine = self.affine()
        w = affine[:, 0] + affine[:, 1] * self.checked(p)[: self.target_size]
        return w - w.mean()

    def affine(self) -> Tensor:
        """alpha and beta of w_i = alpha_i + beta_i p_i before the mean is subtracted, ``(target_size, 2)``."""
        one = torch.eye(len(self.left), dtype=self.cores.dtype)
        pairs = torch.stack([one - self.cores, one + self.cores], dim=1)
        half = (self.bits + 1) // 2
        return bit_chain(self.left, pairs[:half], pairs[half:], self.right)[: self.target_size]


def identifiable_parameters(generator: Generator, *, seed: int) -> int:
    """Rank of the Jacobian of the weights by the generator's parameters, at a generic point.

    Redundant parameters (gauge freedom, dead entries) are not counted. It is computed in float64 at random
    parameter values and random p, where the rank is the generic one.

    >>> identifiable_parameters(MPSGenerator(6690, 1, seed=1), seed=1)
    15
    """
    twin = copy.deepcopy(generator).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    names = [name for name, _ in twin.named_parameters()]
    shapes = [parameter.shape for parameter in twin.parameters()]
    point = torch.cat([parameter.detach().reshape(-1) for parameter in twin.parameters()])
    p = -torch.rand(max(twin.outcomes_needed, 1), generator=rng, dtype=torch.float64).log()

    def weights(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [shape.numel() for shape in shapes])
        values = {n: part.view(shape) for n, part, shape in zip(names, parts, shapes, strict=True)}
        result: Tensor = torch.func.functional_call(twin, values, (p,))
        return result

    def derivative(direction: Tensor) -> Tensor:
        result: Tensor = torch.func.jvp(weights, (point,), (direction,))[1]
        return result

    limit = min(len(point), twin.target_size)
    width = min(limit, 256)
    while True:  # a random sketch of the columns has full rank until it is wider than the rank
        sketch = torch.randn(width, len(point), generator=rng, dtype=torch.float64)
        columns = torch.func.vmap(derivative, chunk_size=64)(sketch).T
        singular = torch.linalg.svdvals(torch.linalg.qr(columns, mode="r").R)
        rank = int((singular > singular[0] * 1e-10).sum())
        if rank < width or width == limit:
            return rank
        width = min(limit, 2 * width)
