"""The contraction of a matrix product state, w = alpha + beta p, and its derivative."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Array = npt.NDArray[Any]


def chain_weights(left: Tensor, middle: Tensor, right: Tensor, ends: tuple[Tensor, Tensor], p: Tensor) -> Tensor:
    """Contract the chain for all weights at once, differentiably in everything.

    With rows l_i = first^T prod_k M_k(b_k(i)) middle over the leading bits and columns r_j = prod_k M_k(b_k) last
    over the trailing ones, alpha = l . r_alpha, beta = l . r_beta, and w_i = alpha_i + beta_i p_i minus the mean.
    Its derivative is written out rather than traced: g_c = g - mean(g), dL/dalpha = g_c, dL/dbeta = g_c p,
    dL/dp = beta g_c, and each bit is one product back.

    :param left: matrices of the leading bits, ``(k, 2, chi, chi)``; entry 0 is bit -1, entry 1 bit +1.
    :param middle: between the halves, ``(chi, chi)``.
    :param right: matrices of the trailing bits, ``(n - k, 2, chi, chi)``.
    :param ends: ``first``, ``(2^a, chi)``, the rows of the first a bits (of none, one row), and ``last``,
        ``(2, 2^z, chi)``, the columns of alpha and of beta for the last z bits.
    :param p: ``(size,)`` with size <= 2^n.
    :returns: ``(size,)``.
    """
    weights: Tensor = _ChainWeights.apply(left, middle, right, *ends, p)  # type: ignore[no-untyped-call]
    return weights


@final
class _ChainWeights(torch.autograd.Function):
    """Both halves are the same work on rows: the right one runs backwards over transposed matrices."""

    @staticmethod
    def forward(
        ctx: Any, left: Tensor, middle: Tensor, right: Tensor, first: Tensor, last: Tensor, p: Tensor
    ) -> Tensor:
        forth, back = _side_by_side(left.detach().numpy()), _side_by_side(right.detach().numpy()[::-1].swapaxes(2, 3))
        rows = _all_rows(first.detach().numpy(), forth)
        order = _reversed_bits(last.shape[1].bit_length() - 1)  # the last bit is the most significant of columns
        columns = _all_rows(last.detach().numpy()[:, order].reshape(-1, last.shape[2]), back)
        lead = rows[-1] @ middle.detach().numpy()
        tail = columns[-1].reshape(2, -1, len(middle))  # built from its last bit on
        tail = tail[:, _reversed_bits(tail.shape[1].bit_length() - 1)]
        p_used = p.detach().numpy()
        alpha, beta = (lead @ tail.swapaxes(1, 2)).reshape(2, -1)[:, : len(p_used)]
        w = alpha + beta * p_used
        ctx.parts = forth, back, rows, columns, lead, tail, middle.detach().numpy(), order, p_used, beta
        return torch.from_numpy(w - w.mean())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        forth, back, rows, columns, lead, tail, middle, order, p, beta = ctx.parts
        g = gradients[0].numpy() - gradients[0].numpy().mean()
        table = np.zeros((2, len(lead) * tail.shape[1]), dtype=g.dtype)
        table[0, : len(p)], table[1, : len(p)] = g, g * p
        table = table.reshape(2, len(lead), -1)
        grad_lead = table[0] @ tail[0] + table[1] @ tail[1]
        grad_tail = table.swapaxes(1, 2) @ lead
        grad_tail = grad_tail[:, _reversed_bits(tail.shape[1].bit_length() - 1)].reshape(-1, len(middle))
        grad_left, grad_first = _all_rows_back(rows, forth, grad_lead @ middle.T)
        grad_right, grad_last = _all_rows_back(columns, back, grad_tail)
        parts = (
            grad_left,
            rows[-1].T @ grad_lead,
            grad_right[::-1].swapaxes(2, 3).copy(),  # torch takes no array that runs backwards
            grad_first,
            grad_last.reshape(2, len(order), -1)[:, order],
            beta * g,
        )
        return tuple(torch.from_numpy(part) for part in parts)


def _side_by_side(pairs: Array) -> Array:
    """[M(-1) | M(+1)] of every bit: ``(k, 2, chi, chi) -> (k, chi, 2 chi)``."""
    return pairs.transpose(0, 2, 1, 3).reshape(len(pairs), pairs.shape[2], 2 * pairs.shape[3])


def _all_rows(start: Array, blocks: Array) -> list[Array]:
    """start prod M(b) for all bit strings, after every bit; each new bit is the least significant of the row index."""
    rows = [start]
    for block in blocks:
        rows.append((rows[-1] @ block).reshape(-1, start.shape[1]))
    return rows


def _all_rows_back(rows: list[Array], blocks: Array, gradient: Array) -> tuple[Array, Array]:
    """Gradients of the matrices, ``(k, 2, chi, chi)``, and of ``start``."""
    chi = gradient.shape[1]
    out = np.empty_like(blocks)
    for k in range(len(blocks) - 1, -1, -1):
        both = gradient.reshape(-1, 2 * chi)
        out[k] = rows[k].T @ both
        gradient = both @ blocks[k].T
    return out.reshape(len(blocks), chi, 2, chi).swapaxes(1, 2).copy(), gradient


@lru_cache(maxsize=32)
def _reversed_bits(bits: int) -> npt.NDArray[np.int64]:
    """The index whose bits stand in the opposite order: an involution on ``range(2^bits)``."""
    index = np.arange(2**bits)
    # The zeros: with no bit at all the sum is a number.
    return np.asarray(sum(((index >> k) & 1) << (bits - 1 - k) for k in range(bits)) + np.zeros_like(index))
