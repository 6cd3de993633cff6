"""The HTTP side of Quandela Cloud: which answer means what, what may be asked again, and when to stop asking.

A GET changes nothing, so it is repeated with backoff and jitter until a deadline. The POST that creates a job is
sent once: the API has no idempotency key and no list of jobs, so after a lost answer nobody can tell whether the
job exists. Only a connection that was never made, or a refusal in the vendor's own words, says that it does not.
Endpoints and error texts: the vendor's OpenAPI 2.8.0-rc4 and perceval 1.3.1, ``providers/quandela/rpc_handler.py``.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, final
from urllib.parse import quote_plus

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from ...errors import (
    AuthenticationError,
    ConfigError,
    DeviceError,
    DeviceUnavailable,
    DeviceUnreachable,
    OutOfCredits,
    ProgramError,
    QueueFull,
    SubmissionUncertain,
)
from .account import checked_id, checked_url
from .retry import TRANSIENT, Patience, TransientError, never_sent, reason_of, repeat, retry_after
from .transport import NotFound, Transport

log = logging.getLogger(__name__)
Answer = dict[str, Any]
#: Longest answer that is read, bytes.
MAX_ANSWER = 512 * 2**20
#: Clocks further apart than this are reported, seconds.
MAX_SKEW_S = 300.0
#: The vendor's words, which alone tell one 400 or 401 from another (rpc_handler.py, and its answers).
_NO_CREDITS = re.compile(r"not enough .*(credits|time left)|remaining credits", re.IGNORECASE)
_QUEUE_FULL = re.compile(r"cannot create more than", re.IGNORECASE)
_CLOSED = re.compile(r"create job disabled|is locked|no permission|not available on platform|is not defined", re.I)

_REFUSED = re.compile(
    r"invalid (payload|platform|max_shots|iterator|job id)|require platform|max[_ ]duration|max shots must|"
    r"process_id is existed",
    re.IGNORECASE,
)


@final
class _Bearer(requests.auth.AuthBase):
    """Adds the token to a request; as an auth object it also keeps ``.netrc`` out."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request


@final
class _Straight(requests.Session):
    """Makes no connection but to the cloud the user named; a redirect is not even looked at."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer says."""


@final
class CloudClient(Transport):
    """One account at one cloud.

    :param url: of the API; ``https``, or ``http`` on this machine.
    :param token: never shown, logged or written.
    :param sleep: of the pauses between repetitions; tests pass their own.
    :raises ConfigError: when the token would travel unencrypted.
    """

    def __init__(
        self,
        url: str,
        token: SecretStr,
        *,
        patience: Patience | None = None,
        proxies: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = checked_url(url)
        self._token = token
        self.patience = patience if patience is not None else Patience()
        self._sleep = sleep
        self._proxies = dict(proxies or {})
        self.skew_s = 0.0

    # -- endpoints -----------------------------------------------------------------------------------------

    def platform(self, name: str) -> Answer:
        """Details of a platform; the older endpoint is asked where the newer lacks it or its architecture.

        :raises DeviceUnavailable: when there is no such platform, or no answer by the deadline.
        :raises AuthenticationError: when the token is refused.
        """
        quoted = quote_plus(name)
        try:
            details = self._get(f"api/platforms/{quoted}/processor", f"platform {name}")
            specs = details.get("specs")
            if isinstance(specs, dict) and "architecture" in specs:
                return details
        except NotFound:
            details = None
        try:
            return self._get(f"api/platform/{quoted}", f"platform {name}")
        except NotFound as error:
            if details is not None:
                return details
            raise DeviceUnavailable(
                f"platform {name} is unknown at {self.url} ({error.text}). Check its name."
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
            response, answer = self._post("api/job", body, timeout_s=self.patience.create_s)
        except requests.RequestException as error:
            why = reason_of(error)
            if never_sent(error):
                raise DeviceUnreachable(f"{self.url} cannot be reached ({why}). Check the network.") from None
            raise SubmissionUncertain(f"no answer to its creation: {why}") from None
        return self._created(response, answer)

    def status(self, job_id: str) -> Answer:
        """Where a job stands."""
        return self._get(f"api/job/status/{checked_id(job_id)}", f"job {job_id}")

    def result(self, job_id: str) -> Answer:
        """What a job brought, as the server sent it."""
        return self._get(f"api/job/result/{checked_id(job_id)}", f"result of job {job_id}")

    def data(self, job_id: str) -> Answer:
        """How a job was created: name, platform, payload."""
        return self._get(f"api/jobs/{checked_id(job_id)}/data", f"job {job_id}")

    def cancel(self, job_id: str) -> bool:
        """Ask to stop a job; False when it cannot be cancelled any more. Repeating it does no harm.

        :raises DeviceUnavailable: when there is no such job, or no answer by the deadline.
        """
        try:
            return repeat(
                lambda: self._checked_post(f"api/job/cancel/{checked_id(job_id)}"),
                f"job {job_id}",
                at=self.url,
                patience=self.patience,
                sleep=self._sleep,
            )
        except NotFound as error:
            raise DeviceUnavailable(f"job {job_id} is unknown at {self.url} ({error.text}).") from None

    def close(self) -> None:
        """Nothing is held open: every request has a connection of its own."""

    # -- GET -----------------------------------------------------------------------------------------------

    def _get(self, path: str, what: str) -> Answer:
        def once() -> Answer:
            try:
                response, body = self._send("GET", path, None, self.patience.read_s)
            except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
                raise ConfigError(
                    f"{self.url} is no address of a server. Write for example url=http://127.0.0.1:8080."
                ) from None
            except requests.RequestException as error:
                raise TransientError(reason_of(error)) from None
            self._note_clock(response)
            if response.status_code != 200:
                self._refuse_get(response, body, what)
            answer = _json(body)
            if not isinstance(answer, dict):
                raise TransientError(
                    f"{response.headers.get('Content-Type', 'an answer without a type')} instead of JSON"
                )
            return answer

        return repeat(once, what, at=self.url, patience=self.patience, sleep=self._sleep)

    def _refuse_get(self, response: requests.Response, body: bytes, what: str) -> NoReturn:
        code, text = response.status_code, self._text(body)
        if code in TRANSIENT or code >= 500:
            raise TransientError(f"HTTP {code} {text}".strip(), after_s=retry_after(response))
        if code == 401:
            raise self._unauthorised(text)
        if code == 404:
            raise NotFound(f"{what} is unknown at {self.url} ({text or 'HTTP 404'}).", text=text or "HTTP 404")
        if code == 403:
            raise AuthenticationError(f"{what}: this token may not see it ({text or 'HTTP 403'}). Use another token.")
        raise DeviceUnavailable(f"{what}: {self.url} answered HTTP {code} {text}".strip() + ". Go on later.")

    # -- POST ----------------------------------------------------------------------------------------------

    def _post(self, path: str, body: Answer | None, *, timeout_s: float) -> tuple[requests.Response, bytes]:
        return self._send("POST", path, body, timeout_s)

    def _checked_post(self, path: str) -> bool:
        """A POST that does no harm when repeated."""
        try:
            response, body = self._post(path, None, timeout_s=self.patience.read_s)
        except requests.RequestException as error:
            raise TransientError(reason_of(error)) from None
        if response.status_code == 400:  # its job is over, or was cancelled before
            return False
        if not 200 <= response.status_code < 300:
            self._refuse_get(response, body, path.rpartition("/")[2])
        return True

    def _created(self, response: requests.Response, body: bytes) -> str:
        """The id in the answer to a creation, or the error that the answer means."""
        self._note_clock(response)
        code, answer = response.status_code, _json(body)
        job_id = answer.get("job_id") if isinstance(answer, dict) else None
        text = self._text(body)
        if isinstance(job_id, str) and job_id not in ("", "None"):
            if not 200 <= code < 300:  # some jobs are created "with fewer shots" and answered with 400
                log.warning("job %s was created although the answer was HTTP %d %s", job_id, code, text)
            return job_id
        refusal = self._refusal(code, text)
        if refusal is not None:
            raise refusal
        kind = response.headers.get("Content-Type", "no content type")
        raise SubmissionUncertain(f"its creation was answered with HTTP {code} {text or kind}")

    def _refusal(self, code: int, text: str) -> DeviceError | ProgramError | None:
        """The error of an answer that certainly created nothing, ``None`` when it may have."""
        if code in (425, 429) or (code == 400 and _QUEUE_FULL.search(text)):
            return QueueFull(f"{self.url} takes no more jobs now ({text or f'HTTP {code}'}).")
        if code == 401:
            return (
                OutOfCredits(f"{text}. Buy credits or wait.") if _NO_CREDITS.search(text) else self._unauthorised(text)
            )
        if code in (403, 404) or (code == 400 and _CLOSED.search(text)):
            return DeviceUnavailable(f"the platform refuses jobs: {text or f'HTTP {code}'}. Choose another device.")
        if code in (413, 422) or (code == 400 and _REFUSED.search(text)):
            return ProgramError(
                f"the platform refuses this job: {text or f'HTTP {code}'}. Change the program or shots."
            )
        return None

    # -- common --------------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, body: Answer | None, timeout_s: float) -> tuple[requests.Response, bytes]:
        """One request on a connection of its own, and its whole answer."""
        with _Straight() as session:  # one kept alive may be dead: did a POST on it arrive?
            response = session.request(
                method,
                f"{self.url}/{path}",
                json=body,
                auth=_Bearer(self._token),
                timeout=(self.patience.connect_s, timeout_s),
                proxies=self._proxies,
                allow_redirects=False,
                stream=True,  # or all is read before _read can stop it
            )
            return response, _read(response, timeout_s)

    def _unauthorised(self, text: str) -> AuthenticationError:
        clock = ""
        if abs(self.skew_s) > MAX_SKEW_S:
            clock = f" This machine's clock is {self.skew_s:+.0f} s from the server's: set it."
        return AuthenticationError(
            f"{self.url} refuses the token ({text or 'HTTP 401'}). Set a valid one in PCVL_CLOUD_TOKEN.{clock}"
        )

    def _note_clock(self, response: requests.Response) -> None:
        """Compare clocks: a token that seems expired may be a clock that is wrong."""
        try:
            server = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            return
        skew = (datetime.now(UTC) - server).total_seconds()
        if abs(skew) > MAX_SKEW_S and abs(self.skew_s) <= MAX_SKEW_S:
            log.warning("this machine's clock is %+.0f s from that of %s", skew, self.url)
        self.skew_s = skew

    def _text(self, body: bytes) -> str:
        """The server's words in one line, without anything that looks like a token."""
        answer, secret = _json(body), self._token.get_secret_value()
        if isinstance(answer, dict):
            words = str(answer.get("error") or answer.get("message") or "")
        else:
            # Cut only after the token is replaced: half of one would not be found.
            shown = body[: 2000 + len(secret)].decode("utf-8", "replace").replace(secret, "***")[:2000]
            words = re.sub(r"<[^>]*>", " ", shown)
        words = words.replace(secret, "***")
        words = re.sub(r"_T_\S+|[Bb]earer\s+\S+", "***", words)
        return " ".join(words.split())[:300]


def _read(response: requests.Response, limit_s: float) -> bytes:
    """The whole body within a time and a size; ``requests`` limits neither."""
    end, parts, size = time.monotonic() + limit_s, [], 0
    with response:
        try:
            while part := response.raw.read1(1 << 16, decode_content=True):  # iter_content waits for a whole part
                parts.append(part)
                size += len(part)
                if time.monotonic() > end:
                    raise requests.ReadTimeout(f"the answer took longer than {limit_s:g} s")
                if size > MAX_ANSWER:
                    raise requests.RequestException(f"the answer is longer than {MAX_ANSWER} bytes")
        except HTTPError as error:
            raise requests.ConnectionError(error) from None
    return b"".join(parts)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
