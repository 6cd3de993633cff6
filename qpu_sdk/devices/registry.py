"""``open_device("local:slos?transmittance=0.3")``: device strings, and an entry point for other people's devices.

A device string is ``KIND:NAME?option=value&option=value``. Packages add kinds under the entry-point group
``qpu_sdk.devices``: the name is the kind (or ``KIND-NAME`` for one name of a kind), the object a function
``(address: DeviceAddress, *, seed: int) -> Device``.

``local:slos?noise=belenos`` is a typical Belenos, ``noise=belenos-3`` the third that is drawn of its kind, with their
detectors, and ``noise=belenos-published`` has the vendor's figures alone. Whatever
:func:`~qpu_sdk.devices.noise_text.parse_device` reads may follow, as ``noise=belenos,g2=0.1``, as
``noise=belenos,g2:0.1`` where a second ``=`` is unwelcome, or percent-encoded as ``noise=belenos%2Cg2%3D0.1``. Every
key of it may be an option by itself, as ``local:slos?transmittance=0.3`` or ``local:slos?noise=belenos&g2=0.1``, which
is the same noise. Only ``&`` and ``%`` have a meaning in options.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from ..arrays import whole
from ..errors import ConfigError, DeviceUnavailable, QPUError
from ..photonics.inputs import is_perceval
from ..photonics.noise import Noise
from ..plugins import plugged
from ..words import did_you_mean
from .address import DeviceAddress
from .base import Device, DeviceSpec
from .counts_files import load_counts
from .local import LocalDevice
from .noise_text import parse_device
from .replay import ReplayDevice
from .simulation import LocalModel

if TYPE_CHECKING:
    import perceval
    from perceval.runtime import SimulatedComputer


ENTRY_POINT_GROUP = "qpu_sdk.devices"


class DeviceFactory(Protocol):
    """What an entry point provides."""

    def __call__(self, address: DeviceAddress, *, seed: int) -> Device:
        """Open the device."""
        ...


def open_device(
    name: str | Noise | perceval.Processor | SimulatedComputer | perceval.NoiseModel, *, seed: int
) -> Device:
    """Open the device a string names, a simulator of some noise, or one that a computer of Perceval here describes.

    :param name: such as ``local:slos?noise=ascella`` or ``quandela:qpu:belenos``; or a local ``perceval.Processor`` or
        ``SimulatedComputer``, whose noise and detectors are behind every program; or noise alone, ours or a
        ``perceval.NoiseModel``, in front of the detectors of ``local:slos``.
    :param seed: of the device's random numbers, if it draws any.
    :raises ConfigError: when the string or an option is malformed, or the object is no device.
    :raises DeviceUnavailable: when no such device is known.

    >>> open_device("local:slos", seed=1).spec.name
    'local:slos'
    >>> open_device(Noise(transmittance=[0.3, 0.2, 0.25]), seed=1).spec.max_modes
    3
    """
    seed = whole(seed, "seed", ConfigError, least=0)
    if isinstance(name, Noise):
        return _open_noise(name, seed=seed)
    if not isinstance(name, str):
        if not is_perceval(name):
            raise ConfigError(f"a {type(name).__name__} is no device. Give a string, such as local:slos.")
        from .perceval_device import is_noise_model, open_perceval

        return (
            _open_noise(Noise.from_perceval(name), seed=seed)
            if is_noise_model(name)
            else open_perceval(name, seed=seed)
        )
    address = DeviceAddress.parse(name)
    factories = device_factories()
    own = f"{address.kind}-{address.name}"  # what a package provides for one name of a kind goes first
    if own not in factories and address.kind not in factories:
        known, near = ", ".join(sorted(factories)), did_you_mean(address.kind, factories)
        raise DeviceUnavailable(f"device kind {address.kind!r} is unknown.{near} Known kinds: {known}.")
    return factories[own if own in factories else address.kind]()(address, seed=seed)


def without_platform(name: str, *, why: str) -> Device | None:
    """A device of a cloud whose platform is gone: its jobs can be asked for, and nothing is sent.

    :param why: what to say when something is to be sent.
    :returns: None for a device that has no platform.
    """
    address = DeviceAddress.parse(name)
    if address.kind not in ("quandela", "scaleway") or f"{address.kind}-{address.name}" in device_factories():
        return None
    from .cloud.opening import open_gone

    return open_gone(address, why=why)


def device_factories() -> dict[str, Callable[[], DeviceFactory]]:
    """Every known kind with a function that loads its factory; built-in kinds cannot be replaced."""
    return plugged(ENTRY_POINT_GROUP) | {
        "local": lambda: _open_local,
        "replay": lambda: _open_replay,
        "quandela": lambda: _open_quandela,
        "scaleway": lambda: _open_scaleway,
    }


def describe_devices() -> list[tuple[str, str]]:
    """Device strings that can be opened, and what they are."""
    options = ", ".join(_local_options())
    built_in = {
        "local": ("local:slos", f"simulator on this machine; options {options}"),
        "local-twin": ("local:twin?record=FILE", "simulator with the noise of a calibration record"),
        "replay": ("replay:FILE", "recorded counts"),
        "quandela": (
            "quandela:PLATFORM",
            "Quandela Cloud, such as quandela:qpu:belenos; token in PCVL_CLOUD_TOKEN",
        ),
        "scaleway": (
            "scaleway:PLATFORM?project=UUID",
            "the same at Scaleway; token in SCALEWAY_CLOUD_TOKEN",
        ),
    }
    others = sorted(kind for kind in device_factories() if kind not in built_in and kind != "local-twin")
    return [*built_in.values(), *((f"{kind}:...", "from an installed package") for kind in others)]


def _open_noise(noise: Noise, *, seed: int) -> Device:
    # The name ends in a digest, so that records of different noise are not mixed up.
    digest = hashlib.sha256(repr(noise).encode()).hexdigest()[:8]
    return LocalDevice(seed=seed, model=LocalModel(noise=noise), name=f"noise:{digest}")


def _open_local(address: DeviceAddress, *, seed: int) -> Device:
    if address.name != "slos":
        raise DeviceUnavailable(f"local device {address.name!r} is unknown. Use local:slos.")
    return LocalDevice(seed=seed, model=_local_model(address), name=str(address))


def _local_model(address: DeviceAddress) -> LocalModel:
    unknown = sorted(set(address.options) - set(_local_options()))
    if unknown:
        known, near = ", ".join(_local_options()), did_you_mean(unknown[0], _local_options())
        raise ConfigError(f"{address} has an unknown option {unknown[0]!r}.{near} Known options: {known}.")
    keys = {f.name for f in fields(Noise)}
    values: dict[str, Any] = {name: value for name, value in address.options.items() if name not in keys}
    own = {name: value for name, value in address.options.items() if name in keys}
    values["noise"], detector = parse_device(values.get("noise", "ideal").replace(":", "="), own)
    return LocalModel(**{"detector": detector} | values)  # detectors are the machine's unless others are asked for


def _local_options() -> list[str]:
    return [f.name for kind in (LocalModel, Noise) for f in fields(kind)]


def _open_replay(address: DeviceAddress, *, seed: int) -> Device:
    counts = load_counts(address.name)
    return ReplayDevice(counts, name=str(address), origin=_simulator({c.device for c in counts if c.device}))


def _simulator(devices: set[str]) -> DeviceSpec | None:
    """What the one simulator says of itself that was recorded; None when it was none or is not there any more."""
    name = next(iter(devices), "")
    if len(devices) != 1 or not name.startswith("local:"):
        return None
    try:
        return open_device(name, seed=0).spec
    except QPUError:
        return None


def _open_quandela(address: DeviceAddress, *, seed: int) -> Device:
    from .cloud.opening import open_quandela  # HTTP only where a cloud is named

    return open_quandela(address.name, address.options)


def _open_scaleway(address: DeviceAddress, *, seed: int) -> Device:
    from .cloud.opening import open_scaleway

    return open_scaleway(address.name, address.options)
