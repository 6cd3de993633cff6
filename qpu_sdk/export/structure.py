"""A network's structure as JSON: layers of ``torch.nn`` and how they are nested, nothing that could run.

A layer is its class and the arguments of its constructor, read back from the attributes that carry their names::

    {"layer": "Linear", "arguments": {"in_features": 64, "out_features": 4, "bias": true}}
    {"layer": "Sequential", "children": {"0": {...}, "1": {...}}}

Only classes that ``torch.nn`` itself exports are built, and their arguments are numbers, words and lists of them.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from ..errors import DataError

#: Containers whose children are their whole structure.
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
#: Placement and type of the parameters are not structure.
_NOT_STRUCTURE = frozenset({"self", "device", "dtype"})
#: Layers deep; a file that nests more was not written by us.
_DEEPEST = 50

Structure = dict[str, Any]


def describe(module: nn.Module) -> Structure | None:
    """The structure of a network of ``torch.nn``'s layers, None when it has others or cannot be built again.

    >>> describe(nn.Sequential(nn.Flatten(), nn.ReLU()))["children"]["1"]
    {'layer': 'ReLU', 'arguments': {'inplace': False}}
    """
    structure = _described(module)
    if structure is None:
        return None
    try:
        again = build(structure)
    except DataError:
        return None
    same = repr(again) == repr(module) and _shapes(again) == _shapes(module)  # arguments may leave no attribute
    return structure if same else None


def build(structure: Structure) -> nn.Module:
    """The network that :func:`describe` described, with weights of its own.

    :raises DataError: when the structure names anything but layers of ``torch.nn``, or arguments that they refuse.

    >>> build({"layer": "Linear", "arguments": {"in_features": 2, "out_features": 3, "bias": True}})
    Linear(in_features=2, out_features=3, bias=True)
    """
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, and will be replaced
        return _built(structure, depth=0)


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _described(module: nn.Module) -> Structure | None:
    name = type(module).__name__
    if getattr(nn, name, None) is not type(module):  # a user's class may be called Linear too
        return None
    if name in _CONTAINERS:
        children = {key: _described(child) for key, child in module.named_children()}
        return {"layer": name, "children": children} if None not in children.values() else None
    names = [key for key in _arguments(type(module)) if hasattr(module, key)]
    return {"layer": name, "arguments": {key: _plain(module, key) for key in names}}


def _arguments(layer: type[nn.Module]) -> list[str]:
    return [name for name in inspect.signature(layer.__init__).parameters if name not in _NOT_STRUCTURE]


def _plain(module: nn.Module, key: str) -> Any:
    """An attribute as JSON: a parameter is told by its being there, a tuple is a list."""
    value = getattr(module, key)
    if key in dict(module.named_parameters(recurse=False)) or key in module._parameters:
        return value is not None
    return list(value) if isinstance(value, tuple) else value


def _built(structure: Structure, *, depth: int) -> nn.Module:
    name = structure.get("layer") if isinstance(structure, dict) else None
    layer = getattr(nn, name, None) if isinstance(name, str) and name.isidentifier() else None
    if depth > _DEEPEST or not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise DataError(f"the model's structure names {name!r:.60}, no layer of torch.nn. Pass a module of your own.")
    try:
        if name in _CONTAINERS:
            children = {str(key): _built(child, depth=depth + 1) for key, child in structure["children"].items()}
            return _filled(layer(), children)
        arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in structure["arguments"].items()}
        return layer(**arguments)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(f"the model's structure is damaged ({name}: {error}). Pass a module of your own.") from error


def _filled(container: nn.Module, children: dict[str, nn.Module]) -> nn.Module:
    for key, child in children.items():
        container.add_module(key, child)
    return container
