"""``model.safetensors``: the target's named tensors, readable with torch and safetensors alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch

from ..errors import ConfigError, DataError
from ..files import write_atomic
from ..training.config import DataConfig
from ..training.targets import BUILT_IN, Target

if TYPE_CHECKING:
    from torch import Tensor


SCHEMA_VERSION = 1
#: The one metadata entry, a JSON object: several entries would be written in no fixed order.
METADATA_KEY = "qpu_sdk"
_FOREIGN = "the model does not say which images it was trained on. Train or export it again with this SDK."


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained network: named tensors and where they come from.

    :param metadata: strings; ``target`` names the factory, ``data`` and ``data_seed`` the images.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def data(self) -> DataConfig:
        """The data the model was trained on."""
        try:
            return DataConfig.model_validate_json(self.metadata["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(_FOREIGN) from error

    @property
    def data_seed(self) -> int:
        """Seed of the split of that data."""
        try:
            return int(self.metadata["data_seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(_FOREIGN) from error

    def open_target(self) -> Target:
        """The network to load the tensors into.

        Only built-in targets are opened by the name in a file; nothing else is imported.

        :raises ConfigError: for a target of the user's own (load its tensors with torch instead).
        :raises DataError: when the tensors are not that network's.
        """
        name = self.metadata.get("target", "")
        if name not in BUILT_IN:
            raise ConfigError(
                f"the model names the target {name!r}, which is not built in. Load the tensors into your own module "
                "with safetensors.torch.load_file."
            )
        target = Target(BUILT_IN[name]())
        shapes = {key: tensor.shape for key, tensor in self.tensors.items()}
        if shapes != target.shapes or any(t.dtype != torch.float32 for t in self.tensors.values()):
            raise DataError(f"the model's tensors are not those of {name}. Train or export the model again.")
        return target


def save_model(path: str | Path, model: Model) -> None:
    """Write a model atomically."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.tensors.items()}
    provenance = json.dumps(dict(model.metadata), sort_keys=True)
    write_atomic(path, save(tensors, metadata={METADATA_KEY: provenance}))


def export_model(path: str | Path, model: Model) -> None:
    """:func:`save_model` to a new file.

    :raises DataError: when the file exists already or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} exists already. Choose another --out.")
    try:
        save_model(path, model)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error}). Choose another --out.") from error


def load_model(path: str | Path) -> Model:
    """Read ``model.safetensors``, or the one in a run folder.

    :raises DataError: when it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path} does not exist. Name a model.safetensors or the folder of a finished run.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
            metadata = dict(json.loads((file.metadata() or {}).get(METADATA_KEY, "{}")))
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}). Export the model again.") from error
    if any(not torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise DataError(f"{path} holds weights that are not finite. Train the model again.")
    return Model(tensors, metadata)
