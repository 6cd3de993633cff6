"""From a device string to a cloud device: ``quandela:qpu:belenos?settings_per_job=10``."""

from __future__ import annotations

from collections.abc import Mapping

from ..address import DeviceAddress
from .account import cloud_token
from .client import CloudClient
from .device import CloudDevice
from .options import CloudOptions, device_name
from .payload import PlatformDetails
from .transport import Transport


def open_quandela(name: str, options: Mapping[str, str]) -> CloudDevice:
    """A platform of Quandela Cloud; asks for its details once.

    :raises AuthenticationError: when there is no token, or it is refused.
    :raises DeviceUnavailable: when the platform is unknown, offers no sampling, or does not answer.
    """
    parsed = CloudOptions.parse(options)
    return _device(device_name(f"quandela:{name}", parsed), name, _quandela(parsed), parsed)


def _quandela(options: CloudOptions) -> CloudClient:
    import perceval as pcvl

    config = pcvl.RemoteConfig()
    url = options.url or config.get_url()
    return CloudClient(url, cloud_token(), patience=options.patience, proxies=config.get_proxies())


def open_scaleway(name: str, options: Mapping[str, str]) -> CloudDevice:
    """A machine of Quandela at Scaleway."""
    parsed = CloudOptions.parse(options)
    return _device(device_name(f"scaleway:{name}", parsed), name, _scaleway(name, parsed), parsed)


def _scaleway(name: str, options: CloudOptions) -> Transport:
    from .scaleway import ScalewayClient

    url = options.url or None
    return ScalewayClient(name, project=options.project, url=url, idle_s=options.idle_s, patience=options.patience)


def open_gone(address: DeviceAddress, *, why: str) -> CloudDevice:
    """The device of a platform that is gone or samples no more, for jobs that were sent before.

    :param why: what to say when something is to be sent.
    """
    parsed, name = CloudOptions.parse(address.options), address.name
    client = _quandela(parsed) if address.kind == "quandela" else _scaleway(name, parsed)
    platform = PlatformDetails.gone(name)
    return CloudDevice(device_name(f"{address.kind}:{name}", parsed), client, platform, parsed, closed=why)


def _device(address: str, name: str, transport: Transport, options: CloudOptions) -> CloudDevice:
    platform = PlatformDetails.of(name, transport.platform(name))
    return CloudDevice(address, transport, platform, options)
