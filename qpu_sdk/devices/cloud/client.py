"""The HTTP side of Quandela Cloud: which answer means what, what may be asked again, and when to stop asking.

A GET changes nothing, so it is repeated with backoff and jitter until a deadline. The POST that creates a job is
sent once: the API has no idempotency key and no list of jobs, so after a lost answer nobody can tell whether the
job exists. Only a connection that was never made, or a refusal in the vendor's own words, says that it does not.
Every word of the server comes in through :meth:`CloudClient._parsed` and :meth:`CloudClient._text`, without the token.
Endpoints and error texts: the vendor's OpenAPI 2.8.0-rc4 and perceval 1.3.1, ``providers/quandela/rpc_handler.py``.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NoReturn, TypeVar, final
from urllib.parse import quote_plus

import requests
from pydantic import SecretStr

from ...errors import (
    AuthenticationError,
    DeviceError,
    DeviceUnavailable,
    DeviceUnreachable,
    OutOfCredits,
    ProgramError,
    QueueFull,
    SubmissionUncertain,
)
from ...words import did_you_mean
from ..machines import PLATFORMS_OF_MACHINES
from .account import arrived_id, checked_id, checked_url
from .exchange import Answered, Bounds, HeaderToken, exchange
from .masking import TokenMask
from .refusals import Refusal, refusal_of
from .retry import (
    TRANSIENT,
    Patience,
    TransientError,
    hopeless,
    never_sent,
    nobody_there,
    reason_of,
    repeat,
    retry_after,
)
from .route import Route
from .transport import LONGEST_RESULT, NotFound, Transport

log = logging.getLogger(__name__)
Answer = dict[str, Any]
_T = TypeVar("_T")
#: Longest answers that are read, bytes: about a job, about a platform, and with a payload of ours in it.
SMALL, PLATFORM, PAYLOAD = 2**20, 2**24, 2**26
#: What is looked at of a page that is no JSON, bytes; of which half may be shown, so that no half of a token is.
LONGEST_PAGE = 2**15
#: Clocks further apart than this are reported, seconds.
MAX_SKEW_S = 300.0
_OVER = re.compile(r"can ?not cancel", re.IGNORECASE)
#: Names that this SDK gave: they are compared, so the letters of a token in them stay.
_OWN_NAME = re.compile(r"(?!.*_T_)[A-Za-z0-9._/-]{0,300}-[0-9a-f]{12}(\.\d{1,9})?")


@final
class CloudClient(Transport):
    """One account at one cloud.

    :param url: of the API; ``https``, or ``http`` on this machine.
    :param token: never shown, logged or written.
    :param sleep: makes the pauses between repetitions, :func:`time.sleep` unless given; tests pass their own.
    :param proxies: of Perceval's configuration; those of the environment follow, and none is used on this machine.
    :raises ConfigError: when the token would travel unencrypted, or proxy or certificates cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: SecretStr,
        *,
        patience: Patience | None = None,
        proxies: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._auth, self._mask = HeaderToken("Authorization", token, scheme="Bearer "), TokenMask(token)
        self.patience = patience if patience is not None else Patience()
        self._sleep = sleep
        self._route = Route.to(self.url, proxies or {})
        self._reached = False
        self.skew_s = 0.0

    # -- endpoints -----------------------------------------------------------------------------------------

    def platform(self, name: str) -> Answer:
        """Details of a platform; the older endpoint is asked where the newer lacks it or its architecture.

        :raises DeviceUnavailable: when there is no such platform, or no answer by the deadline.
        :raises AuthenticationError: when the token is refused.
        """
        quoted = quote_plus(name)
        try:
            details = self._get(f"api/platforms/{quoted}/processor", f"platform {name}", PLATFORM)
            specs = details.get("specs")
            if isinstance(specs, dict) and "architecture" in specs:
                return details
        except NotFound:
            details = None
        try:
            return self._get(f"api/platform/{quoted}", f"platform {name}", PLATFORM)
        except NotFound as error:
            if details is not None:
                return details
            near = did_you_mean(name, PLATFORMS_OF_MACHINES)
            raise DeviceUnavailable(
                f"platform {name} is unknown at {self.url} ({error.text}).{near} Check its name."
            ) from None

    def availability(self) -> int | None:
        """Jobs that may be created now, ``None`` when the answer does not say."""
        try:
            answer = self._get("api/jobs/availability", "availability")
        except NotFound:
            return None
        limit, waiting = answer.get("max_jobs_in_queue"), answer.get("num_jobs_in_queue")
        if not isinstance(limit, int) or not isinstance(waiting, int):
            return None
        return max(0, limit - waiting)

    def create(self, body: Answer) -> str:
        """Create a job, by one POST, and return its id; see :meth:`RemoteDevice.create` for what is raised."""
        try:
            answered = self._send("POST", "api/job", body, self._limits(self.patience.create_s))
        except requests.RequestException as error:
            if never_sent(error):
                unreachable = DeviceUnreachable(
                    f"{self.url} cannot be reached ({reason_of(error)}). Check the network."
                )
                raise hopeless(error, self.url) or unreachable from None
            raise SubmissionUncertain(f"no answer to its creation: {reason_of(error)}") from None
        return self._created(answered)

    def status(self, job_id: str) -> Answer:
        """Where a job stands."""
        return self._get(f"api/job/status/{checked_id(job_id)}", f"job {job_id}")

    def result(self, job_id: str, *, most: int = LONGEST_RESULT) -> Answer:
        """What a job brought, as the server sent it, in at most so many bytes."""
        return self._get(f"api/job/result/{checked_id(job_id)}", f"result of job {job_id}", most)

    def data(self, job_id: str) -> Answer:
        """How a job was created: name, platform, payload."""
        answered, answer = self._asked(f"api/jobs/{checked_id(job_id)}/data", f"job {job_id}", PAYLOAD)
        name = json.loads(answered.body).get("job_name")
        own = {"job_name": name} if isinstance(name, str) and _OWN_NAME.fullmatch(name) else {}
        return answer | own

    def cancel(self, job_id: str) -> bool:
        """Ask to stop a job; False when it cannot be cancelled any more. Repeating it does no harm.

        :raises DeviceUnavailable: when there is no such job, or no answer by the deadline.
        """
        try:
            return self._repeated(partial(self._cancelled, checked_id(job_id)), f"job {job_id}")
        except NotFound as error:
            raise DeviceUnavailable(f"job {job_id} is unknown at {self.url} ({error.text}).") from None

    def close(self) -> None:
        """Nothing is held open: every request has a connection of its own."""

    # -- GET -----------------------------------------------------------------------------------------------

    def _get(self, path: str, what: str, most: int = SMALL) -> Answer:
        """The JSON object at a path; asked again until it comes."""
        return self._asked(path, what, most)[1]

    def _asked(self, path: str, what: str, most: int) -> tuple[Answered, Answer]:
        """The first answer that holds a JSON object, and the object."""

        def once(limit_s: float) -> tuple[Answered, Answer]:
            answered = self._try("GET", path, limit_s, most)
            if answered.code != 200:
                self._refuse_get(answered, what)
            return answered, self._object(answered)

        return self._repeated(once, what)

    def _repeated(self, once: Callable[[float], _T], what: str) -> _T:
        """What a request that does no harm brings, given the time that it may take."""
        end = time.monotonic() + self.patience.deadline_s

        def bounded() -> _T:
            # What is left of the deadline bounds the request too; a second is enough for any that works.
            return once(min(self.patience.read_s, max(1.0, end - time.monotonic())))

        return repeat(bounded, what, at=self.url, patience=self.patience, sleep=self._sleep)

    def _try(self, method: str, path: str, limit_s: float, most: int = SMALL) -> Answered:
        """One request that may be repeated; :class:`TransientError` where that can mend what went wrong."""
        try:
            answered = self._send(method, path, None, self._limits(limit_s, most))
        except requests.RequestException as error:
            if (final := hopeless(error, self.url)) is not None:
                raise final from None
            slip = not self._reached and nobody_there(error)  # in the address: it never answers
            limit_s = self.patience.opening_s if slip else math.inf
            raise TransientError(reason_of(error), within_s=limit_s) from None
        self._note_clock(answered.headers)
        return answered

    def _object(self, answered: Answered) -> Answer:
        answer = self._parsed(answered)
        if not isinstance(answer, dict):
            kind = self._mask.words(answered.headers.get("Content-Type") or "an answer without a type", 80)
            raise TransientError(f"{kind} that holds no JSON object" if "json" in kind else f"{kind} instead of JSON")
        return answer

    def _refuse_get(self, answered: Answered, what: str) -> NoReturn:
        code, text = answered.code, self._text(answered)
        if code in TRANSIENT or code >= 500:
            raise TransientError(f"HTTP {code} {text}".strip(), after_s=retry_after(answered.headers))
        if code == 401:
            raise self._unauthorised(text)
        if code == 404:
            raise NotFound(f"{what} is unknown at {self.url} ({text or 'HTTP 404'}).", text=text or "HTTP 404")
        if code == 403:
            raise AuthenticationError(f"{what}: this token may not see it ({text or 'HTTP 403'}). Use another token.")
        raise DeviceUnavailable(f"{what}: {self.url} answered HTTP {code} {text}".strip() + ". Go on later.")

    # -- POST ----------------------------------------------------------------------------------------------

    def _cancelled(self, job_id: str, limit_s: float) -> bool:
        answered = self._try("POST", f"api/job/cancel/{job_id}", limit_s)
        if answered.code == 400 and _OVER.match(self._text(answered)):  # ended, or was cancelled before
            return False
        if not 200 <= answered.code < 300:
            self._refuse_get(answered, f"job {job_id}")
        self._object(answered)  # a page that says to come back later has cancelled nothing
        return True

    def _created(self, answered: Answered) -> str:
        """The id in the answer to a creation, or the error that the answer means."""
        self._note_clock(answered.headers)
        code, answer, text = answered.code, self._parsed(answered), self._text(answered)
        job_id = answer.get("job_id") if isinstance(answer, dict) else None
        if job_id not in (None, "", "None"):
            job_id = arrived_id(job_id)
            if not 200 <= code < 300:  # some jobs are created "with fewer shots" and answered with 400
                log.warning("job %s was created although the answer was HTTP %d %s", job_id, code, text)
            return job_id
        refusal = refusal_of(code, answer)
        if refusal is not None:
            raise self._refused(refusal, text)
        kind = self._mask.words(answered.headers.get("Content-Type") or "no content type", 80)
        raise SubmissionUncertain(f"its creation was answered with HTTP {code} {text or kind}")

    def _refused(self, refusal: Refusal, text: str) -> DeviceError | ProgramError:
        """The error of a refusal in the vendor's words."""
        if refusal == "token":
            return self._unauthorised(text)
        if refusal == "credits":
            return OutOfCredits(f"{text}. Buy credits or wait.")
        if refusal == "queue":
            return QueueFull(f"{self.url} takes no more jobs now ({text}).")
        if refusal == "closed":
            return DeviceUnavailable(f"the platform refuses jobs: {text}. Go on later.")
        return ProgramError(f"the platform refuses this job: {text}. Change the program or shots.")

    # -- common --------------------------------------------------------------------------------------------

    def _limits(self, whole_s: float, most: int = SMALL) -> Bounds:
        return Bounds(min(self.patience.connect_s, whole_s), whole_s, most)

    def _send(self, method: str, path: str, body: Answer | None, limits: Bounds) -> Answered:
        """One request on a connection of its own, and its whole answer."""
        answered = exchange(method, f"{self.url}/{path}", auth=self._auth, limits=limits, route=self._route, body=body)
        self._reached = True
        return answered

    def _unauthorised(self, text: str) -> AuthenticationError:
        clock = ""
        if abs(self.skew_s) > MAX_SKEW_S:
            clock = f" This machine's clock is {self.skew_s:+.0f} s from the server's: set it."
        return AuthenticationError(
            f"{self.url} refuses the token ({text or 'HTTP 401'}). Set a valid one in PCVL_CLOUD_TOKEN.{clock}"
        )

    def _note_clock(self, headers: Mapping[str, str]) -> None:
        """Compare clocks: a token that seems expired may be a clock that is wrong."""
        try:
            server = parsedate_to_datetime(headers["Date"]).astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            return
        skew = (datetime.now(UTC) - server).total_seconds()
        if abs(skew) > MAX_SKEW_S and abs(self.skew_s) <= MAX_SKEW_S:
            log.warning("this machine's clock is %+.0f s from that of %s", skew, self.url)
        self.skew_s = skew

    def _parsed(self, answered: Answered) -> Any:
        """The answer as JSON without the token, None when it is none."""
        try:
            return self._mask.masked(json.loads(answered.body))
        except (ValueError, RecursionError):
            return None

    def _text(self, answered: Answered) -> str:
        """The server's words in one line, without anything that looks like a token."""
        answer = self._parsed(answered)
        if isinstance(answer, dict):
            return self._mask.words(answer.get("error") or answer.get("message") or "")
        text = answered.body[:LONGEST_PAGE].decode("utf-8", "replace")
        return self._mask.words(re.sub(r"<[^<>]*>", " ", self._mask.masked(text)[: LONGEST_PAGE // 2]))
