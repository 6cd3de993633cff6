"""Numbers of tokens: images are floats here, and an embedding wants whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, final

import torch
from torch import Tensor, nn


@final
class Fractions(ValueError):
    """An embedding was given numbers that are not whole."""


@final
class TokenInputs:
    """Lets embeddings of a network take floats that are whole numbers, in place, and knows whether they are given any.

    :param module: a copy that is the caller's own.

    >>> layer = nn.Embedding(5, 2)
    >>> tokens = TokenInputs(layer)
    >>> layer(torch.tensor([1.0, 4.0])).shape, tokens.rows
    (torch.Size([2, 2]), 5)
    """

    def __init__(self, module: nn.Module) -> None:
        self.rows: int | None = None
        self._there = False
        for layer in module.modules():
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
                layer.register_forward_pre_hook(self._whole)
                self._there = True

    def asked(self, ask: Callable[[], Any]) -> int | None:
        """The rows of the smallest embedding that floats reach when a network is asked something; None for none."""
        if self._there:
            with suppress(Fractions):  # what was asked has them, which is all that was to be known
                ask()
        return self.rows

    def _whole(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        first, *rest = given or (None,)
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return given
        rows = int(layer.num_embeddings)  # type: ignore[arg-type]
        self.rows = rows if self.rows is None else min(rows, self.rows)
        if not torch.compiler.is_compiling() and not torch.equal(first, first.round()):
            raise Fractions(
                "an embedding takes numbers of tokens, and was given fractions: leave them as they are by as_is = true"
            )
        return (first.long(), *rest)
