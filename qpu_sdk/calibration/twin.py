"""A record as a device: the noisy twin of what was measured, on this machine."""

from __future__ import annotations

from dataclasses import replace

from ..devices.address import DeviceAddress
from ..devices.base import Device
from ..devices.local import LocalDevice
from ..devices.simulation import LocalModel
from ..errors import ConfigError
from .record import CalibrationRecord
from .store import load_record


def twin(record: CalibrationRecord, *, seed: int, name: str = "local:twin") -> LocalDevice:
    """The noisy simulator with the parameters of a record; their errors are left out. The record serves it too."""
    device = LocalDevice(seed=seed, model=LocalModel(noise=record.noise(), detector=record.detector), name=name)
    device.spec = replace(device.spec, record_names=(name, record.device))
    return device


def open_twin(address: DeviceAddress, *, seed: int) -> Device:
    """``local:twin?record=PATH``.

    :raises ConfigError: when the path is missing or there is another option.
    :raises CalibrationError: when the file is no record.
    """
    if set(address.options) != {"record"}:
        raise ConfigError(f"{address} needs the record and nothing else. Write local:twin?record=PATH.")
    path = address.options["record"]
    device = twin(load_record(path), seed=seed, name=str(address))
    device.spec = replace(device.spec, record_file=path)
    return device
