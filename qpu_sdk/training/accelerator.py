"""Where generator, target and batches are while they are trained; phases, circuits and checkpoints stay on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..errors import ConfigError

Accelerator: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]
CPU = torch.device("cpu")


def open_accelerator(name: Accelerator) -> torch.device:
    """The device that a configuration names; ``auto`` takes the first that is there of cuda, mps and cpu.

    :raises ConfigError: when this machine, or this build of torch, does not have it.

    >>> open_accelerator("cpu")
    device(type='cpu')
    """
    there = _there()
    if name == "auto":
        return torch.device(there[0])
    if name not in there:
        raise ConfigError(
            f"training.accelerator is {name}, and torch {torch.__version__} finds {' and '.join(there)} here. Use "
            f"--set training.accelerator={there[0]}, or a build of torch for {name}."
        )
    return torch.device(name)


def _there() -> list[str]:
    found = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()), ("cpu", True)]
    return [name for name, there in found if there]


def on_device(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches on a device, one at a time: images and labels with the same shapes."""
    for images, labels in batches:
        yield images.to(device), labels.to(device)
