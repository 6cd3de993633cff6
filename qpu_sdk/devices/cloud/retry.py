"""Patience: what may be asked again, and until when."""

from __future__ import annotations

import logging
import math
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar, final

import requests
import tenacity
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ...errors import ConfigError, DeviceUnavailable, QPUError
from ...words import TOLD_S, WAITING, clock_in, one_line
from .exchange import NotReady, TooLong

log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Answers to a GET after which the same GET may succeed; so may one after any 5xx.
TRANSIENT = frozenset({408, 409, 421, 423, 425, 429})


@final
@dataclass(frozen=True)
class Patience:
    """How long to wait for what, seconds.

    :param connect_s: for a connection.
    :param read_s: for the whole answer to a GET.
    :param create_s: for the answer to the POST that creates a job.
    :param deadline_s: for a GET with all its repetitions.
    :param opening_s: for a connection to an address that never answered yet: it may have a slip in it.
    :param first_s: first pause between repetitions; doubled, with jitter, up to ``longest_s``.
    """

    connect_s: float = 10.0
    read_s: float = 60.0
    create_s: float = 120.0
    deadline_s: float = 900.0
    opening_s: float = 6.0
    first_s: float = 1.0
    longest_s: float = 60.0


@final
class TransientError(Exception):
    """The same request may succeed a moment later.

    :param after_s: not before so many seconds.
    :param within_s: it is hopeless when it has not by then.
    """

    def __init__(self, why: str, *, after_s: float = 0.0, within_s: float = math.inf) -> None:
        super().__init__(why)
        self.after_s, self.within_s = after_s, within_s


def repeat(
    once: Callable[[], _T], what: str, *, at: str, patience: Patience, sleep: Callable[[float], None] | None = None
) -> _T:
    """Ask again while the reason may pass, with growing, jittered pauses, until the deadline.

    :param once: a request that does no harm when repeated; :class:`TransientError` says that the reason may pass.
    :param at: who is asked.
    :raises DeviceUnavailable: at the deadline.
    """
    # Random: clients that lost one server together must not all come back at once.
    backoff = tenacity.wait_random_exponential(multiplier=patience.first_s, max=patience.longest_s)

    def failure(state: tenacity.RetryCallState) -> TransientError:
        error = state.outcome.exception() if state.outcome else None
        return error if isinstance(error, TransientError) else TransientError("no reason")

    def pause(state: tenacity.RetryCallState) -> float:
        return max(failure(state).after_s, float(backoff(state)))

    def limit_s(state: tenacity.RetryCallState) -> float:
        return min(patience.deadline_s, failure(state).within_s)

    def over(state: tenacity.RetryCallState) -> bool:
        return (state.seconds_since_start or 0.0) + state.upcoming_sleep >= limit_s(state)  # no pause ends after it

    def say(state: tenacity.RetryCallState) -> None:
        waited_s = state.seconds_since_start or 0.0
        left_s = limit_s(state) - waited_s
        log.log(
            WAITING if waited_s + state.upcoming_sleep > TOLD_S else logging.INFO,
            "%s: %s; asking again in %.1f s, at most until %s",
            what, failure(state), state.upcoming_sleep, clock_in(left_s),
        )  # fmt: skip

    begun = time.monotonic()
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=pause,
        stop=over,
        sleep=sleep if sleep is not None else time.sleep,
        before_sleep=say,
        reraise=True,
    )
    try:
        return retrying(once)
    except TransientError as error:
        advice = "Go on later." if error.within_s == math.inf else "Check the address. Go on later."
        raise DeviceUnavailable(
            f"{what}: no usable answer from {at} for {time.monotonic() - begun:.0f} s, of at most "
            f"{min(patience.deadline_s, error.within_s):g} s ({error}). {advice}"
        ) from None


#: Errors that are found before anything leaves: an address or a proxy that is none.
_NO_ADDRESS = (
    requests.exceptions.InvalidURL,  # and InvalidProxyURL
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})


def never_sent(error: requests.RequestException) -> bool:
    """True when no connection was made, so that the server cannot have seen the request."""
    if isinstance(error, (requests.ConnectTimeout, *_NO_ADDRESS)):
        return True
    # Name resolution is a NewConnectionError; a proxy that makes no tunnel has passed nothing on.
    return any(
        isinstance(cause, NewConnectionError | ConnectTimeoutError | ssl.SSLCertVerificationError) or _no_tunnel(cause)
        for cause in _causes(error)
    )


def nobody_there(error: requests.RequestException) -> bool:
    """True when the connection was refused, or no machine has that name: a slow network looks different."""
    return never_sent(error) and not isinstance(error, requests.ConnectTimeout)


def hopeless(error: requests.RequestException, at: str) -> QPUError | None:
    """The error that no repetition mends, ``None`` for one that may pass.

    :param at: who was asked.
    """
    if isinstance(error, _NO_ADDRESS):
        return ConfigError(f"{at} is no address of a server. Write for example url=http://127.0.0.1:8080.")
    if isinstance(error, TooLong):
        return DeviceUnavailable(f"{at}: {error}. What was asked for is shorter. Go on later, or look at that address.")
    if isinstance(error, NotReady):
        return ConfigError(f"{at} cannot be asked from here ({error}). Check certificates and proxies.")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = one_line(getattr(cause, "verify_message", "") or "it does not fit", 100)
            return DeviceUnavailable(
                f"the certificate of {at} is not to be trusted ({why}). Check the address and this machine's clock, or "
                "name your own certificates in REQUESTS_CA_BUNDLE."
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return DeviceUnavailable(
                f"{at} speaks no https that is understood here ({cause.reason}). Check the address."
            )
        if _no_tunnel(cause) and " 407" in str(cause):
            return ConfigError(f"the proxy on the way to {at} wants a user and a password. Put them into HTTPS_PROXY.")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that it wraps, which ``requests`` and urllib3 do in several ways."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [*one.args, getattr(one, "reason", None), getattr(one, "original_error", None), one.__cause__]
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _no_tunnel(error: BaseException) -> bool:
    return isinstance(error, OSError) and str(error).startswith("Tunnel connection failed")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds the server asks to wait, 0 when it does not; at most an hour."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return 0.0
    return min(max(0.0, seconds), 3600.0)


def reason_of(error: requests.RequestException) -> str:
    """What went wrong on the way, in a few words; the full text names addresses and headers."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.ReadTimeout):
        return "no answer in time"
    if any(map(_no_tunnel, _causes(error))):
        return "the proxy makes no connection"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached"
    if never_sent(error):
        return "connection refused or name unknown"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate or the encryption is wrong"
    return "the connection broke"
