"""Patience: what may be asked again, and until when."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar, final

import requests
import tenacity
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from ...errors import DeviceUnavailable

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
    :param first_s: first pause between repetitions; doubled, with jitter, up to ``longest_s``.
    """

    connect_s: float = 10.0
    read_s: float = 60.0
    create_s: float = 120.0
    deadline_s: float = 900.0
    first_s: float = 1.0
    longest_s: float = 60.0


@final
class TransientError(Exception):
    """The same request may succeed a moment later."""

    def __init__(self, why: str, *, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


def repeat(
    once: Callable[[], _T], what: str, *, at: str, patience: Patience, sleep: Callable[[float], None] = time.sleep
) -> _T:
    """Ask again while the reason may pass, with growing, jittered pauses, until the deadline.

    :param once: a request that does no harm when repeated; :class:`TransientError` says that the reason may pass.
    :param at: who is asked.
    :raises DeviceUnavailable: at the deadline.
    """
    # Random: clients that lost one server together must not all come back at once.
    backoff = tenacity.wait_random_exponential(multiplier=patience.first_s, max=patience.longest_s)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after_s if isinstance(error, TransientError) else 0.0
        return max(asked, float(backoff(state)))

    def say(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.info("%s: %s; asking again in %.1f s", what, error, state.upcoming_sleep)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=pause,
        stop=tenacity.stop_before_delay(patience.deadline_s),  # no pause that ends after it
        sleep=sleep,
        before_sleep=say,
        reraise=True,
    )
    try:
        return retrying(once)
    except TransientError as error:
        raise DeviceUnavailable(
            f"{what}: no usable answer from {at} for {patience.deadline_s:g} s ({error}). Go on later."
        ) from None


def never_sent(error: requests.RequestException) -> bool:
    """True when no connection was made, so that the server cannot have seen the request."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)  # name resolution is a NewConnectionError


def retry_after(response: requests.Response) -> float:
    """Seconds the server asks to wait, 0 when it does not; at most an hour."""
    value = response.headers.get("Retry-After", "")
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
    if never_sent(error):
        return "connection refused or name unknown"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate or the encryption is wrong"
    return "the connection broke"
