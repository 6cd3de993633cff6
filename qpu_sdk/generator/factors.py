"""p as the outer product of the distributions of several circuits, of which only a part is ever multiplied out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

#: p as generators take it: whole, ``(K,)``, or the factors ``(K1,)``, ``(K2,)`` and so on whose outer product it is.
JointOutcomes: TypeAlias = Tensor | Sequence[Tensor]
#: p itself and None, or a head and a rest with p_i = head_a rest_b and i = len(rest) a + b.
Factors: TypeAlias = tuple[Tensor, Tensor | None]


def two_factors(distributions: Sequence[Tensor]) -> Factors:
    """Several distributions as the product of two, as short as they can be.

    :param distributions: ``(K1,)``, ``(K2,)`` and so on.

    >>> [len(one) for one in two_factors([torch.ones(126), torch.ones(70), torch.ones(10)])]
    [126, 700]
    """
    if len(distributions) == 1:
        return distributions[0], None
    sizes = [len(one) for one in distributions]
    cuts = range(1, len(sizes))
    cut = min(cuts, key=lambda k: math.prod(sizes[:k]) + math.prod(sizes[k:]))
    return multiplied_out(distributions[:cut]), multiplied_out(distributions[cut:])


def multiplied_out(distributions: Sequence[Tensor]) -> Tensor:
    """The outer product, i = K2 a + b for two, ``(prod K,)``."""
    p = distributions[0]
    for q in distributions[1:]:
        p = torch.outer(p, q).flatten()
    return p


def joint_slice(head: Tensor, rest: Tensor | None, span: slice) -> Tensor:
    """The entries of p in a span, which has a start and a stop.

    :returns: ``(stop - start,)``.
    """
    if rest is None:
        return head[span]
    width = len(rest)
    begin, end = span.start // width, -(-span.stop // width)
    if end - begin > 2:  # whole rows, a little more than the span
        return torch.outer(head[begin:end], rest).view(-1)[span.start - begin * width : span.stop - begin * width]
    starts = [max(span.start - a * width, 0) for a in range(begin, end)]
    stops = [min(span.stop - a * width, width) for a in range(begin, end)]
    parts = [head[begin + i] * rest[one:other] for i, (one, other) in enumerate(zip(starts, stops, strict=True))]
    return torch.cat(parts)


def joint_back(gradient: Tensor, head: Tensor, rest: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gradients of head and rest from those of the first entries of p.

    :returns: with the same shapes.
    """
    if rest is None:
        return F.pad(gradient, (0, len(head) - len(gradient))), None
    whole, over = divmod(len(gradient), len(rest))
    table, last = gradient[: whole * len(rest)].view(whole, len(rest)), gradient[whole * len(rest) :]
    of_head, of_rest = torch.mv(table, rest), torch.mv(table.t(), head[:whole])
    if over:
        of_head = torch.cat((of_head, torch.dot(last, rest[:over]).view(1)))
        of_rest = of_rest + F.pad(last * head[whole], (0, len(rest) - over))
    return F.pad(of_head, (0, len(head) - len(of_head))), of_rest
