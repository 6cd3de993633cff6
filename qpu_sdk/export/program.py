"""``model.pt2``: the network as a program of ``torch.export``, which runs where only torch is."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..training.factories import plain_torch
from .traced import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from .sample import Sample

#: The file within the archive that says what the network is of.
METADATA_FILE = "qpu_sdk.json"


def program_bytes(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """The archive that ``torch.export.load`` reads; nothing in it is pickled, and equal networks give equal files.

    :param program: of :func:`~qpu_sdk.export.traced.trace`.
    :param metadata: what the file says of itself.
    """
    out = io.BytesIO()
    with plain_torch(), quiet():
        torch.export.save(program, out, extra_files={METADATA_FILE: json.dumps(dict(metadata), sort_keys=True)})
    return out.getvalue()


def check_program(content: bytes, sample: Sample) -> float:
    """Largest difference between the logits of the program, read back, and the network's.

    :raises DataError: see :meth:`~qpu_sdk.export.sample.Sample.difference`.
    """
    with plain_torch(), quiet(), torch.no_grad():
        network = torch.export.load(io.BytesIO(content)).module()

        def answer(images: Tensor) -> Tensor:
            logits: Tensor = network(images)
            return logits

        return sample.difference(answer, "the .pt2 file")
