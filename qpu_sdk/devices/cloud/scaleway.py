"""Quandela's machines at Scaleway.

Scaleway bills sessions: one is opened before the first job and closed with the device. The identifier that Scaleway
calls ``deduplication_id`` makes a resumed run find its session again instead of paying for a second one.
The requests are those of Perceval's layer (1.3.1, ``providers/scaleway``), which is not used itself: it follows
redirects with the token, builds the objects that a specification names, and waits without end. Each request runs in a
thread that is given up after its time.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar, final
from urllib.parse import quote, quote_plus, urlsplit

import requests
from pydantic import SecretStr

from ...errors import (
    AuthenticationError,
    ConfigError,
    DeviceError,
    DeviceUnavailable,
    DeviceUnreachable,
    SubmissionUncertain,
)
from ...words import short
from .account import checked_id, checked_token, checked_url
from .exchange import Bounds, HeaderToken, exchange
from .masking import TokenMask
from .retry import TRANSIENT, Patience, TransientError, hopeless, never_sent, nobody_there, reason_of, repeat
from .route import Route
from .transport import LONGEST_RESULT, NotFound, Transport

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_API = "qaas/v1alpha1"
_ID = re.compile(r"[\w.:-]{1,200}", re.ASCII)
#: Scaleway's words for the ends of a job, and Quandela's, which the device knows.
_STATUS = {"cancelled": "canceled", "cancelling": "cancel_requested"}
#: Types of its errors that refuse a token; a message alone is what any gateway sends.
_REFUSALS = ("denied_authentication", "permissions_denied")
#: Longest session, seconds, as in Perceval's layer.
_SESSION_S = 3600
#: Longest answer that is no result, bytes.
LONGEST_ANSWER = 2**24


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
        from perceval.providers.scaleway import ScalewayConfig

        if not project:
            raise ConfigError("scaleway needs the project that pays. Write scaleway:NAME?project=UUID.")
        config = ScalewayConfig()
        self.patience = patience if patience is not None else Patience()
        self.url = checked_url(url or config.get_url())
        token = SecretStr(config.get_token())
        self._secret = checked_token(token, "Scaleway", "Set SCALEWAY_CLOUD_TOKEN.")
        self._proxies = config.get_proxies()
        self._mask, self._route, self._reached = TokenMask(self._secret), Route.to(self.url, self._proxies), False
        self._project, self._idle_s, self._used = project, idle_s, -math.inf
        self._session_id: str | None = None
        self._end = 0.0
        self._platform, self._details = platform, self._found(platform, config.get_provider())

    def _found(self, name: str, provider: str) -> dict[str, Any]:
        """Details of the machine, its specification among them; texts of Perceval stay texts."""
        asked = f"platforms?providerName={quote_plus(provider)}&name={quote_plus(name)}"

        def once() -> dict[str, Any]:
            listed = self._json("GET", asked, f"platform {name}").get("platforms")
            if not isinstance(listed, list) or not listed:
                raise DeviceUnavailable(f"platform {name} is unknown at Scaleway. Check its name.")
            found = next((p for p in listed if isinstance(p, dict) and p.get("name") == name), listed[0])
            specs = _parsed(found.get("metadata")) if isinstance(found, dict) else None
            if not isinstance(specs, dict) or not _is_id(found.get("id")):
                raise TransientError("a platform without specification or id")
            return found | {"specs": specs}

        return self._ask(once, f"platform {name}")

    def platform(self, name: str) -> dict[str, Any]:
        """Details of the platform, as fetched when it was opened."""
        return dict(self._details)

    def availability(self) -> int | None:
        """A session takes one job after the other."""
        return None

    def create(self, body: dict[str, Any]) -> str:
        """Create a job, by one request; opens the session first.

        :raises DeviceUnreachable: when no connection was made; nothing was created.
        :raises SubmissionUncertain: when no usable answer came.
        """
        if time.monotonic() - self._used > 0.5 * self._idle_s:  # it may have ended: a live one is found again
            self._session_id = None
            self._ask(self._open_session, "session")
        self._used = time.monotonic()
        job = {
            "name": body.get("job_name"),
            "circuit": {"percevalCircuit": json.dumps(body.get("payload", {}))},
            "project_id": self._project,
            "session_id": self._session_id,
        }
        limit_s = self.patience.create_s
        try:
            code, answer = self._send("POST", "jobs", job, limit_s)
        except requests.RequestException as error:
            if never_sent(error):
                raise DeviceUnreachable("Scaleway cannot be reached. Check the network.") from None
            raise SubmissionUncertain(f"no answer to its creation: {reason_of(error)}") from None
        told = answer if isinstance(answer, dict) else {}
        if 200 <= code < 300 and _is_id(told.get("id")):
            return str(told["id"])
        if code in (401, 403) and told.get("type") in _REFUSALS:  # in Scaleway's words, so it is no gateway's
            raise _refused_token(code)
        what = f"HTTP {code}" if code >= 300 else f"the id {short(told.get('id'))}"
        raise SubmissionUncertain(f"its creation was answered with {what}")

    def _open_session(self) -> None:
        """Open the session, unless a request that was given up has done so since."""
        if self._session_id is not None:
            return
        wanted = {
            "project_id": self._project,
            "platform_id": self._details["id"],
            "deduplication_id": f"qpu-sdk-{self._project}-{self._platform}"[:64],
            "max_duration": f"{_SESSION_S}s",
            "max_idle_duration": f"{self._idle_s}s",
            "name": "qpu-sdk",
        }
        found = self._json("POST", "sessions", "session", wanted).get("id")
        if not _is_id(found):
            raise TransientError("a session without an id")
        self._session_id = found

    def status(self, job_id: str) -> dict[str, Any]:
        """Where a job stands, in Quandela's words."""
        if self._session_id is not None:
            self._used = max(self._used, time.monotonic())

        def once() -> dict[str, Any]:
            job = self._json("GET", f"jobs/{checked_id(job_id)}", f"job {job_id}")
            if "status" not in job:
                raise TransientError("an answer without a status")
            word = job["status"]
            return {
                "status": _STATUS.get(word, word) if isinstance(word, str) else None,
                "status_message": job.get("progress_message"),
                "progress": 1 if word == "completed" else 0,
                "duration": _seconds(job.get("job_duration")),
            }

        return self._ask(once, f"job {job_id}")

    def result(self, job_id: str, *, most: int = LONGEST_RESULT) -> dict[str, Any]:
        """What a job brought: in the answer itself, or at an address that it names."""

        def once() -> dict[str, Any]:
            answer = self._json("GET", f"jobs/{checked_id(job_id)}/results", f"result of job {job_id}", most=most)
            listed = answer.get("job_results")
            if not isinstance(listed, list):
                raise TransientError("an answer without results")
            if not listed:
                return {"job_id": job_id, "results": None}
            first = listed[0] if isinstance(listed[0], dict) else {}
            text, place = first.get("result"), first.get("url")
            if not text and isinstance(place, str):
                text = self._stored(place, most)
            if not isinstance(text, str) or not text:
                raise TransientError("a result without text")
            return {"job_id": job_id, "results": text}

        return self._ask(once, f"result of job {job_id}")

    def _stored(self, place: str, most: int) -> str:
        """A result that lies elsewhere, asked for without the token."""
        try:
            there, here = urlsplit(place), urlsplit(self.url)
            own = (there.scheme, there.netloc) == (here.scheme, here.netloc)
        except ValueError:
            own, there = False, urlsplit("")
        if not own and (there.scheme != "https" or not there.hostname or "@" in there.netloc):
            raise DeviceUnavailable(f"a result lies at {short(place)}. Only https addresses are asked for results.")
        limits, route = Bounds(self.patience.connect_s, self._limit_s, most), Route.to(place, self._proxies)
        answered = exchange("GET", place, auth=HeaderToken(), limits=limits, route=route)
        if answered.code != 200:
            raise TransientError(f"HTTP {answered.code} where the result lies")
        return str(self._mask.masked(answered.body.decode("utf-8", "replace")))

    def data(self, job_id: str) -> dict[str, Any]:
        """Nothing: it is not known that Scaleway has such a request."""
        return {}

    def cancel(self, job_id: str) -> bool:
        """Ask to stop a job."""
        self._ask(lambda: self._json("POST", f"jobs/{checked_id(job_id)}/cancel", f"job {job_id}"), f"job {job_id}")
        return True

    def close(self) -> None:
        """End the session, which ends its jobs; a session that is left to itself ends after ``idle_s``."""
        session, self._session_id, self._used = self._session_id, None, -math.inf
        if session is None:
            return
        try:
            self._ask(lambda: self._json("POST", f"sessions/{quote(session)}/terminate", "session"), "session")
        except DeviceError as error:  # it will end by itself: no reason to lose the results that are here
            log.warning("the session at Scaleway could not be ended (%s); it ends after %d s idle", error, self._idle_s)

    # -- requests ------------------------------------------------------------------------------------------

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, limit_s: float, most: int = LONGEST_ANSWER
    ) -> tuple[int, Any]:
        """One request; the status of its answer, and the answer as JSON, None when it is none."""
        answered = exchange(
            method,
            f"{self.url}/{_API}/{path}",
            auth=HeaderToken("X-Auth-Token", self._secret),
            limits=Bounds(self.patience.connect_s, limit_s, most),
            route=self._route,
            body=body,
        )
        self._reached = True
        try:
            return answered.code, self._mask.masked(_parsed(answered.body))
        except RecursionError:  # no answer is that deep
            return answered.code, None

    def _json(
        self, method: str, path: str, what: str, body: dict[str, Any] | None = None, *, most: int = LONGEST_ANSWER
    ) -> dict[str, Any]:
        """The answer to a request that does no harm when repeated."""
        code, answer = self._send(method, path, body, self._limit_s, most)
        if code in (401, 403):
            raise _refused_token(code)
        if code == 404:
            raise NotFound(f"{what} is unknown at Scaleway.", text="HTTP 404")
        if code in TRANSIENT or code >= 500:
            raise TransientError(f"HTTP {code}")
        if not 200 <= code < 300:
            raise DeviceUnavailable(f"{what}: Scaleway answered HTTP {code}. Check its name and the url.")
        if not isinstance(answer, dict):
            raise TransientError("an answer that is no JSON object")
        return answer

    @property
    def _limit_s(self) -> float:
        """For one request: what is left of the deadline bounds it too, and a second is enough for any that works."""
        return min(self.patience.read_s, max(1.0, self._end - time.monotonic()))

    def _ask(self, call: Callable[[], _T], what: str) -> _T:
        """Repeat a request that does no harm until the deadline."""
        self._end = time.monotonic() + self.patience.deadline_s

        def once() -> _T:
            try:
                return call()
            except requests.RequestException as error:
                if (final := hopeless(error, self.url)) is not None:
                    raise final from None
                slip = not self._reached and nobody_there(error)
                within_s = self.patience.opening_s if slip else math.inf
                raise TransientError(reason_of(error), within_s=within_s) from None

        return repeat(once, what, at="Scaleway", patience=self.patience)


def _refused_token(code: int) -> AuthenticationError:
    return AuthenticationError(f"Scaleway refuses the token (HTTP {code}). Set a valid one in SCALEWAY_CLOUD_TOKEN.")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _parsed(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None


def _seconds(text: object) -> float | None:
    """Of ``"12.5s"``, as Scaleway writes how long a job ran."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)s", text, re.ASCII) if isinstance(text, str) else None
    return float(found[1]) if found else None
