"""One request and its whole answer, to one address: no redirect is followed, nothing local is proxied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar, final
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from .retry import TransientError

_T = TypeVar("_T")

#: Longest answer that is read, bytes.
LONGEST_ANSWER = 512 * 2**20
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@final
class HeaderToken(requests.auth.AuthBase):
    """A token in a header of its own, or none; as an auth object it also keeps ``.netrc`` out."""

    def __init__(self, header: str = "", token: SecretStr | None = None) -> None:
        self._header, self._token = header, token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the header."""
        if self._token is not None:
            request.headers[self._header] = self._token.get_secret_value()
        return request


@final
class _OneAddress(requests.Session):
    """Makes no connection but to the address it is given; a redirect is not even looked at."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer says."""


def exchange(
    method: str,
    url: str,
    *,
    auth: HeaderToken,
    limits_s: tuple[float, float],
    proxies: Mapping[str, str],
    body: dict[str, Any] | None = None,
) -> tuple[int, bytes]:
    """Status and body of the answer to one request, on a connection of its own.

    :param limits_s: for the connection, and for the answer from its first byte on.
    :param proxies: for addresses elsewhere.
    :raises requests.exceptions.InvalidURL: for an address that is none.
    :raises requests.RequestException: when there is no whole answer within the time and :data:`LONGEST_ANSWER`.
    """
    with _OneAddress() as session:
        local = urlsplit(url).hostname in _THIS_MACHINE
        session.trust_env = not local  # a proxy of the environment would get the token in clear
        try:
            response = session.request(
                method,
                url,
                json=body,
                auth=auth,
                timeout=limits_s,
                proxies={} if local else dict(proxies),
                allow_redirects=False,
                stream=True,  # or all is read before anything can stop it
            )
        except (UnicodeError, HTTPError) as error:  # requests lets some of urllib3's through
            raise requests.exceptions.InvalidURL(str(error)) from None
        return response.status_code, _whole(response, limits_s[1])


def in_time(call: Callable[[], _T], limit_s: float) -> _T:
    """Run in a thread of its own; when it takes too long it is left behind, and nobody waits for it.

    :raises TransientError: when it took longer.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # whoever waits gets it: a thread has nobody to raise to
            future.set_exception(error)

    # A daemon, so that a request that hangs lets the process end.
    threading.Thread(target=run, daemon=True, name="qpu-sdk-scaleway").start()
    try:
        return future.result(limit_s)
    except FutureTimeoutError:
        raise TransientError(f"no answer in {limit_s:g} s") from None


def _whole(response: requests.Response, limit_s: float) -> bytes:
    """The body within a time and a size; ``requests`` limits neither."""
    end, parts, size = time.monotonic() + limit_s, [], 0
    with response:
        try:
            while part := response.raw.read1(1 << 16, decode_content=True):  # iter_content waits for a whole part
                parts.append(part)
                size += len(part)
                if time.monotonic() > end:
                    raise requests.ReadTimeout(f"the answer took longer than {limit_s:g} s")
                if size > LONGEST_ANSWER:
                    raise requests.RequestException(f"the answer is longer than {LONGEST_ANSWER} bytes")
        except HTTPError as error:
            raise requests.ConnectionError(error) from None
    return b"".join(parts)
