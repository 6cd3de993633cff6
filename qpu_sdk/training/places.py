"""A module called with other tensors than its own, at the cost of a few assignments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from torch import Tensor, nn


@final
class Places:
    """Where a module keeps its parameters and buffers, by name.

    ``torch.func.functional_call`` looks for these places at each call, which for a small network takes longer than some
    of its layers. Layers are neither added nor taken away afterwards.

    >>> import torch
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> with Places(layer).holding({"weight": torch.tensor([[2.0]])}):
    ...     float(layer(torch.tensor([3.0])).detach())
    6.0
    """

    def __init__(self, module: nn.Module) -> None:
        # With all names of what has several: who gives tensors says of each which one it has.
        self._stores = {
            f"{prefix}.{name}" if prefix else name: (store, name)
            for prefix, part in module.named_modules(remove_duplicate=False)
            for store in (part._parameters, part._buffers)
            for name in store
        }

    @contextmanager
    def holding(self, tensors: dict[str, Tensor]) -> Iterator[None]:
        """The module with these tensors, which afterwards are those that it left in their places.

        :param tensors: by name; all others are the module's own.
        """
        places = [(*self._stores[name], name) for name in tensors]
        own = [store[key] for store, key, _ in places]
        try:
            for store, key, name in places:
                store[key] = tensors[name]
            yield
        finally:
            for store, key, name in places:
                tensors[name] = store[key]
            for (store, key, _), tensor in zip(places, own, strict=True):
                store[key] = tensor
