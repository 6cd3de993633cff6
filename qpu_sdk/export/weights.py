"""``model.safetensors``: the target's named tensors, readable with torch and safetensors alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from ..errors import ConfigError, DataError
from ..files import user_path, write_atomic
from ..training.config import GIVEN, DataConfig
from ..training.targets import BUILT_IN, Target
from .structure import build, check_tensors

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

    :param tensors: the whole ``state_dict``.
    :param metadata: strings; ``target`` names the factory, ``structure`` the layers, ``data`` and ``data_seed`` the
        images.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def __repr__(self) -> str:
        numbers = sum(tensor.numel() for tensor in self.tensors.values())
        return f"Model(target={self.metadata.get('target', '')!r}, tensors={len(self.tensors)}, numbers={numbers:,})"

    @property
    def data(self) -> DataConfig:
        """The data the model was trained on.

        :raises DataError: when the file does not say.
        """
        try:
            return DataConfig.model_validate_json(self.metadata["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(_FOREIGN) from error

    @property
    def data_seed(self) -> int:
        """Seed of the split of that data.

        :raises DataError: when the file does not say.
        """
        try:
            return int(self.metadata["data_seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(_FOREIGN) from error

    def module(self, network: nn.Module | None = None) -> nn.Module:
        """The trained network as an ordinary module, in evaluation mode.

        Without ``network`` it is made of what the file says: a built-in target, or layers of ``torch.nn``. Nothing that
        a file names is imported, so a class of your own has to be passed.

        :param network: a fresh one of your own; the weights are loaded into it.
        :raises ConfigError: when the file does not say how the network is made, or what was passed is none.
        :raises DataError: when the tensors are not that network's.
        """
        name = self.metadata.get("target", "")
        told = "a network passed from Python" if name == GIVEN else f"the target {name!r:.100}"
        if network is None and name not in BUILT_IN:
            if "structure" not in self.metadata:
                raise ConfigError(
                    f"the model is of {told}, which is not built in. Pass a fresh network of yours: "
                    "load_model(PATH).module(NETWORK)."
                )
            return build(self.metadata["structure"], self.tensors).eval()
        if network is None:
            network = BUILT_IN[name]()
            check_tensors(network, self.tensors, name)
        elif not isinstance(network, nn.Module):
            raise ConfigError("what was passed is no torch.nn.Module. Pass a fresh network: module(NETWORK()).")
        else:
            check_tensors(network, self.tensors, f"the {type(network).__name__} that was passed")
        network.load_state_dict(dict(self.tensors), strict=True)
        return network.eval()

    def open_target(self) -> Target:
        """The trained network as a function of its flat weights; raises as :meth:`module` does."""
        return Target(self.module())


def save_model(path: str | Path, model: Model) -> None:
    """Write a model atomically."""
    from safetensors.torch import save

    # A clone of each: safetensors takes no two tensors that share memory, as tied ones do.
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.tensors.items()}
    provenance = json.dumps(dict(model.metadata), sort_keys=True)
    write_atomic(path, save(tensors, metadata={METADATA_KEY: provenance}))


def export_model(path: str | Path, model: Model) -> None:
    """:func:`save_model` to a new file.

    :raises DataError: when the file exists already or cannot be written.
    """
    path = user_path(path, "the model's path")
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

    path = user_path(path, "the model's path")
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path} does not exist. Name a model.safetensors or the folder of a finished run.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
            metadata = dict(json.loads((file.metadata() or {}).get(METADATA_KEY, "{}")))
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("its metadata are not text")
        finite = all(torch.isfinite(tensor).all() for tensor in tensors.values())
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError) as error:  # nesting is a RuntimeError
        raise DataError(f"{path} cannot be read as safetensors ({error}). Export the model again.") from error
    if not finite:
        raise DataError(f"{path} holds weights that are not finite. Train the model again.")
    return Model(tensors, metadata)
