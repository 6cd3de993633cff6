"""A network's structure as JSON: layers of ``torch.nn`` and how they are nested, nothing that could run.

A layer is its class and the arguments of its constructor, read back from the attributes that carry their names::

    {"layer": "Linear", "arguments": {"in_features": 64, "out_features": 4, "bias": true}}
    {"layer": "Sequential", "children": {"0": {...}, "1": {...}}}

Only classes that ``torch.nn`` itself exports are built, and their arguments are numbers, words and lists of them.
A file may say anything: layers are built without memory, no more of them than its tensors have use for, and then take
these.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError

#: Containers whose children are their whole structure.
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
#: Placement and type of the parameters are not structure.
_NOT_STRUCTURE = frozenset({"self", "device", "dtype"})
#: Layers deep; a file that nests more was not written by us.
_DEEPEST = 50
#: Layers that any network may have, and how many more for each of its tensors: activations have none.
_LAYERS, _LAYERS_A_TENSOR = 1000, 20
#: Length that a structure may have for each layer; entries of a list, and letters of a word, among the arguments.
_LETTERS_A_LAYER, _LONGEST = 2000, 100
#: Whole numbers up to here are taken, and up to the number of all weights.
_LARGEST = 1_000_000
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

Structure = dict[str, Any]
_Kind = tuple[torch.Size, torch.dtype]


def describe(module: nn.Module) -> Structure | None:
    """The structure of a network of ``torch.nn``'s layers, None when it has others or cannot be built again.

    >>> describe(nn.Sequential(nn.Flatten(), nn.ReLU()))["children"]["1"]
    {'layer': 'ReLU', 'arguments': {'inplace': False}}
    """
    try:
        if _tied(module) or any(_altered(part) for part in module.modules()):
            return None
        structure = json.loads(json.dumps(_described(module)))
        again = _Builder(module.state_dict()).skeleton(structure)
    except (DataError, TypeError, ValueError, RuntimeError):  # lazy layers and endless nesting are RuntimeErrors
        return None
    same = _text(again) == _text(module) and _shapes(again) == _shapes(module)  # arguments may leave no attribute
    return dict(structure) if same else None


def build(text: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network that :func:`describe` described, with copies of these weights.

    :param text: the structure as JSON.
    :param tensors: its whole ``state_dict``.
    :raises DataError: when the structure names anything but layers of ``torch.nn``, or arguments that they refuse, or
        layers that have other tensors.

    >>> text = '{"layer": "Linear", "arguments": {"in_features": 2, "out_features": 3, "bias": false}}'
    >>> build(text, {"weight": torch.zeros(3, 2)})
    Linear(in_features=2, out_features=3, bias=False)
    """
    builder = _Builder(tensors)
    try:
        if len(text) > builder.layers * _LETTERS_A_LAYER:
            raise _damaged("its length", f"{len(text)} letters for {len(tensors)} tensors")
        structure = json.loads(text)
        network = builder.skeleton(structure)
        check_tensors(network, tensors, "the layers that it describes")
        network.load_state_dict({name: t.detach().clone() for name, t in tensors.items()}, strict=True, assign=True)
        if any(t.is_meta for t in _own_tensors(network)):  # such as buffers that no file holds
            network = _Builder(tensors).skeleton(structure, device="cpu")
            network.load_state_dict(dict(tensors), strict=True)
    except DataError:
        raise
    except Exception as error:  # layers of torch raise whatever they like for arguments that make no sense
        raise _damaged(type(error).__name__, error) from error
    return network


def check_tensors(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise :class:`DataError` unless names, shapes and types are those of the network.

    :param name: what the network is called.
    """
    own, found = _kinds(network.state_dict()), _kinds(tensors)
    if own != found:
        raise DataError(
            f"the model's tensors are not those of {name}: {_first_difference(own, found)}. Pass the network that was "
            "trained, or train it again."
        )


def _first_difference(own: Mapping[str, _Kind], found: Mapping[str, _Kind]) -> str:
    for key, (shape, kind) in own.items():
        if key not in found:
            return f"the file has no {key:.100}"
        if found[key] != (shape, kind):
            before, now = (
                f"{tuple(size)} {str(of).removeprefix('torch.')}" for size, of in (found[key], (shape, kind))
            )
            return f"{key:.100} was {before} and is {now}"
    return f"the file has {next(key for key in found if key not in own):.100} too"


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, _Kind]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _text(module: nn.Module) -> str:
    """What a network says of itself, ``np.int64(3)`` as 3."""
    return re.sub(r"\bnp\.\w+\(([^()]*)\)", r"\1", repr(module))


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _damaged(name: object, reason: object) -> DataError:
    first = (str(reason).splitlines() or [""])[0]
    return DataError(f"the model's structure is damaged ({name!s:.60}: {first:.200}). Pass a module of your own.")


# -- from a network ----------------------------------------------------------------------------------------


def _tied(module: nn.Module) -> bool:
    """Whether a parameter or buffer has two names: built again, it would be two."""
    named = (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    own = [id(tensor) for pairs in named for _, tensor in pairs]
    return len(set(own)) < len(own)


def _altered(module: nn.Module) -> bool:
    """Whether this one object does other than its class: hooks, or a method of its own."""
    hooked = any(getattr(module, name, None) for name in _HOOKS)
    return hooked or any(callable(getattr(type(module), name, None)) for name in vars(module))


def _described(module: nn.Module | None) -> Structure | None:
    name = type(module).__name__
    if module is None or getattr(nn, name, None) is not type(module):  # a user's class may be called Linear too
        return None
    if name in _CONTAINERS:
        # Not named_children, which tells of a layer that is used twice but once.
        children = {key: _described(child) for key, child in module._modules.items()}
        return {"layer": name, "children": children} if None not in children.values() else None
    names = [key for key in _arguments(type(module)) if hasattr(module, key)]
    return {"layer": name, "arguments": {key: _plain(module, key) for key in names}}


def _arguments(layer: type[nn.Module]) -> list[str]:
    return [name for name in inspect.signature(layer.__init__).parameters if name not in _NOT_STRUCTURE]


def _plain(module: nn.Module, key: str) -> Any:
    """An attribute as JSON: a parameter is told by its being there, a tuple is a list, a number is Python's own."""
    if key in module._parameters:
        return module._parameters[key] is not None
    return _number(getattr(module, key))


def _number(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_number(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


# -- from a file -------------------------------------------------------------------------------------------


@final
class _Builder:
    """Builds the layers that a file's tensors have use for; none is left for a second network."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.layers = _LAYERS + _LAYERS_A_TENSOR * len(tensors)
        self.tensors = len(tensors)
        self.largest = max(_LARGEST, sum(tensor.numel() for tensor in tensors.values()))
        self.room = 2 * self.largest  # for what no file holds too
        kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        self.kind = kinds.pop() if len(kinds) == 1 else torch.float32  # of several, only layers of float32 are built

    def skeleton(self, structure: Any, *, device: str = "meta") -> nn.Module:
        """The layers, on ``meta`` with shapes alone; fresh weights are drawn elsewhere, and will be replaced."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return self._built(structure, depth=0).to(self.kind)

    def _built(self, structure: Any, *, depth: int) -> nn.Module:
        name = structure.get("layer") if isinstance(structure, dict) else None
        layer = getattr(nn, name, None) if isinstance(name, str) and name.isidentifier() else None
        if depth > _DEEPEST or not (isinstance(layer, type) and issubclass(layer, nn.Module)):
            raise DataError(
                f"the model's structure names {name!r:.60}, no layer of torch.nn. Pass a module of your own."
            )
        self._spend(name, 1)
        try:
            if name in _CONTAINERS:
                children = {
                    str(key): self._built(child, depth=depth + 1) for key, child in structure["children"].items()
                }
                return _filled(layer(), children)
            made = layer(**{key: self._argument(key, value) for key, value in structure["arguments"].items()})
            self._count(made)
        except DataError:
            raise
        except Exception as error:  # layers of torch raise whatever they like for arguments that make no sense
            raise _damaged(name, error) from error
        return made

    def _spend(self, name: object, layers: int) -> None:
        self.layers -= layers
        if self.layers < 0:
            raise _damaged(name, "more layers than the tensors have use for")

    def _count(self, made: nn.Module) -> None:
        """Raise as soon as the layers have more tensors, or larger ones, than the file."""
        self.tensors -= len(made.state_dict())
        self.room -= sum(tensor.numel() for tensor in _own_tensors(made))
        if self.tensors < 0 or self.room < 0:
            raise ValueError("more weights than the file has")

    def _argument(self, key: str, value: Any) -> Any:
        if key in _NOT_STRUCTURE:
            raise ValueError(f"{key} is no structure")
        entries = value if isinstance(value, list) else [value]
        if len(entries) > _LONGEST or any(isinstance(entry, str) and len(entry) > _LONGEST for entry in entries):
            raise ValueError(f"{key} is too long")
        whole = [abs(entry) for entry in _leaves(entries)]
        if any(entry > self.largest for entry in whole):
            raise ValueError(f"{key} is too large")
        if "layers" in key and 2 * sum(whole) > self.tensors:  # as of an LSTM: each has two tensors or more
            raise ValueError(f"{key} is more than the file has tensors")
        return tuple(value) if isinstance(value, list) else value


def _leaves(entries: Iterable[Any]) -> Iterator[int]:
    """Whole numbers in nested lists, as Unflatten's names or the pairs of a padding."""
    for entry in entries:
        if isinstance(entry, list):
            yield from _leaves(entry)
        elif isinstance(entry, int):
            yield entry


def _filled(container: nn.Module, children: dict[str, nn.Module]) -> nn.Module:
    for key, child in children.items():
        container.add_module(key, child)
    return container
