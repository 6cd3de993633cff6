"""Target networks, and the view of any ``torch.nn.Module`` as a function of one flat weight vector."""

from __future__ import annotations

import copy
import hashlib
import importlib
from collections.abc import Callable, Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError


@final
class PaperCNN(nn.Module):
    """The 6,690-weight CNN of arXiv:2505.08474: no activation function, max-pooling is the only nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=5)
        self.conv2 = nn.Conv2d(8, 12, kernel_size=5)
        self.fc1 = nn.Linear(192, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, 1, 28, 28)``, to logits, ``(n, 10)``."""
        x = F.max_pool2d(self.conv1(images), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        logits: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return logits


def paper_cnn() -> nn.Module:
    """The published target.

    >>> sum(p.numel() for p in paper_cnn().parameters())
    6690
    """
    return PaperCNN()


#: Targets that a model file may name; anything else must be named by the user.
BUILT_IN: Mapping[str, Callable[[], nn.Module]] = {"qpu_sdk.training.targets:paper_cnn": paper_cnn}


@final
class Target:
    """A network as a function of its flat weights, in ``state_dict`` order.

    The module runs in evaluation mode (no dropout, frozen batch statistics) through
    ``torch.func.functional_call``; its own parameters are only the template of names and shapes. It is a copy:
    the caller's module is left as it was.

    :raises ConfigError: when the module has no parameter to generate, or lazy ones without a shape.

    >>> target = Target(paper_cnn())
    >>> target.size
    6690
    """

    def __init__(self, module: nn.Module) -> None:
        _check_parameters(module)
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.shapes: dict[str, torch.Size] = {name: p.shape for name, p in module.named_parameters()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.size = sum(self.sizes)

    def tensors(self, weights: Tensor) -> dict[str, Tensor]:
        """Cut flat weights, ``(size,)``, into named tensors (views)."""
        parts = torch.split(weights, self.sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def logits(self, weights: Tensor, images: Tensor) -> Tensor:
        """The network's output for a batch of images.

        :param weights: ``(size,)``.
        :param images: ``(n, C, H, W)``.
        :returns: ``(n, classes)``.
        """
        result: Tensor = torch.func.functional_call(self.module, self.tensors(weights), (images,))
        return result

    def state(self, weights: Tensor) -> dict[str, Tensor]:
        """The whole ``state_dict`` with these weights: generated tensors, what is tied to them, and buffers.

        :param weights: ``(size,)``.
        """
        generated = self.tensors(weights)
        by_tensor = {id(p): name for name, p in self.module.named_parameters()}
        own = self.module.state_dict(keep_vars=True)  # without it come views, with identities of their own
        return {name: generated[by_tensor[id(t)]] if id(t) in by_tensor else t.detach() for name, t in own.items()}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the network computes with given weights, as far as it can be told: layers, names, buffers."""
        digest = hashlib.sha256(repr(self.module).encode())
        digest.update(repr([(name, tuple(shape)) for name, shape in self.shapes.items()]).encode())
        for name, buffer in self.module.named_buffers():
            digest.update(name.encode() + np.ascontiguousarray(buffer.detach().numpy()).tobytes())
        return digest.hexdigest()

    def flat(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The inverse of :meth:`tensors`.

        :returns: ``(size,)``.
        """
        return torch.cat([tensors[name].reshape(-1) for name in self.shapes])


def load_target(factory: str, *, seed: int) -> Target:
    """Call ``module:function`` and wrap the network it returns.

    :param seed: the network's template is built under it; the global random state is left as it was.
    :raises ConfigError: when the name cannot be imported or does not return a module.
    """
    module_name, colon, function = factory.partition(":")
    try:
        build = getattr(importlib.import_module(module_name), function) if colon else None
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"target {factory!r} cannot be imported ({error}). Use module:function.") from error
    if not callable(build):
        raise ConfigError(f"target {factory!r} is not module:function. Use for example {next(iter(BUILT_IN))}.")
    with torch.random.fork_rng(devices=[]):  # the CPU's alone: by default every GPU is asked
        torch.manual_seed(seed)
        module = build()
    if not isinstance(module, nn.Module):
        raise ConfigError(f"target {factory!r} returned {type(module).__name__}, not a torch.nn.Module.")
    return Target(module)


def _check_parameters(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ConfigError(
            f"{type(module).__name__} has lazy layers without a shape. Run it once on a batch of images, then pass it."
        )
    if not parameters:
        raise ConfigError(f"{type(module).__name__} has no parameter, so there is nothing to generate. Add a layer.")
