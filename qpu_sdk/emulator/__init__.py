"""Quandela Cloud on 127.0.0.1: Perceval's clients and ours run against it unchanged.

Nothing here talks to the vendor. Any token is good unless the settings name some, and no token, header or
request is logged.

::

    with EmulatedCloud(CloudSettings(seed=1, time_scale=1000.0)) as cloud:
        processor = perceval.RemoteProcessor("sim:ideal", url=cloud.url, token="any")
"""

from __future__ import annotations

from .faults import Fault, Faults
from .server import EmulatedCloud, serve
from .settings import PLATFORMS, CloudSettings

__all__ = ["PLATFORMS", "CloudSettings", "EmulatedCloud", "Fault", "Faults", "serve"]
