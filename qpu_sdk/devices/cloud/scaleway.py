"""Quandela's machines at Scaleway, through Perceval's own layer.

Scaleway bills sessions: one is opened before the first job and closed with the device. The identifier that Scaleway
calls ``deduplication_id`` makes a resumed run find its session again instead of paying for a second one.
Perceval's requests have no timeout here, so each runs in a thread that is given up after one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar, final

import requests

from ...errors import (
    AuthenticationError,
    ConfigError,
    DeviceError,
    DeviceUnavailable,
    DeviceUnreachable,
    QPUError,
    SubmissionUncertain,
)
from .account import checked_id, checked_url
from .retry import TRANSIENT, Patience, TransientError, never_sent, repeat
from .transport import NotFound, Transport

log = logging.getLogger(__name__)

_T = TypeVar("_T")


@final
class ScalewayClient(Transport):
    """One project at Scaleway.

    :param platform: Scaleway's name of the machine.
    :param project: UUID of the project that pays.
    :param url: of the API, ``None`` for Perceval's default; the token comes from Perceval's ``ScalewayConfig``
        (``SCALEWAY_CLOUD_TOKEN``).
    :param idle_s: how long Scaleway keeps an idle session, which it bills.
    :raises AuthenticationError: when there is no token or it is refused.
    """

    def __init__(
        self,
        platform: str,
        *,
        project: str,
        url: str | None = None,
        idle_s: int = 300,
        patience: Patience | None = None,
    ) -> None:
        if not project:
            raise ConfigError("scaleway needs the project that pays. Write scaleway:NAME?project=UUID.")
        self.patience = patience if patience is not None else Patience()
        url = checked_url(url) if url else None
        self._layer = self._ask(lambda: _open_layer(platform, project, url, idle_s), f"platform {platform}")
        self._idle_s, self._used = idle_s, -math.inf
        self._session = False

    def platform(self, name: str) -> dict[str, Any]:
        """Details of the platform, as fetched when it was opened."""
        return dict(self._ask(self._layer.get_platform_details, f"platform {name}"))

    def availability(self) -> int | None:
        """A session takes one job after the other."""
        return None

    def create(self, body: dict[str, Any]) -> str:
        """Create a job, by one request; opens the session first.

        :raises DeviceUnreachable: when no connection was made; nothing was created.
        :raises SubmissionUncertain: when no usable answer came.
        """
        if time.monotonic() - self._used > 0.5 * self._idle_s:  # it may have ended: a live one is found again
            if self._session:
                self._layer._rpc_handler._session_id = None  # or Perceval would go on with the old one
            self._ask(self._start_session, "session")
            self._session = True
        self._used = time.monotonic()
        try:
            job_id = self._bounded(lambda: self._layer._rpc_handler.create_job(body), self.patience.create_s)
        except requests.RequestException as error:
            if never_sent(error):
                raise DeviceUnreachable("Scaleway cannot be reached. Check the network.") from None
            if _code(error) in (401, 403):
                raise _refused_token(_code(error)) from None
            raise SubmissionUncertain(f"its creation ended with {type(error).__name__}") from None
        except TransientError as error:
            raise SubmissionUncertain(f"no answer to its creation: {error}") from None
        if not isinstance(job_id, str) or not job_id:
            raise SubmissionUncertain("its creation was answered without an id")
        return job_id

    def _start_session(self) -> None:
        """Open the session, unless a request that was given up has done so since."""
        if not self._layer._rpc_handler._session_id:
            self._layer.start_session()

    def status(self, job_id: str) -> dict[str, Any]:
        """Where a job stands, in Quandela's words."""
        self._used = max(self._used, time.monotonic()) if self._session else self._used
        return dict(self._ask(lambda: self._layer._rpc_handler.get_job_status(checked_id(job_id)), f"job {job_id}"))

    def result(self, job_id: str) -> dict[str, Any]:
        """What a job brought; Perceval's layer would run the converter that the answer names, so it is not asked."""
        return dict(
            self._ask(lambda: self._layer._rpc_handler.get_job_results(checked_id(job_id)), f"result of job {job_id}")
        )

    def data(self, job_id: str) -> dict[str, Any]:
        """Nothing: Perceval's layer has no such request."""
        return {}

    def cancel(self, job_id: str) -> bool:
        """Ask to stop a job."""
        self._ask(lambda: self._layer._rpc_handler.cancel_job(checked_id(job_id)), f"job {job_id}")
        return True

    def close(self) -> None:
        """End the session, which ends its jobs; a session that is left to itself ends after ``idle_s``."""
        if not self._session:
            return
        self._session, self._used = False, -math.inf
        try:
            self._ask(self._layer.stop_session, "session")
        except DeviceError as error:  # it will end by itself: no reason to lose the results that are here
            log.warning("the session at Scaleway could not be ended (%s); it ends after %d s idle", error, self._idle_s)

    # -- faults --------------------------------------------------------------------------------------------

    def _ask(self, call: Callable[[], _T], what: str) -> _T:
        """Repeat a request that does no harm until the deadline."""
        return repeat(lambda: self._once(call, what), what, at="Scaleway", patience=self.patience)

    def _once(self, call: Callable[[], _T], what: str) -> _T:
        try:
            return self._bounded(call, self.patience.read_s)
        except requests.HTTPError as error:
            code = _code(error)
            if code in (401, 403):
                raise _refused_token(code) from None
            if code == 404:
                raise NotFound(f"{what} is unknown at Scaleway.", text="HTTP 404") from None
            if code in TRANSIENT or code >= 500:
                raise TransientError(f"HTTP {code}") from None
            raise DeviceUnavailable(f"{what}: Scaleway refuses ({type(error).__name__}). Check its name.") from None
        except (QPUError, TransientError):
            raise
        except Exception as error:  # Perceval takes an answer apart without looking what it is
            raise TransientError(type(error).__name__) from None

    def _bounded(self, call: Callable[[], _T], limit_s: float) -> _T:
        """Run in a thread of its own; when it takes too long it is left behind, and nobody waits for it."""
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


def _code(error: BaseException | None) -> int:
    """Status of the answer behind an error, 0 without one; Perceval raises some again without their answer."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__context__
    return 0


def _refused_token(code: int) -> AuthenticationError:
    return AuthenticationError(f"Scaleway refuses the token (HTTP {code}). Set a valid one in SCALEWAY_CLOUD_TOKEN.")


def _open_layer(platform: str, project: str, url: str | None, idle_s: int) -> Any:
    from perceval.providers.scaleway import ScalewayCommunicationLayer

    class Layer(ScalewayCommunicationLayer):  # type: ignore[misc]
        """Perceval's layer, with the texts that Scaleway sends left as they are: building them evaluates them."""

        _last_fetch_time: float | None

        def fetch_data(self) -> None:
            now = time.monotonic()
            if self._last_fetch_time is not None and now - self._last_fetch_time < self.MINIMUM_FETCH_INTERVAL:
                return
            try:
                self._platform_details = self._rpc_handler.fetch_platform_details()
            except requests.HTTPError:
                if not self._platform_details:
                    raise
            else:
                self._last_fetch_time = now

    try:
        return Layer(
            platform,
            project,
            url=url,
            max_idle_duration_s=idle_s,
            deduplication_id=f"qpu-sdk-{project}-{platform}"[:64],
        )
    except ConnectionError as error:
        if isinstance(error, requests.RequestException):
            raise
        raise AuthenticationError("no token for Scaleway. Set SCALEWAY_CLOUD_TOKEN.") from None
