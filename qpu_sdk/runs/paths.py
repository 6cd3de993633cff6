"""Paths in a configuration, as a run keeps them."""

from __future__ import annotations

from pathlib import Path

from ..devices.address import DeviceAddress
from ..errors import ConfigError
from ..training.config import DataConfig, RunConfig
from ..training.located import located, located_training
from ..training.sources import absolute_source
from ..words import one_line


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same configuration, whose paths hold wherever the run goes on.

    :raises ConfigError: when a path is none, or has bytes that no file of text can hold.
    """
    qnns = [q if q.device is None else q.model_copy(update={"device": _device(q.device)}) for q in config.qnn]
    update = {
        "device": _device(config.device),
        "qnn": tuple(qnns),
        "target": located(config.target, Path.cwd()),
        "training": located_training(config.training, Path.cwd()),
        "data": _data(config.data),
        "mitigation": config.mitigation.absolute(),
    }
    config = config.model_copy(update=update)
    text = config.to_toml()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text[: error.start].rpartition("\n")[2] + text[error.start :].partition("\n")[0]
        raise ConfigError(
            f"{one_line(line)} has bytes that are not UTF-8, which no configuration can keep. Rename that."
        ) from None
    return config


def _data(data: DataConfig) -> DataConfig:
    update = {"source": absolute_source(data.source)}
    if data.second_test is not None:
        update["second_test"] = absolute_source(data.second_test)
    return data.model_copy(update=update)


def _device(name: str) -> str:
    """Word for word what was written, unless it names a file by a relative path."""
    address = DeviceAddress.parse(name)
    absolute = address.absolute()
    return name if absolute == address else str(absolute)
