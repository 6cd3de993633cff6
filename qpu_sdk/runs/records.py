"""What a run knows of its devices, and how it turns their counts into distributions with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..devices.base import Device, DeviceSpec
from ..layer.estimator import Mitigation
from ..layer.records import User, Wanted, read_records, records_for
from ..training.config import RunConfig


def resolve(config: RunConfig, devices: Mapping[str, Device]) -> Mitigation:
    """:func:`resolve_records` for devices that are open."""
    return resolve_records(config, {name: device.spec for name, device in devices.items()})


def resolve_records(config: RunConfig, specs: Mapping[str, DeviceSpec]) -> Mitigation:
    """Find the record of every device; see :func:`~qpu_sdk.layer.records.records_for`.

    :param specs: what devices say of themselves, by the strings of the configuration.
    """
    return records_for([_user(config, name, specs[name]) for name in config.device_names if name in specs], _of(config))


def load_records(folder: Path, config: RunConfig) -> Mitigation:
    """What :func:`~qpu_sdk.layer.records.save_records` wrote; a folder that is not there holds nothing.

    :raises CheckpointError: when something is missing or was changed; see :func:`~qpu_sdk.layer.records.read_records`.
    """
    return read_records(folder, _of(config), config.device_names)


def _of(config: RunConfig) -> Wanted:
    own = config.mitigation
    return Wanted(own.method, own.record, own.max_age_h, config.seed)


def _user(config: RunConfig, name: str, spec: DeviceSpec) -> User:
    qnns = [qnn for i, qnn in enumerate(config.qnn) if config.device_of(i) == name]
    inputs = tuple(sorted({mode for qnn in qnns for mode in qnn.inputs}))
    return User(name, spec, max(qnn.modes for qnn in qnns), inputs)
