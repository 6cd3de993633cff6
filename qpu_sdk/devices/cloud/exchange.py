"""One request and its whole answer, to one address: no redirect is followed, and one clock bounds all of it."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, final

import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, LocationValueError

from ...words import TOLD_S, WAITING, clock_in, one_line
from ..waiting import hear_interrupts
from .route import Route

log = logging.getLogger(__name__)
_T = TypeVar("_T")


@final
class HeaderToken(requests.auth.AuthBase):
    """A token in a header of its own, or none; as an auth object it also keeps ``.netrc`` out.

    :param scheme: word before the token, such as ``"Bearer "``.
    """

    def __init__(self, header: str = "", token: SecretStr | None = None, *, scheme: str = "") -> None:
        self._header, self._token, self._scheme = header, token, scheme

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the header."""
        if self._token is not None:
            request.headers[self._header] = self._scheme + self._token.get_secret_value()
        return request


@final
@dataclass(frozen=True)
class Answered:
    """What came back, as it came: no word of it is fit to be shown."""

    code: int
    headers: Mapping[str, str]
    body: bytes


@final
class _Final(http.client.HTTPResponse):
    """Skips answers that only announce one, such as 103; Python 3.11 skips 100 alone."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 101 < found[1] < 200:
                return found
            while self.fp.readline(65537) not in (b"\r\n", b"\n", b""):
                pass


@final
class _Connections(HTTPAdapter):
    """Remembers its connections, so that they can be broken off."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Any] = []

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """A pool whose connections are remembered."""
        pool = super().get_connection_with_tls_context(*args, **options)
        make = pool.ConnectionCls

        def remembered(**details: Any) -> Any:
            made: Any = make(**details)
            made.response_class = _Final
            self._made.append(made)
            return made

        pool.ConnectionCls = remembered  # type: ignore[assignment]
        return pool

    def break_off(self) -> None:
        """End every connection that is open; a thread that waits for one goes on at once."""
        for made in list(self._made):
            with suppress(OSError, AttributeError):  # not made yet, or over
                made.sock.shutdown(socket.SHUT_RDWR)


@final
class _OneAddress(requests.Session):
    """Makes no connection but to the address it is given; a redirect is not even looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # proxies and certificates are those of the route, and no .netrc
        self.connections = _Connections()
        for scheme in ("http://", "https://"):
            self.mount(scheme, self.connections)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer says."""


@final
@dataclass(frozen=True)
class Bounds:
    """What one exchange may take.

    :param connect_s: for the connection, seconds.
    :param whole_s: for connection, headers and body together.
    :param most: bytes of the body after it is unpacked.
    """

    connect_s: float
    whole_s: float
    most: int


def exchange(
    method: str,
    url: str,
    *,
    auth: HeaderToken,
    limits: Bounds,
    route: Route,
    body: dict[str, Any] | None = None,
) -> Answered:
    """The answer to one request, on a connection of its own.

    :raises requests.RequestException: when there is no whole answer within the limits.
    """
    with _OneAddress() as session:  # a connection kept alive may be dead: did a POST on it arrive?

        def ask() -> Answered:
            try:
                response = session.request(
                    method,
                    url,
                    json=body,
                    auth=auth,
                    timeout=(limits.connect_s, limits.whole_s),
                    proxies=dict(route.proxies),
                    verify=route.verify,
                    allow_redirects=False,
                    stream=True,  # or all is read before anything can stop it
                )
            except requests.RequestException:
                raise
            except (UnicodeError, LocationValueError) as error:  # requests lets some of urllib3's through
                raise requests.exceptions.InvalidURL(str(error)) from None
            except HTTPError as error:
                raise requests.ConnectionError(error) from None
            except OSError as error:  # such as certificates that are not where they should be
                raise NotReady(one_line(error)) from None
            return Answered(response.status_code, response.headers, _whole(response, limits))

        try:
            return _in_time(ask, limits.whole_s, f"{method} {url.partition('?')[0]}")
        except BaseException:  # an interrupt too: nothing goes on behind the back of whoever stopped it
            session.connections.break_off()
            raise


def _in_time(call: Callable[[], _T], limit_s: float, what: str) -> _T:
    """Run in a thread of its own; when it takes too long it is left behind: sockets time only their next byte.

    :raises requests.ReadTimeout: when it took longer.
    """
    future: Future[_T] = Future()
    hear_interrupts()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # whoever waits gets it: a thread has nobody to raise to
            future.set_exception(error)

    # A daemon, so that a request that hangs lets the process end.
    threading.Thread(target=run, daemon=True, name="qpu-sdk-request").start()
    try:
        if limit_s > TOLD_S:
            with suppress(FutureTimeoutError):
                return future.result(TOLD_S)
            log.log(WAITING, "%s: no answer yet; waiting until %s", what, clock_in(limit_s - TOLD_S))
        return future.result(max(0.0, limit_s - TOLD_S) if limit_s > TOLD_S else limit_s)
    except FutureTimeoutError:
        raise requests.ReadTimeout(f"no whole answer in {limit_s:g} s") from None


def _whole(response: requests.Response, limits: Bounds) -> bytes:
    """The body within a time and a size; ``requests`` limits neither."""
    end, parts, size = time.monotonic() + limits.whole_s, [], 0
    with response:
        try:
            while part := response.raw.read1(1 << 16, decode_content=True):  # iter_content waits for a whole part
                parts.append(part)
                size += len(part)
                if time.monotonic() > end:
                    raise requests.ReadTimeout(f"the answer took longer than {limits.whole_s:g} s")
                if size > limits.most:
                    raise TooLong(f"the answer is longer than {limits.most} bytes")
        except HTTPError as error:
            raise requests.ConnectionError(error) from None
    return b"".join(parts)


@final
class NotReady(requests.RequestException):
    """This machine lacks something that the request needs."""


@final
class TooLong(requests.RequestException):
    """An answer of more bytes than what was asked for can have."""
