"""From a device string to a cloud device: ``quandela:qpu:belenos?settings_per_job=10``."""

from __future__ import annotations

from collections.abc import Mapping

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
    import perceval as pcvl

    parsed = CloudOptions.parse(options)
    config = pcvl.RemoteConfig()
    url = parsed.url or config.get_url()
    client = CloudClient(url, cloud_token(), patience=parsed.patience, proxies=config.get_proxies())
    return _device(device_name(f"quandela:{name}", parsed), name, client, parsed)


def open_scaleway(name: str, options: Mapping[str, str]) -> CloudDevice:
    """A machine of Quandela at Scaleway."""
    from .scaleway import ScalewayClient

    parsed = CloudOptions.parse(options)
    client = ScalewayClient(
        name, project=parsed.project, url=parsed.url or None, idle_s=parsed.idle_s, patience=parsed.patience
    )
    return _device(device_name(f"scaleway:{name}", parsed), name, client, parsed)


def _device(address: str, name: str, transport: Transport, options: CloudOptions) -> CloudDevice:
    platform = PlatformDetails.of(name, transport.platform(name))
    return CloudDevice(address, transport, platform, options)
