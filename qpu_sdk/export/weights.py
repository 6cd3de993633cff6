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
from ..training.factories import plain_torch
from ..training.targets import BUILT_IN, Target, answers_alike
from ..words import command, one_line
from .structure import build, check_tensors
from .use import METADATA_KEY as METADATA_KEY
from .use import Use as Use

if TYPE_CHECKING:
    from torch import Tensor


SCHEMA_VERSION = 1
#: The one of a seed, see :mod:`qpu_sdk.export.seed`.
SEED_KEY = "qpu_sdk_seed"
_FOREIGN = "the model does not say which images it was trained on. Train or export it again with this SDK."


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained network: named tensors and where they come from.

    :param tensors: the whole ``state_dict``.
    :param metadata: strings; ``target`` names the factory, ``structure`` the layers, ``tied`` the names that share a
        tensor, each of which has it, ``data`` and ``data_seed`` the images.
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

    @property
    def use(self) -> Use:
        """Which images it takes; of models that do not say, what MNIST has.

        :raises DataError: when it is damaged.
        """
        if "used" not in self.metadata:
            return Use(scale=self.data.scale if "data" in self.metadata else None)
        try:
            return Use.from_metadata(self.metadata["used"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"what the model says of its images is damaged ({one_line(error, 120)}). Train it again."
            ) from error

    def module(self, network: nn.Module | None = None) -> nn.Module:
        """The trained network as an ordinary module, in evaluation mode.

        Without ``network`` it is made of what the file says: a built-in target, or layers of ``torch.nn``. Nothing that
        a file names is imported, so a class of your own has to be passed.

        :param network: a fresh one of your own; the weights are loaded into it.
        :raises ConfigError: when the file does not say how the network is made, or what was passed is none.
        :raises DataError: when the tensors are not that network's.
        """
        with plain_torch():  # types and devices that the caller prefers are not those it was trained with
            return self._built(network)

    def _built(self, network: nn.Module | None) -> nn.Module:
        name = self.metadata.get("target", "")
        told = "a network passed from Python" if name == GIVEN else f"the target {name!r:.100}"
        if network is None and name not in BUILT_IN:
            if "structure" not in self.metadata:
                raise ConfigError(
                    f"the model is of {told}, which is not built in. Pass a fresh network of yours: "
                    "load_model(PATH).module(NETWORK), or --target FILE.py:FUNCTION."
                )
            return self._checked(build(self.metadata["structure"], self.tensors), "layers that the file describes")
        if network is None:
            network = BUILT_IN[name]()
            check_tensors(network, self.tensors, name)
        elif not isinstance(network, nn.Module):
            raise ConfigError("what was passed is no torch.nn.Module. Pass a fresh network: module(NETWORK()).")
        else:
            check_tensors(network, self.tensors, f"the {type(network).__name__} that was passed")
        network.load_state_dict(dict(self.tensors), strict=True)
        return self._checked(network, type(network).__name__)

    def _checked(self, network: nn.Module, name: str) -> nn.Module:
        """In evaluation mode, once it answers as the trained network did."""
        network, use = network.eval(), self.use
        try:
            alike = use.answers is None or answers_alike(network, use.shape, use.answers)
            reason = "answers otherwise"
        except Exception as error:  # the network is the user's: it may raise anything
            alike, reason = False, f"raises {type(error).__name__}, other"
        if not alike:
            raise DataError(
                f"the {name} {reason} than the network that was trained, with the same tensors. Pass the same class, "
                "made the same way."
            )
        return network

    def open_target(self) -> Target:
        """The trained network as a function of its flat weights; raises as :meth:`module` does."""
        return Target(self.module())


def save_model(path: str | Path, model: Model) -> None:
    """Write a model atomically."""
    write_atomic(path, model_bytes(model))


def model_bytes(model: Model) -> bytes:
    """The file of a model; equal models give equal files."""
    from safetensors.torch import save

    # A clone of each: safetensors takes no two tensors that share memory, as tied ones do.
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.tensors.items()}
    provenance = json.dumps(dict(model.metadata), sort_keys=True)
    return _metadata_sorted(
        save(tensors, metadata={"format": "pt", METADATA_KEY: provenance})
    )  # transformers asks for pt


def _metadata_sorted(file: bytes) -> bytes:
    """The same file of safetensors with its metadata in order, which is otherwise another one each time."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return file[:8] + text.ljust(end - 8) + file[end:]


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
            told = file.metadata() or {}
        if SEED_KEY in told:
            raise DataError(f"{path} is a seed. Make the model of it first: {command('expand', path)}.")
        metadata = dict(json.loads(told.get(METADATA_KEY, "{}")))
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("its metadata are not text")
        # eight bits are only looked at as more
        finite = all(torch.isfinite(t.double()).all() for t in tensors.values() if t.is_floating_point())
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError) as error:  # nesting is a RuntimeError
        raise DataError(f"{path} cannot be read as safetensors ({error}). Export the model again.") from error
    if not finite:
        raise DataError(f"{path} holds weights that are not finite. Train the model again.")
    return Model(tensors, metadata)
