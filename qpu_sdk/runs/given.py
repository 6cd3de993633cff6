"""A network and images that were passed as objects: what a run keeps to know them again.

A file can name neither, so the configuration says :data:`~qpu_sdk.training.config.GIVEN` in their place, and the folder
keeps their fingerprints, what the network answers to a probe, and its first weights with their SHA-256::

    given.json  target.safetensors

Of a network that the configuration names, ``answers.json`` has what it answers to the probe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import nn

from ..errors import CheckpointError, ConfigError, DataError
from ..files import regular, write_atomic
from ..training.config import GIVEN, RunConfig
from ..training.data import Dataset
from ..training.pixels import is_batched
from ..training.targets import Target
from .folder import RunFolder


@final
@dataclass(frozen=True, eq=False)
class Given:
    """What the caller passed, None for what the configuration names."""

    target: Target | None = None
    data: Dataset | None = None

    @classmethod
    def of(cls, target: nn.Module | None, data: object, config: RunConfig | None = None) -> Given:
        """What was passed.

        :param data: a dataset, or a training and a test set of torch, of which one is made.
        :param config: which parameters of the network are generated, and whether labels are classes.
        :raises ConfigError: for what is no network, or a network without weights to generate.
        :raises DataError: for what are no images.
        """
        if isinstance(target, type):
            raise ConfigError(f"target= is the class {target.__name__}, not a network. Pass one: {target.__name__}().")
        if target is not None and not isinstance(target, nn.Module):
            raise ConfigError(f"target= is a {type(target).__name__}, not a torch.nn.Module. Pass a network.")
        config = RunConfig() if config is None else config
        images = _dataset(data, classes=config.training.loss is None)
        return cls(None if target is None else Target(target, config.target), images)

    def named(self, config: RunConfig) -> RunConfig:
        """The configuration that says what was given."""
        update: dict[str, Any] = {}
        if self.target is not None:
            update["target"] = config.target.model_copy(update={"factory": GIVEN})
        if self.data is not None:
            update["data"] = config.data.model_copy(update={"source": GIVEN})
        return config.model_copy(update=update)

    def save(self, folder: RunFolder, data: Dataset) -> None:
        """Write what tells them from others, and the network's first weights, which its controls begin with.

        :param data: the run's images, whose shape the network's probe has.
        """
        from safetensors.torch import save

        if self.target is None and self.data is None:
            return
        known: dict[str, Any] = self._fingerprints()
        if self.target is not None:
            weights = save({name: t.contiguous().clone() for name, t in self.target.module.state_dict().items()})
            write_atomic(folder.target, weights)
            shape = data.train.x.shape[1:]
            known["target_sha256"] = hashlib.sha256(weights).hexdigest()
            known["image_shape"] = list(shape)
            known["logits"] = self.target.probe(shape).tolist()
        write_atomic(folder.given, json.dumps(known, indent=1) + "\n")

    def restored(self, folder: RunFolder, config: RunConfig) -> Given:
        """The same after a check that it is what the run began with, the network with its first weights again.

        :raises CheckpointError: when something is missing, or is another.
        """
        for wanted, passed, what, name in (
            (config.target.factory == GIVEN, self.target is not None, "a network", "target"),
            (config.data.source == GIVEN, self.data is not None, "images", "data"),
        ):
            if wanted and not passed:
                raise CheckpointError(
                    f"{folder.path} began with {what} passed from Python. Go on there: "
                    f"qpu_sdk.resume({str(folder.path)!r}, {name}=...)."
                )
            if passed and not wanted:
                raise CheckpointError(f"{folder.path} has {what} of its configuration. Leave {name}= out.")
        if self.target is None and self.data is None:
            return self
        known, own = _read(folder.given), self._fingerprints()
        alike = {key: own[key] == known.get(key) for key in own}
        if self.target is not None and alike["target"]:
            alike["target"] = _answers_alike(self.target, known, folder.given)
        for key, what in (("target", "the target is not the network"), ("data", "the images are not those")):
            if not alike[key]:
                raise CheckpointError(f"{what} that {folder.path} began with. Pass what it began with.")
        if self.target is None:
            return self
        return replace(self, target=_with_first_weights(self.target, folder, sha256=known.get("target_sha256")))

    def _fingerprints(self) -> dict[str, str | None]:
        return {
            "target": None if self.target is None else self.target.fingerprint,
            "data": None if self.data is None else self.data.fingerprint,
        }


def _dataset(data: object, *, classes: bool) -> Dataset | None:
    check_data(data)
    if data is None or isinstance(data, Dataset):
        return data
    parts = data if isinstance(data, tuple | list) else [data]  # of one alone it is said that it is one
    return Dataset.of(*parts, classes=classes)


def check_data(data: object) -> None:
    """Raise :class:`DataError` for what no dataset is made of, before it is looked at."""
    pair = isinstance(data, tuple | list) and len(data) == 2
    if data is None or isinstance(data, Dataset) or pair or is_batched(data):
        return
    raise DataError(
        f"data is a {type(data).__name__}; a Dataset is needed, or a pair of DataLoaders. Make one with "
        "qpu_sdk.Dataset.of(x_train, y_train, x_test, y_test)."
    )


def save_answers(folder: RunFolder, target: Target, image_shape: Sequence[int]) -> None:
    """Write what a network of the user's own code answers: he may change that code before he goes on.

    :param image_shape: of one image, ``(C, H, W)``.
    """
    known = {"image_shape": list(image_shape), "logits": target.probe(image_shape).tolist()}
    write_atomic(folder.answers, json.dumps(known, indent=1) + "\n")


def check_answers(folder: RunFolder, target: Target) -> None:
    """Raise :class:`CheckpointError` when the network that the configuration names is another than in the beginning."""
    if folder.answers.is_file() and not _answers_alike(target, _read(folder.answers), folder.answers):
        raise CheckpointError(
            f"the target of {folder.path} answers otherwise than when the run began: its code has changed. Restore it, "
            "or start a new run."
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(regular(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Restore it: the run began with it.") from error


def _answers_alike(target: Target, known: Mapping[str, Any], path: Path) -> bool:
    """Whether the network answers the probe as the first one did, up to what another machine rounds otherwise."""
    try:
        shape, first = tuple(int(n) for n in known["image_shape"]), np.asarray(known["logits"], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}). Restore it: the run began with it.") from error
    try:
        now = target.probe(shape).numpy()
    except Exception:  # the network is the user's: it may raise anything
        return False
    finite = np.abs(first[np.isfinite(first)])
    scale = float(finite.max()) if finite.size else 0.0
    return now.shape == first.shape and bool(np.allclose(now, first, rtol=1e-4, atol=1e-4 * scale, equal_nan=True))


def _with_first_weights(target: Target, folder: RunFolder, *, sha256: object) -> Target:
    """Another process made the network anew, with other random weights; the controls need the first ones."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = regular(folder.target).read_bytes()
        if hashlib.sha256(weights).hexdigest() != sha256:
            raise ValueError("other bytes than were written")
        target.module.load_state_dict(load(weights))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(f"{folder.target} is damaged ({reason}). Restore it: the run began with it.") from error
    return target
