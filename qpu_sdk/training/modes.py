"""Layers in training and in evaluation mode, and what they draw at random meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeGuard

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def is_learning_norm(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    """Batch norms that neither the user froze nor put into evaluation mode, as the rest of PyTorch has it."""
    if not isinstance(layer, _BatchNorm) or not layer.training or layer.running_mean is None:
        return False
    own = list(layer.parameters(recurse=False))
    return not own or any(p.requires_grad for p in own)


def is_still_norm(layer: nn.Module) -> bool:
    """Batch norms that keep the statistics they have."""
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None and not is_learning_norm(layer)


@contextmanager
def in_training(layers: Sequence[nn.Module]) -> Iterator[None]:
    """These layers alone, of a network in evaluation mode."""
    for layer in layers:
        _set_mode(layer, True)  # not train(), which takes those inside along
    try:
        yield
    finally:
        for layer in layers:
            _set_mode(layer, False)


def _set_mode(layer: nn.Module, training: bool) -> None:
    object.__setattr__(
        layer, "training", training
    )  # torch's own looks for parameters first, which takes ten times as long


@contextmanager
def seeded_torch(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global random numbers, which dropout and the like draw from, from a seed; afterwards as they were."""
    own = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=own, device_type="cuda" if device.type == "cpu" else device.type):
        torch.default_generator.manual_seed(seed)
        if own:
            torch.manual_seed(seed)
        yield
