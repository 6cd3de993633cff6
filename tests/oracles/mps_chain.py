"""The published matrix-product chain, one site after the other for every weight (TorchMPS, method.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chain:
    """Parameters of one chain: a core a site, the label core, and the bias shared by each half."""

    cores: Sequence[Tensor]
    label: Tensor
    biases: Sequence[Tensor]


def bit_rows(bits: int, count: int, dtype: torch.dtype) -> Tensor:
    """The first rows of the Cartesian product of {-1, +1}, as the published code builds its inputs."""
    return torch.tensor(list(islice(product((-1.0, 1.0), repeat=bits), count)), dtype=dtype)


def site_matrices(core: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """M(x) = A[:, :, 0] x + A[:, :, 1] (1 - x) + B for every entry of x."""
    x = x[:, None, None]
    return core[:, :, 0] * x + core[:, :, 1] * (1 - x) + bias


def amplitudes(chain: Chain, inputs: Tensor) -> Tensor:
    """e_0^T M_0 ... M_{k-1} O M_k ... M_{n-1} e_0 with k = n // 2, for inputs ``(rows, n)``."""
    sites = inputs.shape[1]
    vectors = torch.zeros(len(inputs), len(chain.label), dtype=inputs.dtype)
    vectors[:, 0] = 1.0
    for site in range(sites):
        if site == sites // 2:
            vectors = vectors @ chain.label
        matrices = site_matrices(chain.cores[site], chain.biases[int(site >= sites // 2)], inputs[:, site])
        vectors = torch.einsum("ni,nij->nj", vectors, matrices)
    return vectors[:, 0]


def chain_weights(chain: Chain, p: Tensor, *, bits: int, count: int) -> Tensor:
    """One chain for every weight, with the mean over all weights taken away at the end."""
    inputs = torch.cat([bit_rows(bits, count, p.dtype), p[:count, None]], dim=1)
    w = amplitudes(chain, inputs)
    return w - w.mean()
