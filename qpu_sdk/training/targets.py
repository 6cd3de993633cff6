"""Target networks, and the view of any ``torch.nn.Module`` as a function of one flat weight vector."""

from __future__ import annotations

import copy
import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .config import GIVEN


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


#: Images that tell whether two networks compute the same, and the seed of these and of the weights.
_PROBE_IMAGES, _PROBE_SEED = 4, 20_250_508


@final
class Target:
    """A network as a function of its flat weights, in ``state_dict`` order.

    The module runs in evaluation mode (no dropout, frozen batch statistics) through
    ``torch.func.functional_call``; its own parameters are only the template of names and shapes. Those that need no
    gradient are not generated: they keep their values. It is a copy: the caller's module is left as it was.

    :raises ConfigError: when the module has no parameter to generate, cannot be copied, or has what no file keeps.

    >>> target = Target(paper_cnn())
    >>> target.size
    6690
    """

    def __init__(self, module: nn.Module) -> None:
        _check_parameters(module)
        _check_kept(module)
        self.shapes: dict[str, torch.Size] = {n: p.shape for n, p in module.named_parameters() if p.requires_grad}
        self.module = _copied(module).eval().requires_grad_(False)
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
        """The whole ``state_dict`` with these weights: generated tensors, what is tied to them, frozen ones, buffers.

        :param weights: ``(size,)``.
        """
        generated = self.tensors(weights)
        by_tensor = {id(p): name for name, p in self.module.named_parameters() if name in generated}
        own = self.module.state_dict(keep_vars=True)  # without it come views, with identities of their own
        return {name: generated[by_tensor[id(t)]] if id(t) in by_tensor else t.detach() for name, t in own.items()}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the network says of itself: layers, names, and the values that are not generated.

        Two classes of one name and other code have one fingerprint; :meth:`probe` tells them apart.
        """
        digest = hashlib.sha256(repr(self.module).encode())
        digest.update(repr([(name, tuple(shape)) for name, shape in self.shapes.items()]).encode())
        frozen = [(name, p) for name, p in self.module.named_parameters() if name not in self.shapes]
        for name, kept in (*frozen, *self.module.named_buffers()):
            digest.update(repr((name, tuple(kept.shape), str(kept.dtype))).encode() + _bytes(kept))
        return digest.hexdigest()

    def probe(self, image_shape: Sequence[int]) -> Tensor:
        """Logits of seeded weights on seeded images: what the network computes, whatever its class is called.

        :param image_shape: of one image, ``(C, H, W)``.
        :returns: ``(n, classes)`` float32.
        """
        rng = torch.Generator().manual_seed(_PROBE_SEED)
        images = torch.rand((_PROBE_IMAGES, *image_shape), generator=rng)
        weights = [
            torch.randn(shape, generator=rng) / max(1, shape[1:].numel()) ** 0.5 for shape in self.shapes.values()
        ]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(_PROBE_SEED)  # a network may draw numbers even in evaluation mode
            return self.logits(torch.cat([w.reshape(-1) for w in weights]), images).detach().float()

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
    if factory == GIVEN:
        raise ConfigError("the target was a network passed from Python. Pass it again: train(..., target=NETWORK).")
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
    name, parameters = type(module).__name__, list(module.parameters())
    if isinstance(module, torch.jit.ScriptModule):
        raise ConfigError(f"{name} is compiled, so its weights cannot be replaced. Pass the module it was made of.")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ConfigError(f"{name} has lazy layers without a shape. Run it once on a batch of images, then pass it.")
    if not parameters:
        raise ConfigError(f"{name} has no parameter, so there is nothing to generate. Add a layer.")
    if not any(p.requires_grad and p.numel() for p in parameters):
        raise ConfigError(f"{name} has no parameter to generate: all are frozen. Call requires_grad_() on some.")


def _check_kept(module: nn.Module) -> None:
    """Everything in the ``state_dict`` has to go into a model file, or a run would be lost at its end."""
    for name, kept in module.state_dict().items():
        if not isinstance(kept, Tensor):
            found = f"a {type(kept).__name__}"
        elif kept.is_meta:
            found = "a tensor without values"
        elif kept.is_floating_point() and not torch.isfinite(kept.float()).all():
            found = "values that are not finite"
        else:
            continue
        raise ConfigError(
            f"{type(module).__name__} has {found} in its state_dict ({name:.100}), which no model file keeps. Give it "
            "finite tensors, or register the buffer with persistent=False."
        )


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {reason:.200}). Pass a module of "
            "layers and plain values."
        ) from error


def _bytes(tensor: Tensor) -> bytes:
    """Of any type: numpy knows no bfloat16."""
    return tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
