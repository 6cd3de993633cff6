"""Checkpoints: tensors as safetensors, the rest as JSON, committed by the JSON's rename.

A checkpoint is ``NNNNNN.safetensors`` and ``NNNNNN.json`` (N: units of work done). The JSON is written last and holds
the tensors' SHA-256, so a process killed at any moment leaves the previous checkpoint in force.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ..errors import CheckpointError
from ..files import write_atomic
from ..training.loop import Checkpoint

SCHEMA_VERSION = 1
KEPT = 2


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, config: str) -> None:
    """Write one checkpoint and drop all but the newest :data:`KEPT`.

    :param config: fingerprint of the run's configuration.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{checkpoint.unit:06d}"
    blob = save({name: tensor.detach().contiguous().clone() for name, tensor in checkpoint.tensors.items()})
    header = {
        "schema_version": SCHEMA_VERSION,
        "config": config,
        "unit": checkpoint.unit,
        "sha256": hashlib.sha256(blob).hexdigest(),
        "values": dict(checkpoint.values),
    }
    write_atomic(stem.with_suffix(".safetensors"), blob)
    write_atomic(stem.with_suffix(".json"), json.dumps(header, indent=1))
    for old in sorted(folder.glob("[0-9]*.json"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(folder: Path, *, config: str) -> Checkpoint | None:
    """The newest checkpoint, ``None`` when there is none yet.

    :raises CheckpointError: when it is damaged, of a newer SDK, or of another configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    headers = sorted(folder.glob("[0-9]*.json"))
    if not headers:
        return None
    path = headers[-1]
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        version, owner, unit = header["schema_version"], header["config"], int(header["unit"])
        digest, values = header["sha256"], dict(header["values"])
        blob = path.with_suffix(".safetensors").read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(_damaged(path, f"{type(error).__name__}: {error}")) from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{path} has schema version {version}; this SDK reads {SCHEMA_VERSION}. Update qpu_sdk.")
    if owner != config:
        raise CheckpointError(
            f"{path} belongs to another configuration than config.toml and records beside it. Restore them."
        )
    if hashlib.sha256(blob).hexdigest() != digest:
        raise CheckpointError(_damaged(path.with_suffix(".safetensors"), "checksum does not match"))
    try:
        return Checkpoint(unit=unit, tensors=load(blob), values=values)
    except SafetensorError as error:
        raise CheckpointError(_damaged(path.with_suffix(".safetensors"), str(error))) from error


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}). Delete {path.stem}.* in that folder to resume from the checkpoint before it."
