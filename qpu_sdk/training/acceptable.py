"""Which modules can be targets, and which of their parameters are generated: refused with one line each."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..words import one_line, short
from .config import TargetConfig

_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def check_parameters(module: nn.Module) -> None:
    """Whether there is something to generate, of a form that can be.

    :raises ConfigError: says what is in the way.
    """
    name, parameters = type(module).__name__, list(module.parameters())
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise ConfigError(f"{name} is compiled, so its weights cannot be replaced. Pass the module it was made of.")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ConfigError(f"{name} has lazy layers without a shape. Run it on a batch of images, then pass it.")
    if not parameters:
        raise ConfigError(f"{name} has no parameter, so there is nothing to generate. Add a layer.")
    for key, p in (*module.named_parameters(), *module.named_buffers()):
        if p.device.type not in ("cpu", "meta"):
            raise ConfigError(
                f"{name} is on {p.device} ({key:.100}), and a run begins on the CPU. Pass it with .cpu()."
            )
    if not any(p.requires_grad and p.numel() for p in parameters):
        raise ConfigError(f"{name} has no parameter to generate: all are frozen. Call requires_grad_() on some.")
    if any(p.requires_grad and p.is_complex() for p in parameters):
        raise ConfigError(f"{name} has complex parameters; real ones are generated. Use real and imaginary parts.")
    for layer in module.modules():
        if isinstance(layer, _INSTANCE_NORMS) and layer.track_running_stats and layer.training:
            raise ConfigError(f"{type(layer).__name__} keeps statistics here. Use it with track_running_stats=False.")


def check_kept(module: nn.Module) -> None:
    """Everything in the ``state_dict`` has to go into a model file, or a run would be lost at its end.

    :raises ConfigError: names the first that no file keeps.
    """
    for name, kept in module.state_dict().items():
        if not isinstance(kept, Tensor):
            found = f"a {type(kept).__name__}"
        elif kept.is_meta:
            raise ConfigError(
                f"{type(module).__name__} is on torch's meta device ({name:.100}), where tensors have no values. Make "
                'it on the CPU, outside of torch.device("meta"), or call .to_empty(device="cpu") and set its values.'
            )
        elif kept.is_complex() or kept.layout != torch.strided or kept.is_quantized:
            found = "complex, sparse or quantised numbers"
        elif kept.is_floating_point() and not torch.isfinite(kept.double()).all():
            found = "values that are not finite"
        else:
            continue
        raise ConfigError(
            f"{type(module).__name__} has {found} in its state_dict ({name:.100}), which no model file keeps. Give it "
            "finite real tensors, or register the buffer with persistent=False."
        )


def copied(module: nn.Module) -> nn.Module:
    """A copy of the caller's module, which stays as it was.

    :raises ConfigError: when it cannot be copied.
    """
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {reason:.200}). Pass a module of "
            "layers and plain values."
        ) from error


def evaluated(module: nn.Module) -> None:
    """Put a module into evaluation mode, without gradients, in place.

    :raises ConfigError: when it has none.
    """
    try:
        module.eval().requires_grad_(False)
    except (RuntimeError, NotImplementedError) as error:  # such as of programs of torch.export
        raise ConfigError(
            f"{type(module).__name__} has no evaluation mode ({one_line(error, 160)}). Pass the module it was made of."
        ) from error


def generated_names(module: nn.Module, config: TargetConfig) -> list[str]:
    """Names of the parameters that a configuration has generated, in the order of the module.

    :raises ConfigError: when a pattern matches no parameter that is trained, or none is left to generate.

    >>> generated_names(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), TargetConfig(exclude=["*.bias"]))
    ['0.weight', '1.weight']
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    aliases: dict[int, list[str]] = {}  # a tied parameter is meant by any of its names
    for name, p in module.named_parameters(remove_duplicate=False):
        if p.requires_grad:
            aliases.setdefault(id(p), []).append(name)
    for key in ("include", "exclude"):
        for pattern in getattr(config, key):
            if not any(fnmatchcase(name, pattern) for names in aliases.values() for name in names):
                raise ConfigError(
                    f"target.{key} has {short(pattern)}, which matches no parameter that is trained. There are: "
                    f"{one_line(', '.join(trained), 200)}."
                )
    chosen = [
        name
        for name, p in trained.items()
        if (not config.include or _matched(aliases[id(p)], config.include))
        and not _matched(aliases[id(p)], config.exclude)
    ]
    if not any(trained[name].numel() for name in chosen):
        raise ConfigError("target.include and target.exclude leave no parameter to generate. Leave out fewer.")
    return chosen


def _matched(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def further_places(module: nn.Module) -> Mapping[str, str]:
    """Places of parameters and buffers that are another layer's too, each with the first name of what is there.

    A layer that has two names is one place.

    >>> two = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> two[1].weight = two[0].weight
    >>> further_places(nn.Sequential(two, two))
    {'0.1.weight': '0.0.weight'}
    """
    first: dict[int, str] = {}
    further = {}
    for prefix, layer in module.named_modules():
        for key, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            name = f"{prefix}.{key}" if prefix else key
            if first.setdefault(id(tensor), name) != name:
                further[name] = first[id(tensor)]
    return further


def tied_names(module: nn.Module) -> Mapping[str, str]:
    """Further names in the ``state_dict`` of a tensor that is there already, each with its first name.

    >>> layer = nn.Linear(2, 2)
    >>> tied_names(nn.Sequential(layer, layer))
    {'1.weight': '0.weight', '1.bias': '0.bias'}
    """
    first: dict[int, str] = {}
    tied = {}
    for name, tensor in module.state_dict(keep_vars=True).items():  # without it come views, each with its own identity
        if isinstance(tensor, Tensor) and first.setdefault(id(tensor), name) != name:
            tied[name] = first[id(tensor)]
    return tied
