"""A network as a graph of ``torch.export``, from which ONNX and ``.pt2`` files are made."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..training.factories import place_of, plain_torch
from ..words import one_line
from .sample import kind_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: What torch and its exporters tell of themselves is nobody's concern who gets a checked file.
_TALKATIVE = ("torch.export", "torch.onnx", "torch.fx", "torch._dynamo", "onnxscript", "onnx_ir")
#: Images of a batch for which no size is special: 0 and 1 would be.
_BATCH = 2


def trace(network: nn.Module, image_shape: Sequence[int]) -> ExportedProgram:
    """The graph of a network in evaluation mode, for batches of any size.

    Images go in and logits come out as float32, whatever type the network has inside. The graph says nothing of the
    files where the network's code is.

    :param image_shape: of one image, ``(C, H, W)`` or ``(features,)``.
    :raises ConfigError: when torch cannot export it; names the module and where its code is.
    """
    images = torch.zeros((_BATCH, *image_shape), dtype=torch.float32)
    kind = kind_of(network)
    whole = network.eval() if kind == torch.float32 else _AsFloats(network, kind).eval()
    with plain_torch(), quiet():
        try:
            program = _exported(whole, (images,), {}, {0: torch.export.Dim("batch")})
        except Exception as error:  # torch raises a dozen types for code that it cannot follow
            raise _refused(network, images.to(kind), error) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of whoever trained it
    program.example_inputs = None  # they would be written down, pickled
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters without what they tell on the way."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


@final
class _AsFloats(nn.Module):
    """A network of another type behind float32 images and logits."""

    def __init__(self, network: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(self.kind)).float()
        return logits


def _exported(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: Mapping[int, Any] | None
) -> ExportedProgram:
    shapes = None if sizes is None else (sizes,)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return torch.export.export(module, args, kwargs, dynamic_shapes=shapes)


# -- who cannot be exported --------------------------------------------------------------------------------


@final
@dataclass(frozen=True, eq=False)
class _Call:
    """What a part of the network was called with."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _refused(network: nn.Module, images: Tensor, error: Exception) -> ConfigError:
    """One line: which part it is, why, where, and the way out."""
    name, part = _culprit(network, images)
    what = f"{type(part).__name__}{f' ({name})' if name else ''}"
    if _fixes_the_batch(error):
        return ConfigError(
            f"torch cannot export {what} for batches of any size: its code takes one size for granted"
            f"{_where_another_size_fails(network, images)}. Write x.flatten(1) or x.shape[0] where it has a number, or "
            "use --format safetensors."
        )
    first = str(error).strip().partition("\n")[0]
    return ConfigError(
        f"torch cannot export {what}: {type(error).__name__}: {one_line(first, 200)}{place_of(error)}. Decide by "
        "tensors (torch.where) where it asks for their values in Python, or use --format safetensors."
    )


def _fixes_the_batch(error: Exception) -> bool:
    return "specializ" in str(error) and "batch" in str(error)


def _where_another_size_fails(network: nn.Module, images: Tensor) -> str:
    try:
        with torch.no_grad():
            network(torch.cat([images, images[:1]]))
    except Exception as error:
        return place_of(error)
    return ""


def _culprit(network: nn.Module, images: Tensor) -> tuple[str, nn.Module]:
    """The innermost part that torch cannot export by itself, with its name; the network where no part is to blame."""
    calls = _calls(network, images)
    name, part = "", network
    while True:
        inside = [f"{name}.{child}".lstrip(".") for child, _ in part.named_children()]
        blamed = next((one for one in inside if one in calls and not _exports(calls[one])), None)
        if blamed is None:
            return name, part
        name, part = blamed, calls[blamed].module


def _calls(network: nn.Module, images: Tensor) -> dict[str, _Call]:
    """The first call of every part when the network looks at some images."""
    found: dict[str, _Call] = {}

    def remember(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.setdefault(name, _Call(module, args, kwargs))

        return hook

    parts = [(name, part) for name, part in network.named_modules() if name]
    hooks = [part.register_forward_pre_hook(remember(name), with_kwargs=True) for name, part in parts]
    try:
        with torch.no_grad(), suppress(Exception):  # whatever it raises was told by the export
            network(images)
    finally:
        for handle in hooks:
            handle.remove()
    return found


def _exports(call: _Call) -> bool:
    try:
        _exported(call.module, call.args, call.kwargs, None)
    except Exception:
        return False
    return True
