"""The contraction of a matrix product state, w = alpha + beta p, and its derivative, in operations of torch alone.

So it runs on any device and in any type, under ``torch.func`` and ``torch.compile``, and has derivatives of any order.
Its cost at the usual sizes is the number of operations: the halves of the chain are built side by side.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from .factors import Factors, joint_back, joint_slice

#: Weights at a time: what belongs to them stays in the cache, and p and beta never have the size of a network.
CHUNK = 2**16


def chain_weights(
    pairs: Tensor, half: int, middle: Tensor | None, ends: tuple[Tensor, Tensor], p: Factors, size: int
) -> Tensor:
    """Contract the chain for all weights at once, differentiably in everything.

    With rows l_i = first^T prod_k M_k(b_k(i)) middle over the leading bits and columns r_j = prod_k M_k(b_k) last
    over the trailing ones, alpha = l . r_alpha, beta = l . r_beta, and w_i = alpha_i + beta_i p_i minus the mean.
    Its derivative is written out rather than traced: g_c = g - mean(g), dL/dalpha = g_c, dL/dbeta = g_c p,
    dL/dp = beta g_c, and each bit is one product back.

    :param pairs: matrices of the bits, ``(n, 2, chi, chi)``; entry 0 is bit -1, entry 1 bit +1.
    :param half: of these bits the leading ones, k: as many as the trailing ones, or one more or less.
    :param middle: between the halves, ``(chi, chi)``; None for the identity.
    :param ends: ``first``, ``(2^a, chi)``, the rows of the first a bits (of none, one row), and ``last``,
        ``(2, 2^z, chi)``, the columns of alpha and of beta for the last z bits, where z is a or a - 1.
    :param p: ``(K,)`` as a head and possibly a rest, K >= size.
    :param size: number of weights, at most 2^(a + n + z).
    :returns: ``(size,)``.
    """
    weights: Tensor = _ChainWeights.apply(size, half, pairs, middle, *ends, *p)[0]  # type: ignore[no-untyped-call]
    return weights


@final
class _ChainWeights(torch.autograd.Function):
    """Both halves are the same work on rows: the right one begins at the last bit, with transposed matrices.

    What both passes need is an output, since a backward pass keeps nothing but inputs and outputs.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        size: int,
        half: int,
        pairs: Tensor,
        middle: Tensor | None,
        first: Tensor,
        last: Tensor,
        head: Tensor,
        rest: Tensor | None,
    ) -> tuple[Tensor, ...]:
        kept = _tables(pairs, half, first, last)
        tail, lead = kept[0], _lead(kept[-1], middle)
        alphas, betas = tail.mT.unbind(0)
        parts = []
        for rows, span in _chunks(size, tail.shape[1]):
            mine = lead[rows]
            alpha, beta = (torch.mm(mine, side).flatten()[: span.stop - span.start] for side in (alphas, betas))
            parts.append(torch.addcmul(alpha, beta, joint_slice(head, rest, span)))
        w = _joined(parts)
        return (w.sub_(w.sum(), alpha=1 / size), *kept)

    # Else torch looks through the code of forward at every call, which takes longer than three products.
    forward.__func__.__signature__ = inspect.signature(lambda *operands: None)  # type: ignore[attr-defined]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, ctx.half, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        g, half, own = gradients[0], ctx.half, ctx.needs_input_grad
        if g is None:
            return (None,) * 8
        pairs, middle, first, last, head, rest, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this one is wanted, to which what was kept is constant
            kept = _tables(pairs, half, first, last)
        tail, table = kept[0], kept[-1]
        lead = _lead(table, middle)
        of_lead, of_tail, of_p = _contracted_back(g, lead, tail, (head, rest), any(own[6:]))
        of_middle = None
        if middle is not None:
            of_middle, of_lead = torch.mm(table[0].mT, of_lead), torch.mm(of_lead, middle.mT)
        of_pairs, of_first, of_last = _tables_back((pairs, half, first, last), kept, of_lead, of_tail)
        return None, None, of_pairs, of_middle, of_first, of_last, *of_p


def _tables(pairs: Tensor, half: int, first: Tensor, last: Tensor) -> list[Tensor]:
    """The columns in their order, the matrices of the bits that both halves share, and rows and columns bit by bit.

    Each new bit is the least significant of the row index, and each block is [M(-1) | M(+1)].

    :returns: ``(2, 2^(n - k), chi)``; ``(s, 2, chi, 2 chi)``; and s + 1 tables ``(2, rows, chi)`` of both halves.
    """
    start, chi = last.flatten(0, 1), last.shape[2]
    early, shared, late = _bits(pairs, half, first, last)
    rows = torch.mm(first, _forth(pairs[0]).flatten(-2)).reshape(-1, chi) if early else first
    tables = [torch.stack((rows, start))]
    blocks = torch.stack((_forth(pairs[early:half]), _back(pairs[half + late :].flip(0))), 1).flatten(-2)
    for block in blocks.unbind(0):
        tables.append(torch.bmm(tables[-1], block).reshape(2, -1, chi))
    columns = tables[-1][1]
    if late:
        columns = torch.mm(columns, _back(pairs[half]).flatten(-2)).reshape(-1, chi)
    return [_turned(columns, last.shape[1], *[2] * (shared + late)), blocks, *tables]


def _tables_back(
    inputs: tuple[Tensor, int, Tensor, Tensor], kept: list[Tensor], of_lead: Tensor, of_tail: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of pairs, first and last."""
    pairs, half, first, last = inputs
    _, blocks, *tables = kept
    early, shared, late = _bits(pairs, half, first, last)
    chi, parts = last.shape[2], []
    of_columns = _turned(of_tail, *[2] * (shared + late), last.shape[1]).flatten(0, 1)
    if late:
        of_block, of_columns = _step_back(tables[-1][1], _back(pairs[half]).flatten(-2), of_columns)
        parts.append(of_block.reshape(1, chi, 2, chi).permute(0, 2, 3, 1))
    gradient, found = torch.stack((of_lead, of_columns)), []
    for table, block in zip(tables[-2::-1], blocks.mT.unbind(0)[::-1], strict=True):
        both = gradient.reshape(2, -1, 2 * chi)
        found.append(torch.bmm(table.mT, both))
        gradient = torch.bmm(both, block)
    of_first, of_start = gradient.unbind(0)
    if found:
        left, right = torch.stack(found).reshape(shared, 2, chi, 2, chi).unbind(1)
        parts = [left.flip(0).transpose(1, 2), *parts, right.permute(0, 2, 3, 1)]
    if early:
        of_block, of_first = _step_back(first, _forth(pairs[0]).flatten(-2), of_first)
        parts.insert(0, of_block.reshape(1, chi, 2, chi).transpose(1, 2))
    return torch.cat(parts), of_first, of_start.reshape(last.shape)


def _step_back(before: Tensor, block: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the block and of the rows before it."""
    both = gradient.reshape(len(before), -1)
    return torch.mm(before.mT, both), torch.mm(both, block.mT)


def _bits(pairs: Tensor, half: int, first: Tensor, last: Tensor) -> tuple[int, int, int]:
    """Bits that only the left half begins with, that both have, and that only the right half ends with."""
    early = int(len(first) < 2 * last.shape[1])
    shared = half - early
    return early, shared, len(pairs) - half - shared


def _forth(pairs: Tensor) -> Tensor:
    """[M(-1) | M(+1)] once it is flattened, ``(..., 2, chi, chi) -> (..., chi, 2, chi)``."""
    return pairs.transpose(-3, -2)


def _back(pairs: Tensor) -> Tensor:
    """The same of the transposed matrices."""
    return pairs.movedim(-1, -3)


def _turned(columns: Tensor, *sizes: int) -> Tensor:
    """Columns whose index has digits of these sizes, in the opposite order: they grow from the last bit.

    :returns: ``(2, 2^(n - k), chi)``.
    """
    digits = range(len(sizes), 0, -1)
    turned = columns.reshape(2, *sizes, -1).permute(0, *digits, len(sizes) + 1)
    return turned.clone(memory_format=torch.contiguous_format).flatten(1, -2)


def _lead(table: Tensor, middle: Tensor | None) -> Tensor:
    """The rows of all leading bits, ``(2^k, chi)``."""
    return table[0] if middle is None else torch.mm(table[0], middle)


def _chunks(size: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows of the table of all weights, which has ``width`` columns, and the weights in them."""
    rows, step = -(-size // width), max(1, CHUNK // width)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        yield slice(start, stop), slice(start * width, min(stop * width, size))


def _contracted_back(
    g: Tensor, lead: Tensor, tail: Tensor, p: Factors, of_p: bool
) -> tuple[Tensor, Tensor, tuple[Tensor | None, Tensor | None]]:
    """Gradients of lead, tail and p (if it wants one); beta is computed again rather than kept."""
    total, width, sides = g.sum(), tail.shape[1], tail.flatten(0, 1).mT
    of_leads, of_weights, of_tail = [], [], torch.zeros((), dtype=g.dtype, device=g.device)
    for chosen, span in _chunks(len(g), width):
        rows, mine = lead[chosen].mT, torch.sub(g[span], total, alpha=1 / len(g))
        if of_p:
            of_weights.append(torch.mm(rows.mT, tail[1].mT).flatten()[: len(mine)] * mine)
        missing = rows.shape[1] * width - len(mine)
        tables = [F.pad(x, (0, missing)).reshape(-1, width) for x in (mine, mine * joint_slice(*p, span))]
        both = torch.cat(tables, 1)
        # Transposed: for tall and narrow results matrix libraries take two to three times as long.
        of_leads.append(torch.mm(sides, both.mT))
        of_tail = torch.addmm(of_tail, rows, both)
    of_lead = _joined(of_leads, 1)
    if missing := len(lead) - of_lead.shape[1]:
        of_lead = F.pad(of_lead, (0, missing))
    return of_lead.mT, of_tail.mT, joint_back(_joined(of_weights), *p) if of_p else (None, None)


def _joined(parts: list[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
