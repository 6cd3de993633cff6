"""The way to an address: through which proxy, and whose certificates are trusted.

The environment is read here and not by ``requests``, which would hand the token to a proxy in clear, and which finds
out what is wrong with proxies and certificates only in the middle of a run.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import final
from urllib.parse import SplitResult, urlsplit

from requests.utils import get_environ_proxies, select_proxy

from ...errors import ConfigError
from ...words import one_line, short

_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")


@final
@dataclass(frozen=True)
class Route:
    """How ``requests`` is to reach one address.

    :param proxies: of ``https``, or none.
    :param verify: file or folder of certificates, True for the usual ones.
    """

    proxies: Mapping[str, str]
    verify: str | bool

    @classmethod
    def to(cls, url: str, proxies: Mapping[str, str]) -> Route:
        """The way to an address: straight to this machine, and elsewhere through a proxy only when encrypted.

        :param proxies: that Perceval's configuration names; those of the environment follow.
        :raises ConfigError: when the proxy or the certificates cannot be used.
        """
        if urlsplit(url).scheme != "https":
            return cls({}, True)
        return cls(_proxies(url, proxies), _certificates())


def is_this_machine(host: str | None) -> bool:
    """Whether a host name or address is this machine, however it is written.

    >>> [is_this_machine(h) for h in ("LOCALHOST", "127.1", "::1", "::ffff:127.0.0.1", "cloud.test", None)]
    [True, True, True, True, False, False]
    """
    name = (host or "").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or (name and name == socket.gethostname().lower()):
        return True
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        try:
            found = ipaddress.ip_address(socket.inet_aton(name))  # 127.1 and other short forms
        except (OSError, UnicodeError):
            return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _proxies(url: str, configured: Mapping[str, str]) -> dict[str, str]:
    host = urlsplit(url).hostname
    if is_this_machine(host):
        return {}
    chosen: object = select_proxy(url, {**get_environ_proxies(url, no_proxy=None), **configured})
    if not chosen:
        return {}
    parts = _split(chosen)
    if parts is None or parts.scheme not in ("http", "https", *_SOCKS):
        raise ConfigError(
            f"the proxy for {short(host)} is no address of one. Write HTTPS_PROXY=http://proxy.example:3128, unset it, "
            "or change the proxies in Perceval's RemoteConfig."
        )
    if parts.scheme in _SOCKS and find_spec("socks") is None:
        raise ConfigError(
            f"the proxy for {short(host)} is {parts.scheme}://{one_line(parts.hostname, 80)}, and PySocks is missing. "
            'Install it (pip install "requests[socks]"), unset HTTPS_PROXY and ALL_PROXY, or put the host in NO_PROXY.'
        )
    return {"https": parts.geturl()}


def _split(proxy: object) -> SplitResult | None:
    """The parts of a proxy's address, which may hold a password and is not shown; None for what is no address."""
    if not isinstance(proxy, str) or not proxy.isprintable() or " " in proxy:
        return None
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return parts if parts.hostname and (parts.port is None or parts.port > 0) else None
    except ValueError:  # no port, half an address
        return None


def _certificates() -> str | bool:
    """Where trusted certificates are; raises :class:`ConfigError` when the environment names what is none."""
    variable = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    if variable is None:
        return True
    place = os.environ[variable]
    try:
        folder = Path(place).is_dir()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            **{"capath" if folder else "cafile": place}  # a folder is taken as it is
        )
    except (OSError, ValueError) as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else "holds no certificates that can be read"
        raise ConfigError(
            f"{variable} names {short(place, 200)}, which {why}. Correct it, or unset {variable}."
        ) from None
    return place
