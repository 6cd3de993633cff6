"""How one flat vector of generated weights is cut into the tensors of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..errors import DataError
from ..training.targets import tensor_bytes

#: Name, shape and type, without "torch.", of a tensor.
Piece = tuple[str, tuple[int, ...], str]


@final
@dataclass(frozen=True)
class Cut:
    """Names, shapes and types of the tensors, in the order of the weights.

    :param pieces: one after the other.
    :param copies: names of tensors that are the same as one of these, as tied ones are.

    >>> cut = Cut((("a", (2,), "float32"), ("b", (1, 2), "float16")), {"c": "a"})
    >>> sorted(cut.tensors(torch.arange(4.0))), cut.size
    (['a', 'b', 'c'], 4)
    """

    pieces: tuple[Piece, ...]
    copies: Mapping[str, str]

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for _, shape, _ in self.pieces)

    @property
    def names(self) -> set[str]:
        """Of all tensors that come of the weights."""
        return {name for name, _, _ in self.pieces} | set(self.copies)

    def tensors(self, weights: Tensor) -> dict[str, Tensor]:
        """The named tensors of flat weights, ``(size,)``.

        :raises DataError: when a type or a name is none.
        """
        try:
            parts = torch.split(weights, [math.prod(shape) for _, shape, _ in self.pieces])
            found = {
                name: part.reshape(shape).to(_kind(kind))
                for (name, shape, kind), part in zip(self.pieces, parts, strict=True)
            }
            return found | {name: found[other] for name, other in self.copies.items()}
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"the seed's list of tensors is damaged ({error}). Export it again.") from error

    @classmethod
    def found(cls, weights: Tensor, tensors: Mapping[str, Tensor]) -> Cut | None:
        """The cut that makes these tensors of the weights, bit for bit; None where there is none.

        It is found by the numbers themselves, so that the network's code is not needed.

        :param tensors: of the whole model, those that are not generated among them.
        """
        left = {name: t for name, t in tensors.items() if t.is_floating_point() and t.numel()}
        pieces: list[Piece] = []
        place = 0
        while place < len(weights):
            fitting = [name for name, t in left.items() if _same(t, weights[place : place + t.numel()].to(t.dtype))]
            if not fitting:
                return None
            name = max(fitting, key=lambda one: left[one].numel())  # a bias may begin like a larger tensor
            tensor = left.pop(name)
            pieces.append((name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
            place += tensor.numel()
        own = [name for name, _, _ in pieces]
        return cls(tuple(pieces), dict(_copies(left, {name: tensors[name] for name in own})))


def _copies(left: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterable[tuple[str, str]]:
    for name, tensor in left.items():
        for other, piece in own.items():
            if tensor.shape == piece.shape and tensor.dtype == piece.dtype and _same(tensor, piece.flatten()):
                yield name, other
                break


def _same(tensor: Tensor, flat: Tensor) -> bool:
    """Whether the numbers are the same, bit for bit."""
    own = tensor.reshape(-1)
    # The first few tell most tensors apart, whatever their size.
    alike = own.numel() == flat.numel() and tensor_bytes(own[:8]) == tensor_bytes(flat[:8])
    return alike and tensor_bytes(own) == tensor_bytes(flat)


def _kind(name: str) -> torch.dtype:
    kind = getattr(torch, name, None)
    if not isinstance(kind, torch.dtype):
        raise ValueError(f"{name!r:.40} is no type")
    return kind
