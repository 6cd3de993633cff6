"""Requests and what their answers mean: a GET is asked again, a creation never, and the token goes nowhere else."""

from __future__ import annotations

import json
import logging
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import responses
from pydantic import SecretStr
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError, SSLError

from qpu_sdk.devices.cloud.client import CloudClient
from qpu_sdk.devices.cloud.exchange import HeaderToken
from qpu_sdk.devices.cloud.masking import TokenMask
from qpu_sdk.devices.cloud.retry import Patience, never_sent
from qpu_sdk.devices.cloud.transport import NotFound
from qpu_sdk.errors import (
    AuthenticationError,
    ConfigError,
    DeviceError,
    DeviceUnavailable,
    DeviceUnreachable,
    OutOfCredits,
    ProgramError,
    QPUError,
    QueueFull,
    SubmissionUncertain,
)
from tests.helpers import Clock

URL = "https://cloud.test"
SECRET = "c2VjcmV0.b25l.dHdv"
ANY = re.compile(f"{URL}/.*")
JOB = {"payload": {"command": "sample_count"}, "job_name": "a"}
Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: fake.now)
    return fake


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def open_client(clock: Clock | None = None, url: str = URL, **patience: float) -> CloudClient:
    sleep = time.sleep if clock is None else clock.sleep
    return CloudClient(url, SecretStr(SECRET), patience=Patience(**patience), sleep=sleep)


def hasty(url: str = URL, **patience: float) -> CloudClient:
    """Asks once."""
    return open_client(url=url, **{"deadline_s": 0.0, "read_s": 0.3, "create_s": 0.3, "connect_s": 1.0} | patience)


def everything(error: BaseException | None) -> str:
    """What an error and those behind it say."""
    said = ""
    while error is not None:
        said += f"{error!s} {error!r} {error.args!r} "
        error = error.__cause__ or error.__context__
    return said


# -- endpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "method", "path"),
    [
        (lambda c: c.platform("sim:a b"), "GET", "/api/platforms/sim%3Aa+b/processor"),
        (lambda c: c.availability(), "GET", "/api/jobs/availability"),
        (lambda c: c.create(JOB), "POST", "/api/job"),
        (lambda c: c.status("j/1"), "GET", "/api/job/status/j%2F1"),
        (lambda c: c.result("j1"), "GET", "/api/job/result/j1"),
        (lambda c: c.data("j1"), "GET", "/api/jobs/j1/data"),
        (lambda c: c.cancel("j1"), "POST", "/api/job/cancel/j1"),
    ],
)
def test_every_request_goes_to_its_endpoint_with_the_token_in_its_header_only(
    web: responses.RequestsMock, ask: Callable[[CloudClient], object], method: str, path: str
) -> None:
    web.add(method, ANY, json={"job_id": "j1", "specs": {"architecture": ""}})
    ask(open_client())
    request = web.calls[0].request
    assert len(web.calls) == 1
    assert (request.method, request.url) == (method, URL + path)
    assert request.headers.pop("Authorization") == f"Bearer {SECRET}"
    assert SECRET not in f"{request.url} {request.body!r} {request.headers}"
    assert request.body is None or json.loads(request.body) == JOB


def test_netrc_does_not_replace_the_token(
    web: responses.RequestsMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine cloud.test login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    web.add("GET", ANY, json={})
    open_client().status("j1")
    assert web.calls[0].request.headers["Authorization"] == f"Bearer {SECRET}"


def test_old_endpoint_is_asked_when_the_new_lacks_the_platform_or_its_architecture(web: responses.RequestsMock) -> None:
    new = web.add("GET", f"{URL}/api/platforms/p/processor", json={"specs": {}})
    old = web.add("GET", f"{URL}/api/platform/p", json={"specs": {"parameters": {}}})
    assert open_client().platform("p") == {"specs": {"parameters": {}}}
    web.replace("GET", f"{URL}/api/platforms/p/processor", status=404)
    assert open_client().platform("p") == {"specs": {"parameters": {}}}
    assert (new.call_count, old.call_count) == (1, 2)


@pytest.mark.parametrize("specs", [None, {}, [], 3, True, "architecture"])
def test_what_the_new_endpoint_says_is_used_when_the_old_is_gone(web: responses.RequestsMock, specs: Any) -> None:
    web.add("GET", f"{URL}/api/platforms/p/processor", json={"specs": specs})
    web.add("GET", f"{URL}/api/platform/p", status=404)
    assert open_client().platform("p") == {"specs": specs}


def test_platform_that_neither_endpoint_knows_is_named(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, status=404, json={"error": "Platform not found"})
    with pytest.raises(DeviceUnavailable, match=r"platform p is unknown at .* \(Platform not found\)"):
        open_client().platform("p")


def test_refused_token_does_not_reach_the_old_endpoint(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, status=401)
    with pytest.raises(AuthenticationError):
        open_client().platform("p")
    assert len(web.calls) == 1


@pytest.mark.parametrize(
    ("answer", "room"),
    [
        ({"max_jobs_in_queue": 10, "num_jobs_in_queue": 3, "more": 1}, 7),
        ({"max_jobs_in_queue": 10, "num_jobs_in_queue": 12}, 0),
        ({"max_jobs_in_queue": None, "num_jobs_in_queue": 3}, None),
        ({"max_jobs_in_queue": "10", "num_jobs_in_queue": 3}, None),
        ({}, None),
    ],
)
def test_availability_is_a_number_or_unknown(
    web: responses.RequestsMock, answer: dict[str, Any], room: int | None
) -> None:
    web.add("GET", ANY, json=answer)
    assert open_client().availability() == room


def test_missing_availability_is_unknown_and_a_refused_token_is_not(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, status=404)
    assert open_client().availability() is None
    web.replace("GET", ANY, status=401)
    with pytest.raises(AuthenticationError):
        open_client().availability()


@pytest.mark.parametrize("job_id", ["", "None"])
@pytest.mark.parametrize("request_of", ["status", "result", "data", "cancel"])
def test_no_request_is_made_about_a_job_without_id(web: responses.RequestsMock, request_of: str, job_id: str) -> None:
    with pytest.raises(ConfigError, match="names no job"):
        getattr(open_client(), request_of)(job_id)
    assert not web.calls


# -- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost:1", "http://[::1]:8080", "https://a.b/c/"])
def test_addresses_where_the_token_is_safe_are_taken(url: str) -> None:
    assert open_client(url=url).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.test",
        "http://127.0.0.1.cloud.test",
        "http://localhost@cloud.test",
        "https://user:hush@cloud.test",
        "http://user:hush@cloud.test",
        "ftp://user:hush@cloud.test",
        "https://user@cloud.test",
        "https://user:hush@[::1",
        "cloud.test",
        "https://",
        "",
        "file:///etc/passwd",
        "https://[::1",
        "https://cloud.test:99999",
        "https://cloud.test:port",
        "https://cloud.test?a=b",
        "https://cloud.test#a",
    ],
)
def test_other_addresses_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_client(url=url)
    assert "hush" not in str(caught.value)


# -- the token is not shown ------------------------------------------------------------------------------------


def test_objects_do_not_show_the_token() -> None:
    client = open_client()
    auth, mask = HeaderToken("Authorization", SecretStr(SECRET)), TokenMask(SecretStr(SECRET))
    shown = [client, vars(client), auth, vars(auth), mask, vars(mask), client.patience]
    assert SECRET not in "".join(f"{x!r} {x!s}" for x in shown)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 500])
@pytest.mark.parametrize("form", ["json", "message", "list", "text", "html", "cut"])
def test_nothing_that_is_raised_or_logged_shows_a_token(
    web: responses.RequestsMock, caplog: pytest.LogCaptureFixture, clock: Clock, status: int, form: str
) -> None:
    words = f"token {SECRET} of {SECRET}, Authorization: Bearer opaque-one, bearer opaque-two, and _T_sesame.one"
    body = {
        "json": json.dumps({"error": words}),
        "message": json.dumps({"message": words, "detail": {SECRET: SECRET}}),
        "list": json.dumps([words]),
        "text": words,
        "html": f"<html><b>{words}</b></html>",
        "cut": " " * (2000 - len(SECRET) // 2) + words,
    }[form]
    web.add("GET", ANY, body=body, status=status)
    web.add("POST", ANY, body=body, status=status)
    said, lines = "", []
    with caplog.at_level(logging.DEBUG):
        client = open_client(clock, deadline_s=5.0)
        for ask in (lambda: client.status("j1"), lambda: client.create(JOB), lambda: client.cancel("j1")):
            try:
                ask()
            except QPUError as error:
                said += everything(error)
                lines.append(str(error))
    assert not any("\n" in line or len(line) > 700 for line in lines)
    said += " ".join(f"{r.getMessage()} {r.args!r}" for r in caplog.records)
    for secret in (SECRET, SECRET[: len(SECRET) // 2], "opaque", "sesame"):
        assert secret not in said


def test_network_errors_do_not_show_the_token(web: responses.RequestsMock, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: requests.PreparedRequest) -> Any:
        raise requests.ConnectionError(f"sent {dict(request.headers)}", request=request)

    web.add_callback("GET", ANY, callback=fail)
    web.add_callback("POST", ANY, callback=fail)
    with caplog.at_level(logging.DEBUG):
        for ask in (lambda: hasty().status("j1"), lambda: hasty().create(JOB)):
            with pytest.raises(QPUError) as caught:
                ask()
            assert SECRET not in str(caught.value)
            assert caught.value.__suppress_context__
    assert SECRET not in caplog.text


HOSTILE = "\x1b[2J\x1b]0;owned\x07 [/red] two\nlines \u202e \x00 \ud800"


@pytest.mark.parametrize("echo", [SECRET, SECRET.upper(), "%63" + SECRET[1:]])
@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_no_word_of_a_server_shows_the_token_or_moves_the_terminal(
    web: responses.RequestsMock, caplog: pytest.LogCaptureFixture, clock: Clock, echo: str, status: int
) -> None:
    """In a body, in the type of the answer, in an id, in whatever a page says."""
    words = f"{HOSTILE} {echo} {'x' * 10_000}"
    asks: list[Callable[[CloudClient], Any]] = [
        lambda c: c.status("j1"),
        lambda c: c.create(JOB),
        lambda c: c.cancel("j1"),
        lambda c: c.data("j1"),
        lambda c: c.platform("p"),
    ]
    bodies = [
        json.dumps({"error": words}),
        json.dumps({"job_id": words}),
        json.dumps([words]),
        words.encode("utf-8", "replace"),
    ]
    said, lines = "", []
    with caplog.at_level(logging.DEBUG, "qpu_sdk"):
        for body in bodies:
            for method in ("GET", "POST"):
                web.upsert(method, ANY, body=body, status=status, content_type=f"text/{echo}; a={'y' * 5000}")
            for ask in asks:
                try:
                    json.dumps(ask(open_client(clock, deadline_s=5.0)), ensure_ascii=False).encode()
                except QPUError as error:
                    said += everything(error)
                    lines.append(str(error))
    assert all(line.isprintable() and len(line) < 700 for line in lines)
    said += " ".join(r.getMessage() for r in caplog.records)
    assert SECRET.lower() not in unquote(said).lower()


@pytest.mark.parametrize(
    "job_id",
    [HOSTILE, "a\nb", "x" * 1_000_000, "\ud800", "; reboot", "$(reboot)", "-rf", f"j-{SECRET}", 17, 1.5, ["j"], {}],
)
def test_an_id_that_cannot_be_used_leaves_the_job_uncertain_and_is_shown_in_part(
    web: responses.RequestsMock, job_id: object
) -> None:
    web.add("POST", ANY, json={"job_id": job_id})
    with pytest.raises(SubmissionUncertain, match="cannot be used") as caught:
        open_client().create(JOB)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 200
    assert SECRET not in said
    assert repr(job_id)[1:4] in said or isinstance(job_id, str)


@pytest.mark.parametrize("job_id", ["\ud800", "a\nb", "\x1b[2J", "x" * 1_000_000])
def test_nothing_is_asked_about_an_id_that_is_none(web: responses.RequestsMock, job_id: str) -> None:
    with pytest.raises(ConfigError, match="names no job") as caught:
        open_client().status(job_id)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
    assert not web.calls


@pytest.mark.parametrize("name", ["c2vjcmv0/spsa-3-0123456789ab", "row-0123456789ab.2", "a.b/c_d-0123456789ab"])
def test_names_that_we_gave_come_back_as_they_are(web: responses.RequestsMock, name: str) -> None:
    """Even where the token is a word of them, as in a rehearsal: they are compared with those of the journal."""
    web.add("GET", ANY, json={"job_name": name, "payload": SECRET})
    client = CloudClient(URL, SecretStr("c2vjcmv0"))
    assert client.data("j1")["job_name"] == name
    web.replace("GET", ANY, json={"job_name": f"c2vjcmv0 {name} _T_other"})
    assert "c2vjcmv0" not in client.data("j1")["job_name"]


# -- a GET is asked again --------------------------------------------------------------------------------------

PASSING: dict[str, dict[str, Any]] = {
    **{f"HTTP {code}": {"status": code} for code in (408, 409, 421, 423, 425, 429, 500, 502, 503, 504)},
    "dropped": {"body": requests.ConnectionError("dropped")},
    "no answer": {"body": requests.ReadTimeout()},
    "no connection": {"body": requests.ConnectTimeout()},
    "cut off": {"body": requests.exceptions.ChunkedEncodingError()},
    "maintenance page": {"body": "<html>Back soon</html>", "content_type": "text/html"},
    "empty": {"body": ""},
    "half": {"body": '{"status": "wai'},
    "list": {"json": []},
    "null": {"json": None},
    "not text": {"body": b"\xff\xfe"},
}


@pytest.mark.parametrize("fault", list(PASSING))
def test_get_is_repeated_after_what_may_pass(web: responses.RequestsMock, clock: Clock, fault: str) -> None:
    for _ in range(12):
        web.add("GET", ANY, **PASSING[fault])
    web.add("GET", ANY, json={"status": "waiting"})
    assert open_client(clock).status("j1") == {"status": "waiting"}
    assert len(web.calls) == 13
    assert len(clock.pauses) == 12


@pytest.mark.parametrize("fault", list(PASSING))
def test_get_gives_up_at_the_deadline(web: responses.RequestsMock, clock: Clock, fault: str) -> None:
    web.add("GET", ANY, **PASSING[fault])
    with pytest.raises(DeviceUnavailable, match=r"no usable answer from .* Go on later"):
        open_client(clock, deadline_s=100.0).status("j1")
    assert sum(clock.pauses) < 100.0
    assert len(clock.pauses) > 2


def test_message_names_what_came_instead_of_json(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, body="<html>", content_type="text/html")
    with pytest.raises(DeviceUnavailable, match="text/html instead of JSON"):
        hasty().status("j1")


@pytest.mark.parametrize(
    ("code", "kind"),
    [(401, AuthenticationError), (403, AuthenticationError), (404, NotFound), (400, DeviceUnavailable)],
)
def test_get_is_not_repeated_after_a_refusal(
    web: responses.RequestsMock, clock: Clock, code: int, kind: type[QPUError]
) -> None:
    web.add("GET", ANY, status=code, json={"error": "because"})
    with pytest.raises(kind, match="because") as caught:
        open_client(clock).status("j1")
    assert type(caught.value) is kind
    assert len(web.calls) == 1
    assert not clock.pauses


def test_pauses_double_up_to_the_longest(
    web: responses.RequestsMock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    web.add("GET", ANY, status=503)
    with pytest.raises(DeviceUnavailable):
        open_client(clock, deadline_s=300.0).status("j1")
    assert clock.pauses[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_pauses_are_jittered(web: responses.RequestsMock, clock: Clock) -> None:
    """Clients that failed together must not come back together."""
    web.add("GET", ANY, status=503)
    with pytest.raises(DeviceUnavailable):
        open_client(clock, deadline_s=300.0).status("j1")
    assert len(set(clock.pauses)) == len(clock.pauses)
    windows = [min(2.0**k, 60.0) for k in range(len(clock.pauses))]
    assert all(0.0 <= pause <= window for pause, window in zip(clock.pauses, windows, strict=True))


def retry_after(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(("value", "low", "high"), [("77", 77.0, 77.0), ("date", 75.0, 77.0), ("0", 0.0, 1.0)])
def test_retry_after_is_honoured(
    web: responses.RequestsMock, clock: Clock, value: str, low: float, high: float
) -> None:
    asked = retry_after(77) if value == "date" else value
    web.add("GET", ANY, status=429, headers={"Retry-After": asked})
    web.add("GET", ANY, json={})
    open_client(clock).status("j1")
    assert low <= clock.pauses[0] <= high


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "nan", "-inf", "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 99 Foo 9999", "٣x"]
)
def test_odd_retry_after_is_ignored(web: responses.RequestsMock, clock: Clock, value: str) -> None:
    web.add("GET", ANY, status=503, headers={"Retry-After": value})
    web.add("GET", ANY, json={})
    open_client(clock).status("j1")
    assert clock.pauses[0] <= 1.0


@pytest.mark.parametrize("value", ["901", "inf", "1e300", "date"])
def test_retry_after_past_the_deadline_is_not_waited_for(web: responses.RequestsMock, clock: Clock, value: str) -> None:
    web.add("GET", ANY, status=503, headers={"Retry-After": retry_after(1e6) if value == "date" else value})
    with pytest.raises(DeviceUnavailable):
        open_client(clock, deadline_s=900.0).status("j1")
    assert not clock.pauses


@pytest.mark.parametrize("location", ["https://elsewhere.test/", "/api/job/2", "http://[", "https://a:b", "//", ""])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(web: responses.RequestsMock, code: int, location: str) -> None:
    for method in ("GET", "POST"):
        web.add(method, ANY, status=code, headers={"Location": location})
        web.add(method, re.compile("https://elsewhere.test/.*"), json={"job_id": "theirs"})
    with pytest.raises(DeviceUnavailable, match=f"HTTP {code}"):
        open_client().status("j1")
    with pytest.raises(SubmissionUncertain, match=f"HTTP {code}"):
        open_client().create(JOB)
    with pytest.raises(DeviceUnavailable, match=f"HTTP {code}"):
        open_client().cancel("j1")
    assert len(web.calls) == 3


# -- a job is created once -------------------------------------------------------------------------------------

REFUSED: list[tuple[int, str, type[QPUError]]] = [
    (400, "Invalid payload, expected a json object", ProgramError),
    (400, "Require platform_id or platform_name", ProgramError),
    (400, "Invalid platform: 17", ProgramError),
    (400, "Cannot create more than 10 jobs", QueueFull),
    (400, "Max duration must not be zero", ProgramError),
    (400, "Max duration too large, exceeding 864000", ProgramError),
    (400, "Max_duration 100(s) exceeds the platform limit of 10(s)", ProgramError),
    (400, "Invalid max_shots, should be a positive number", ProgramError),
    (400, "Max shots must less than or equal to 1000000", ProgramError),
    (400, "Create job disabled, Platform in maintenance status", DeviceUnavailable),
    (400, "Command 'probs' is not available on platform 'qpu:a'", DeviceUnavailable),
    (400, "Quantum Toolbox command 'x' is not defined", DeviceUnavailable),
    (400, "Invalid iterator: must be a non-empty list", ProgramError),
    (400, "process_id is existed and assigned to another user job", ProgramError),
    (400, "Invalid job id: 5", ProgramError),
    (401, "Invalid or expired job token", AuthenticationError),
    (401, "Authentication failed: explorer tokens are not allowed", AuthenticationError),
    (401, "Invalid user", AuthenticationError),
    (401, "Not enough credits", OutOfCredits),
    (401, "Not enough credits: all remaining credits are reserved by waiting or running jobs", OutOfCredits),
    (401, "Not enough qpu time left", OutOfCredits),
    (403, "No permission to use platform qpu:a", DeviceUnavailable),
    (403, "No permission to use algorithm x", DeviceUnavailable),
    (403, "Platform qpu:a is locked, please upgrade your offer to use it", DeviceUnavailable),
    (403, "Cannot have more than 1 running Quantum Toolbox jobs", DeviceUnavailable),
    (404, "Platform not found", DeviceUnavailable),
    (404, "Not found", DeviceUnavailable),
    (422, "Validation error", ProgramError),
]


@pytest.mark.parametrize(("code", "text", "kind"), REFUSED)
def test_every_refusal_of_the_vendor_has_its_error(
    web: responses.RequestsMock, clock: Clock, code: int, text: str, kind: type[QPUError]
) -> None:
    key = "message" if code == 422 else "error"
    web.add("POST", ANY, status=code, json={key: text, "detail": {}}, headers={"Retry-After": "1"})
    with pytest.raises(kind) as caught:
        open_client(clock).create(JOB)
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert not isinstance(caught.value, DeviceUnreachable)
    assert len(web.calls) == 1
    assert not clock.pauses


UNCERTAIN: dict[str, dict[str, Any]] = {
    **{f"HTTP {code}": {"status": code} for code in (204, 302, 304, 400, 402, 408, 409, 418, 500, 502, 503, 504, 599)},
    **{
        f"HTTP {code} without the vendor's words, {kind}": {"status": code} | body
        for code in (401, 403, 404, 413, 422, 425, 429)
        for kind, body in {
            "JSON": {"json": {"error": "injected fault", "detail": {}}},
            "nothing": {"body": ""},
            "a page": {"body": "<html>Platform not found</html>", "content_type": "text/html"},
            "the words inside others": {"json": {"error": "gateway: Not enough credits, Platform not found"}},
            "no object": {"json": ["Not enough credits"]},
            "no text": {"json": {"error": {"a": "Invalid user"}, "detail": {"json": {}}}},
        }.items()
    },
    "a gateway's not found": {"status": 404, "json": {"error": "Not found"}},
    "a gateway's invalid user": {"status": 401, "json": {"error": "Invalid user agent"}},
    "unknown words": {"status": 400, "json": {"error": "Shots reduced to 100"}},
    "words elsewhere": {"status": 500, "json": {"error": "Cannot create more than 10 jobs"}},
    "page": {"body": "<html>Back soon</html>", "content_type": "text/html"},
    "empty": {"body": ""},
    "no id": {"json": {"msg": "ok"}},
    "id null": {"json": {"job_id": None}},
    "id empty": {"json": {"job_id": ""}},
    "id None": {"json": {"job_id": "None"}},
    "id a list": {"json": {"job_id": ["a"]}},
    "list": {"json": ["j1"]},
    "dropped": {"body": requests.ConnectionError("dropped")},
    "no answer": {"body": requests.ReadTimeout()},
    "cut off": {"body": requests.exceptions.ChunkedEncodingError()},
    "wrong encoding": {"body": requests.exceptions.ContentDecodingError()},
    "certificate": {"body": requests.exceptions.SSLError()},
    "proxy": {"body": requests.exceptions.ProxyError()},
}


@pytest.mark.parametrize("answer", list(UNCERTAIN))
def test_creation_is_sent_once_and_uncertain_after_any_other_answer(
    web: responses.RequestsMock, clock: Clock, answer: str
) -> None:
    web.add("POST", ANY, **UNCERTAIN[answer])
    with pytest.raises(SubmissionUncertain):
        open_client(clock).create(JOB)
    assert len(web.calls) == 1
    assert not clock.pauses


@pytest.mark.parametrize("code", [200, 201, 202, 400, 500])
def test_job_with_an_id_was_created_whatever_the_code(
    web: responses.RequestsMock, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    web.add("POST", ANY, status=code, json={"job_id": "j1", "error": "shots reduced"})
    assert open_client().create(JOB) == "j1"
    assert ("shots reduced" in caplog.text) == (code >= 400)


# -- what no repetition mends ---------------------------------------------------------------------------------------


def refused_by(cause: Exception) -> requests.ConnectionError:
    """As requests wraps it."""
    return requests.ConnectionError(MaxRetryError(HTTPConnectionPool("cloud.test"), "/", cause))


NOBODY = refused_by(NewConnectionError(HTTPConnection("cloud.test"), "Connection refused"))
WRONG_CERTIFICATE = requests.exceptions.SSLError(
    MaxRetryError(HTTPConnectionPool("cloud.test"), "/", SSLError(ssl.SSLCertVerificationError(1, "self-signed")))
)


def test_a_wrong_certificate_is_told_at_once_and_nothing_was_created(web: responses.RequestsMock, clock: Clock) -> None:
    for method in ("GET", "POST"):
        web.add(method, ANY, body=WRONG_CERTIFICATE)
    for ask in (lambda c: c.status("j1"), lambda c: c.create(JOB), lambda c: c.cancel("j1")):
        with pytest.raises(
            DeviceUnavailable, match=r"certificate .* not to be trusted .* REQUESTS_CA_BUNDLE"
        ) as caught:
            ask(open_client(clock))
        assert type(caught.value) is DeviceUnavailable
    assert len(web.calls) == 3
    assert not clock.pauses


def test_https_to_a_server_without_it_is_told_at_once(serve: Serve) -> None:
    url = serve(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")).replace("http:", "https:")
    client = open_client(url=url)
    with pytest.raises(DeviceUnavailable, match="no https"):
        client.status("j1")


def test_an_address_that_never_answered_is_given_up_soon_and_one_that_did_is_not(
    web: responses.RequestsMock, clock: Clock
) -> None:
    web.add("GET", ANY, body=NOBODY)
    with pytest.raises(DeviceUnavailable, match=r"connection refused.*Check the address"):
        open_client(clock).status("j1")
    assert len(clock.pauses) > 1
    assert sum(clock.pauses) < 10.0
    web.replace("GET", ANY, json={})
    client = open_client(clock)
    client.status("j1")
    clock.pauses.clear()
    web.replace("GET", ANY, body=NOBODY)
    with pytest.raises(DeviceUnavailable, match="connection refused"):
        client.status("j1")
    assert sum(clock.pauses) > 600.0


@pytest.mark.parametrize("error", [NOBODY, requests.exceptions.InvalidURL(), requests.exceptions.InvalidSchema()])
def test_a_creation_that_found_nobody_is_certainly_none(web: responses.RequestsMock, error: Exception) -> None:
    web.add("POST", ANY, body=error)
    with pytest.raises((DeviceUnreachable, ConfigError)):
        open_client().create(JOB)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_no_proxy_hears_of_this_machine(serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    heard = []

    def proxy(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, serve(proxy))
    url = serve(answer(HEAD + b"Connection: close\r\n\r\n" + GOOD))
    for host in ("127.0.0.1", "LOCALHOST"):
        client = CloudClient(url.replace("127.0.0.1", host), SecretStr(SECRET), proxies={"http": serve(proxy)})
        assert client.status("j1") == {"job_id": "j1"}
    assert not heard


@pytest.mark.parametrize(("code", "final"), [(407, True), (403, False), (502, False)])
def test_a_proxy_that_makes_no_connection_has_not_passed_a_job_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, code: int, final: bool
) -> None:
    heard: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % code)

    monkeypatch.setenv("HTTPS_PROXY", serve(proxy).replace("http://", "http://user:hush@"))
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises((DeviceUnreachable, ConfigError)) as caught:
        hasty("https://cloud.test", create_s=GUARD_S).create(JOB)
    assert isinstance(caught.value, ConfigError) == final
    assert "hush" not in everything(caught.value)
    assert all(request.startswith(b"CONNECT cloud.test:443") and SECRET.encode() not in request for request in heard)


@pytest.mark.parametrize("handle", ["trickle_headers", "endless_continue"])
@pytest.mark.parametrize("request_of", ["status", "create", "cancel"])
def test_the_deadline_bounds_a_request_whose_headers_never_end(serve: Serve, handle: str, request_of: str) -> None:
    """A minute for an answer is no minute for a request that has a second."""
    part = b"a" if handle == "trickle_headers" else b"HTTP/1.1 100 Continue\r\n\r\n"
    start = b"HTTP/1.1 200 OK\r\n" if handle == "trickle_headers" else part
    url = serve(answer(start, *[part] * LONG, pause_s=0.03))
    client = open_client(url=url, read_s=GUARD_S, create_s=0.5, deadline_s=1.0)
    begun = time.monotonic()
    with pytest.raises(SubmissionUncertain if request_of == "create" else DeviceUnavailable):
        client.create(JOB) if request_of == "create" else getattr(client, request_of)("j1")
    assert time.monotonic() - begun < GUARD_S / 2


@pytest.mark.parametrize("code", [102, 103])
def test_early_hints_are_no_answer(serve: Serve, code: int) -> None:
    hint = b"HTTP/1.1 %d Early\r\nLink: </a>\r\n\r\n" % code

    def handle(connection: socket.socket) -> None:
        request = connection.recv(65536)
        while request.startswith(b"POST") and not request.endswith(b"}"):  # to close with it unread would reset
            request += connection.recv(65536)
        connection.sendall(hint + HEAD + b"Connection: close\r\n\r\n" + GOOD)

    client = open_client(url=serve(handle))
    assert client.status("j1") == {"job_id": "j1"}
    assert client.create(JOB) == "j1"


# -- clocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "told"), [(-60, True), (60, True), (0, False), (2, False)])
def test_wrong_clock_is_told_with_a_refused_token(web: responses.RequestsMock, minutes: int, told: bool) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(minutes=minutes), usegmt=True)
    for method in ("GET", "POST"):
        web.add(method, ANY, status=401, json={"error": "Invalid or expired job token"}, headers={"Date": date})
    for ask in (lambda: open_client().status("j1"), lambda: open_client().create(JOB)):
        with pytest.raises(AuthenticationError, match="Invalid or expired job token") as caught:
            ask()
        found = re.search(r"clock is ([+-]\d+) s", str(caught.value))
        assert (found is not None) == told
        if found is not None:
            assert float(found[1]) == pytest.approx(60 * minutes, abs=30)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 01 Jan 0001 00:00:00 +2359", "Thu, 01 Jan 1970 00:00:00 -0000"]
)
def test_odd_dates_do_no_harm(web: responses.RequestsMock, date: str) -> None:
    web.add("GET", ANY, json={}, headers={"Date": date})
    assert open_client().status("j1") == {}


# -- cancel ----------------------------------------------------------------------------------------------------


def test_cancel_may_be_repeated(web: responses.RequestsMock, clock: Clock) -> None:
    web.add("POST", ANY, status=503)
    web.add("POST", ANY, body=requests.ConnectionError())
    web.add("POST", ANY, body="<html>Back soon</html>", content_type="text/html")  # has cancelled nothing
    web.add("POST", ANY, body="")
    web.add("POST", ANY, json={"message": "ok"})
    web.add("POST", ANY, status=400, json={"error": "Can not cancel job"})
    client = open_client(clock)
    assert client.cancel("j1") is True
    assert client.cancel("j1") is False
    assert len(web.calls) == 6
    assert not any(call.request.body for call in web.calls)


@pytest.mark.parametrize(("code", "kind"), [(401, AuthenticationError), (403, AuthenticationError)])
def test_cancel_with_a_refused_token_is_an_error(
    web: responses.RequestsMock, code: int, kind: type[DeviceError]
) -> None:
    web.add("POST", ANY, status=code)
    with pytest.raises(kind):
        open_client().cancel("j1")


def test_cancel_of_an_unknown_job_is_an_error(web: responses.RequestsMock) -> None:
    web.add("POST", ANY, status=404, json={"error": "invalid job_id: j1"})
    with pytest.raises(DeviceUnavailable, match="invalid job_id"):
        open_client().cancel("j1")


# -- real sockets ----------------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers on this machine; each connection is given to a function, one after the other."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(handle: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.05)
        listeners.append(listener)

        def run() -> None:
            while listener.fileno() >= 0:
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return
                with connection:
                    try:
                        handle(connection)
                    except OSError:
                        continue

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(5.0)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def close_at_once(connection: socket.socket) -> None:
    """Accept, and nothing else."""


def read_and_close(connection: socket.socket) -> None:
    connection.recv(65536)


def read_and_reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def never_answer(connection: socket.socket) -> None:
    connection.settimeout(5.0)
    while connection.recv(65536):
        pass


def answer(*parts: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)

    return handle


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = b'{"job_id": "j1"}'
AFTER_SENDING: dict[str, Callable[[socket.socket], None]] = {
    "closed at once": close_at_once,
    "closed after the request": read_and_close,
    "reset": read_and_reset,
    "silent": never_answer,
    "not HTTP": answer(b"220 mail.test ESMTP\r\n\r\n"),
    "too many headers": answer(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
    "half a head": answer(HEAD),
    "lengths that disagree": answer(HEAD + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n" + GOOD),
    "body cut off": answer(HEAD + b"Content-Length: 900\r\n\r\n" + GOOD),
    "broken chunk": answer(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD),
    "chunks cut off": answer(HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + GOOD + b"\r\n"),
    "not gzip": answer(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 16\r\n\r\n" + GOOD),
}


#: Only keeps what hangs from keeping the tests.
GUARD_S = 60.0


@pytest.mark.parametrize("fault", list(AFTER_SENDING))
def test_connection_that_breaks_after_it_was_made_leaves_the_creation_uncertain(serve: Serve, fault: str) -> None:
    connections = []

    def handle(connection: socket.socket) -> None:
        connections.append(1)
        AFTER_SENDING[fault](connection)

    limits = {} if fault == "silent" else {"read_s": GUARD_S, "create_s": GUARD_S}
    with pytest.raises(SubmissionUncertain):
        hasty(serve(handle), **limits).create(JOB)
    end = time.monotonic() + GUARD_S
    while not connections and time.monotonic() < end:  # the client may be gone before it was noticed
        time.sleep(0.001)
    assert len(connections) == 1


@pytest.mark.parametrize("fault", list(AFTER_SENDING))
def test_get_over_a_broken_connection_is_repeated(serve: Serve, fault: str) -> None:
    connections = []

    def handle(connection: socket.socket) -> None:
        connections.append(1)
        broken = len(connections) < 3
        (AFTER_SENDING[fault] if broken else answer(HEAD + b"Connection: close\r\n\r\n" + GOOD))(connection)

    patience = Patience(read_s=0.3 if fault == "silent" else GUARD_S, first_s=0.001)
    client = CloudClient(serve(handle), SecretStr(SECRET), patience=patience, sleep=lambda seconds: None)
    assert client.status("j1") == {"job_id": "j1"}
    assert len(connections) >= 3 if fault == "silent" else len(connections) == 3


def no_such_host(*args: Any, **fields: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def no_connection_in_time(*args: Any, **fields: Any) -> Any:
    raise TimeoutError("timed out")


@pytest.mark.parametrize("fault", ["refused", "unknown host", "timeout"])
def test_connection_that_was_never_made_sent_nothing(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "unknown host":
        monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    if fault == "timeout":
        monkeypatch.setattr(socket.socket, "connect", no_connection_in_time)
    url = closed_port()
    with pytest.raises(DeviceUnreachable, match="cannot be reached"):
        hasty(url).create(JOB)
    with pytest.raises(DeviceUnavailable) as caught:
        hasty(url).status("j1")
    assert "Go on later" in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        requests.ReadTimeout(),
        requests.ConnectionError(),
        requests.ConnectionError("Connection refused"),
        requests.exceptions.ChunkedEncodingError(),
        requests.exceptions.SSLError(),
        requests.exceptions.ProxyError(),
        requests.RequestException(),
    ],
    ids=repr,
)
def test_only_a_proven_refusal_counts_as_never_sent(error: requests.RequestException) -> None:
    assert not never_sent(error)


#: So many parts take most of an hour: a client that reads them all hangs.
LONG = 100_000


def trickle(connection: socket.socket) -> None:
    answer(HEAD + b"Content-Length: 100000\r\n\r\n", *[b" "] * LONG, pause_s=0.03)(connection)


def trickle_chunks(connection: socket.socket) -> None:
    answer(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * LONG, pause_s=0.03)(connection)


def trickle_redirect(connection: socket.socket) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 100000\r\n\r\n"
    answer(head, *[b" "] * LONG, pause_s=0.03)(connection)


@pytest.mark.parametrize("handle", [trickle, trickle_chunks, trickle_redirect])
@pytest.mark.parametrize("request_of", ["status", "create", "cancel"])
def test_answer_that_trickles_is_given_up(
    serve: Serve, handle: Callable[[socket.socket], None], request_of: str
) -> None:
    client = hasty(serve(handle))
    with pytest.raises(SubmissionUncertain if request_of == "create" else DeviceUnavailable):
        client.create(JOB) if request_of == "create" else getattr(client, request_of)("j1")


@pytest.mark.parametrize("request_of", ["status", "create", "cancel"])
def test_answer_that_is_too_long_is_given_up(serve: Serve, request_of: str) -> None:
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"\r\n")
        for _ in range(64):
            connection.sendall(b" " * (1 << 20))
            sent.append(1)

    client = hasty(serve(flood), read_s=5.0, create_s=5.0)
    with pytest.raises(SubmissionUncertain if request_of == "create" else DeviceUnavailable):
        client.create(JOB) if request_of == "create" else getattr(client, request_of)("j1")
    assert len(sent) < 32  # the socket's buffers hold some of it
