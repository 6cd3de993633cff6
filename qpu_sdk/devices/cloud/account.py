"""Token and address of an account."""

from __future__ import annotations

import os
import re
from urllib.parse import quote_plus, urlsplit

from pydantic import SecretStr

from ...errors import AuthenticationError, ConfigError, SubmissionUncertain
from ...words import command, short

#: Longest id that is asked about, characters.
LONGEST_ID = 1000


def cloud_token() -> SecretStr:
    """The user's token: ``PCVL_CLOUD_TOKEN``, else what Perceval's ``RemoteConfig`` holds.

    :raises AuthenticationError: when there is none.
    """
    token = SecretStr(os.environ.get("PCVL_CLOUD_TOKEN", ""))
    if not token.get_secret_value().strip():
        import perceval as pcvl

        token = SecretStr(pcvl.RemoteConfig().get_token() or "")
    return checked_token(token, "Quandela Cloud", "Set PCVL_CLOUD_TOKEN, or save one with Perceval.")


def checked_token(token: SecretStr, cloud: str, way: str) -> SecretStr:
    """The token without blanks around it.

    :param way: how to set one.
    :raises AuthenticationError: when there is none, or it is no word of a header.
    """
    text = token.get_secret_value().strip()
    if not text:
        raise AuthenticationError(f"no token for {cloud}. {way}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AuthenticationError(f"the token for {cloud} holds blanks or other odd characters. Copy it again.")
    return SecretStr(text)


def checked_url(url: str) -> str:
    """The URL without a trailing slash; raises :class:`ConfigError` for one that would give the token away."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"the url is not that of a server ({error}). Write url=http://127.0.0.1:8080.") from None
    if "@" in parts.netloc:  # errors and logs show the url
        raise ConfigError("the url holds a user or a password. Leave them out.")
    local = host in ("127.0.0.1", "localhost", "::1")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigError(
            f"url {short(url, 200)} is not that of a server. Write for example url=http://127.0.0.1:8080."
        )
    if parts.scheme == "http" and not local:
        raise ConfigError(f"url {short(url, 200)} would send the token unencrypted. Use https.")
    return url.rstrip("/")


#: An id in an answer: what stands in a path, in a log and in a command to paste.
_ARRIVED = re.compile(r"[\w.:@/+=~][\w.:@/+=~-]{0,199}", re.ASCII)


def arrived_id(value: object) -> str:
    """The id of a new job as the provider gave it, the token taken out.

    :raises SubmissionUncertain: when it is none that can be used: the job may well exist.

    >>> arrived_id("3f2a-17")
    '3f2a-17'
    """
    if isinstance(value, str) and _ARRIVED.fullmatch(value):
        return value
    raise SubmissionUncertain(f"its creation was answered with the job id {short(value)}, which cannot be used")


def checked_id(job_id: str) -> str:
    """The id as it stands in a path; raises :class:`ConfigError` for what names no job."""
    # "None": what str() made of an id that never came
    if not job_id or job_id == "None" or len(job_id) > LONGEST_ID or not job_id.isprintable():
        raise ConfigError(f"job id {short(job_id)} names no job. Take one from: {command('jobs', 'list')}")
    return quote_plus(job_id)
