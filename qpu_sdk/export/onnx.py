"""``model.onnx``: the network for onnxruntime and its like, with what it is of in its metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..training.factories import plain_torch
from ..words import one_line
from .traced import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from .sample import Sample

#: What is needed to write and to check a file; onnxruntime alone reads it.
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
#: Names of the graph's input and output, and of how many there are.
IMAGES, LOGITS, BATCH = "images", "logits", "batch"
#: Bytes of the largest protocol buffer; a network beyond would have to be several files.
_LARGEST = 2**31 - 1


def onnx_bytes(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """The graph as an ONNX file; equal networks give equal files.

    :param program: of :func:`~qpu_sdk.export.traced.trace`.
    :param metadata: what the file says of itself.
    :raises ConfigError: when a package is missing, torch cannot translate the network, or it is too large.
    """
    _need()
    import onnx

    with plain_torch(), quiet():
        try:
            made = torch.onnx.export(
                program, dynamo=True, input_names=[IMAGES], output_names=[LOGITS], verbose=False, external_data=False
            )
            proto = made.model_proto  # type: ignore[union-attr]
        except Exception as error:  # the exporter raises many types
            raise _untranslated(error) from error
    _name_batch(proto.graph)
    _plain(proto.graph)
    for function in proto.functions:
        _plain(function)
    onnx.helper.set_model_props(proto, dict(sorted(metadata.items())))
    if proto.ByteSize() > _LARGEST:
        raise ConfigError(f"the network is {proto.ByteSize():,} bytes; an ONNX file has 2 GB. Use --format pt2.")
    return bytes(proto.SerializeToString(deterministic=True))


def check_onnx(content: bytes, sample: Sample) -> float:
    """Largest difference between onnxruntime's logits and torch's, once it is sure that they are the same.

    :raises ConfigError: when onnxruntime is missing, or cannot run what the network is made of.
    :raises DataError: see :meth:`~qpu_sdk.export.sample.Sample.difference`.
    """
    _need()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters is raised
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def answer(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run([LOGITS], {IMAGES: images.numpy()})[0])

        return sample.difference(answer, "the ONNX file")
    except DataError:
        raise
    except Exception as error:  # onnxruntime's own types
        raise ConfigError(
            f"onnxruntime cannot run the network ({one_line(error, 240)}). Use --format pt2 or safetensors."
        ) from error


def _untranslated(error: Exception) -> ConfigError:
    """One line: which part of the network it is, why, and the way out; the exporter tells of its stages first."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    first = str(chain[-1]).strip().partition("\n")[0]
    return ConfigError(
        f"torch cannot write {_part_of(chain)} as ONNX ({type(chain[-1]).__name__}: {one_line(first, 200)}). Use "
        "--format pt2 or safetensors."
    )


def _part_of(errors: Iterable[BaseException]) -> str:
    """The part of the network at whose operation the exporter was, which it has in hand and does not tell."""
    places: list[tuple[str, Any]] = []
    for error in errors:
        for frame, _ in walk_tb(error.__traceback__):
            nodes = [value for value in frame.f_locals.values() if isinstance(value, torch.fx.Node)]
            places += [list(n.meta["nn_module_stack"].values())[-1] for n in nodes if n.meta.get("nn_module_stack")]
    if not places:
        return "the network"
    place, kind = places[-1]
    own = str(kind).rpartition(".")[2]
    return f"{own} ({place})" if place else own


def _need() -> None:
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"ONNX needs {', '.join(missing)}. Install with: pip install {' '.join(ONNX_PACKAGES)}")


def _name_batch(graph: Any) -> None:
    """Call the one size that is free by its name, where the tracer numbers it."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = re.sub(rf"\b{re.escape(symbol)}\b", BATCH, size.dim_param)


def _plain(graph: Any) -> None:
    """Take out what the exporter says of the code that the network was, its files among it."""
    graph.ClearField("metadata_props")
    for named in ("value_info", "input", "output", "initializer"):
        for value in getattr(graph, named, ()):
            if hasattr(value, "metadata_props"):  # inputs of functions are names alone
                value.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _plain(inner)
