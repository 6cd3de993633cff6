"""Scaleway: sessions cost money, answers may come late or never, and nothing that it says does harm."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
import requests
import responses
from perceval.providers.scaleway import ScalewayConfig
from perceval.serialization import serialize
from urllib3.exceptions import MaxRetryError, NewConnectionError

from qpu_sdk.devices.base import JobStatus
from qpu_sdk.devices.cloud.device import CloudDevice
from qpu_sdk.devices.cloud.retry import Patience
from qpu_sdk.devices.cloud.scaleway import LONGEST_ANSWER, ScalewayClient
from qpu_sdk.devices.cloud.transport import NotFound
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import (
    AuthenticationError,
    ConfigError,
    DeviceUnavailable,
    DeviceUnreachable,
    QPUError,
    SubmissionUncertain,
)
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program

URL = "https://scaleway.test"
BASE = f"{URL}/qaas/v1alpha1"
PLATFORMS, SESSIONS, JOBS = (re.compile(rf"{BASE}/{name}(\?.*)?$") for name in ("platforms", "sessions", "jobs"))
END, JOB, RESULTS = f"{BASE}/sessions/s1/terminate", f"{BASE}/jobs/j1", f"{BASE}/jobs/j1/results"
SPECS = {"available_commands": ["sample_count"], "constraints": {"max_mode_count": 12, "max_photon_count": 4}}
PLATFORM = {"id": "p1", "name": "qpu-a", "type": "qpu", "status": "available", "metadata": json.dumps(SPECS)}
BODY = {"job_name": "n", "payload": {"command": "sample_count"}}
SECRET = "scaleway-secret"
QUICK = Patience(read_s=2.0, create_s=2.0, deadline_s=2.0, first_s=0.001, longest_s=0.01)
ONCE = Patience(read_s=2.0, create_s=2.0, deadline_s=0.0)


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Nothing:
        def load_config(self) -> dict[str, Any]:
            return {}

    monkeypatch.setenv("SCALEWAY_CLOUD_TOKEN", SECRET)
    monkeypatch.setattr(ScalewayConfig.__init__, "__defaults__", (Nothing(),))
    ScalewayConfig.clear_cache()
    yield
    ScalewayConfig.clear_cache()


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    """A Scaleway with one platform, one session and one job."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add("GET", PLATFORMS, json={"platforms": [PLATFORM]})
        mock.add("POST", SESSIONS, json={"id": "s1"})
        mock.add("POST", END, json={})
        mock.add("POST", JOBS, json={"id": "j1"})
        yield mock


def client(patience: Patience = QUICK, **options: Any) -> ScalewayClient:
    return ScalewayClient("qpu-a", project="pr", url=URL, patience=patience, **options)


def sent_to(web: responses.RequestsMock, url: str | re.Pattern[str], method: str = "POST") -> list[Any]:
    """Bodies of the requests to an address."""
    found = [c.request for c in web.calls if c.request.method == method and re.fullmatch(url, str(c.request.url))]
    return [json.loads(r.body) if r.body else None for r in found]


# -- opening ---------------------------------------------------------------------------------------------------


def test_device_is_what_the_platform_says(web: responses.RequestsMock) -> None:
    device = open_device(f"scaleway:qpu-a?project=pr&url={URL}", seed=1)
    assert isinstance(device, CloudDevice)
    assert SECRET not in repr(vars(device.transport))
    spec = device.spec
    assert (spec.name, spec.max_modes, spec.max_photons) == (f"scaleway:qpu-a?project=pr&url={URL}", 12, 4)
    assert (spec.simulated, spec.detector) == (False, "threshold")
    assert {c.request.headers["X-Auth-Token"] for c in web.calls} == {SECRET}
    assert all("name=qpu-a" in str(c.request.url) for c in web.calls)


def test_no_session_is_opened_before_the_first_job(web: responses.RequestsMock) -> None:
    client().close()
    assert not sent_to(web, SESSIONS)
    assert not sent_to(web, END)


def test_without_a_token_nothing_is_sent(web: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCALEWAY_CLOUD_TOKEN")
    with pytest.raises(AuthenticationError, match="Set SCALEWAY_CLOUD_TOKEN"):
        client()
    assert not web.calls


@pytest.mark.parametrize("options", ["", "?project="])
def test_without_a_project_nothing_is_sent(web: responses.RequestsMock, options: str) -> None:
    with pytest.raises(ConfigError, match="project=UUID"):
        open_device(f"scaleway:qpu-a{options}", seed=1)
    assert not web.calls


@pytest.mark.parametrize("url", ["http://scaleway.test", "https://u:hush@scaleway.test", "scaleway.test", "https://[a"])
def test_the_token_never_travels_unencrypted(web: responses.RequestsMock, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ScalewayClient("qpu-a", project="pr", url=url, patience=ONCE)
    assert "hush" not in str(caught.value)
    assert not web.calls


@pytest.mark.parametrize("code", [401, 403])
def test_refused_token_is_not_tried_again(web: responses.RequestsMock, code: int) -> None:
    web.replace("GET", PLATFORMS, status=code, json={"message": SECRET})
    with pytest.raises(AuthenticationError, match="SCALEWAY_CLOUD_TOKEN") as caught:
        client()
    assert SECRET not in str(caught.value)
    assert len(web.calls) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 400},
        {"json": {"platforms": []}},
        {"json": {}},
        {"json": []},
        {"json": {"platforms": [{"id": "p1"}]}},
        {"json": {"platforms": [{"id": "p1", "metadata": "{"}]}},
        {"json": {"platforms": [3]}},
        {"body": "<html>"},
        {"status": 503},
        {"body": requests.ConnectionError("broken")},
    ],
    ids=str,
)
def test_platform_without_usable_details_is_unavailable(web: responses.RequestsMock, answer: dict[str, Any]) -> None:
    web.replace("GET", PLATFORMS, **answer)
    with pytest.raises(DeviceUnavailable) as caught:
        client(ONCE)
    assert "\n" not in str(caught.value)


def test_opening_is_repeated_after_what_may_pass(web: responses.RequestsMock) -> None:
    web.remove("GET", PLATFORMS)
    for fault in ({"status": 503}, {"status": 429}, {"body": requests.ConnectionError()}, {"body": "<html>"}):
        web.add("GET", PLATFORMS, **fault)
    web.add("GET", PLATFORMS, json={"platforms": [PLATFORM]})
    assert client().platform("qpu-a")["specs"] == SPECS


# -- jobs ------------------------------------------------------------------------------------------------------


def test_one_session_serves_all_jobs_and_is_closed_once(web: responses.RequestsMock) -> None:
    cloud = client(idle_s=77)
    assert [cloud.create(BODY), cloud.create(BODY)] == ["j1", "j1"]
    (session,) = sent_to(web, SESSIONS)
    assert (session["project_id"], session["platform_id"]) == ("pr", "p1")
    assert session["max_idle_duration"] == "77s"
    assert session["deduplication_id"] == "qpu-sdk-pr-qpu-a"
    assert [(j["name"], j["project_id"], j["session_id"]) for j in sent_to(web, JOBS)] == [("n", "pr", "s1")] * 2
    assert json.loads(sent_to(web, JOBS)[0]["circuit"]["percevalCircuit"]) == BODY["payload"]
    assert not sent_to(web, END)
    cloud.close()
    cloud.close()
    assert len(sent_to(web, END)) == 1


def test_the_same_run_finds_its_session_again(web: responses.RequestsMock) -> None:
    for _ in range(2):
        client().create(BODY)
    first, again = sent_to(web, SESSIONS)
    assert first["deduplication_id"] == again["deduplication_id"]
    assert len(first["deduplication_id"]) <= 64


def test_an_idle_session_is_looked_up_again(web: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have ended meanwhile; its identifier finds it if it has not."""
    clock = [1000.0]
    monkeypatch.setattr("qpu_sdk.devices.cloud.scaleway.time.monotonic", lambda: clock[0])
    scaleway = client(idle_s=77)
    for _ in range(3):
        scaleway.create(BODY)
        clock[0] += 77 / 4
    assert len(sent_to(web, SESSIONS)) == 1
    clock[0] += 77
    scaleway.create(BODY)
    first, again = sent_to(web, SESSIONS)
    assert first["deduplication_id"] == again["deduplication_id"]


def test_a_session_that_cannot_be_ended_loses_no_result(
    web: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    scaleway = client()
    scaleway.create(BODY)
    web.replace(responses.POST, END, status=404)
    scaleway.close()
    assert "could not be ended" in caplog.text


def test_session_is_asked_for_again_and_the_job_sent_once(web: responses.RequestsMock) -> None:
    web.remove("POST", SESSIONS)
    web.add("POST", SESSIONS, body=requests.ConnectionError())
    web.add("POST", SESSIONS, status=503, json={"message": "busy"})
    web.add("POST", SESSIONS, json={"id": "s1"})
    assert client().create(BODY) == "j1"
    assert (len(sent_to(web, SESSIONS)), len(sent_to(web, JOBS))) == (3, 1)


@pytest.mark.parametrize("place", [SESSIONS, JOBS], ids=["session", "job"])
@pytest.mark.parametrize("code", [401, 403])
def test_token_refused_later_is_named(web: responses.RequestsMock, place: re.Pattern[str], code: int) -> None:
    told = {"message": "denied", "type": "denied_authentication" if code == 401 else "permissions_denied"}
    web.replace("POST", place, status=code, json=told)
    cloud = client()
    with pytest.raises(AuthenticationError, match=f"HTTP {code}"):
        cloud.create(BODY)
    assert len(sent_to(web, place)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"body": requests.ConnectionError("broken")},
        {"body": requests.ReadTimeout()},
        {"body": "<html>"},
        {"json": {}},
        {"status": 500, "json": {"message": "oops"}},
        {"status": 503, "body": "<html>"},
        {"status": 400, "json": {"message": "unknown words"}},
    ],
    ids=str,
)
def test_lost_answer_to_a_creation_is_uncertain_and_sent_once(
    web: responses.RequestsMock, answer: dict[str, Any]
) -> None:
    web.replace("POST", JOBS, **answer)
    cloud = client()
    with pytest.raises(SubmissionUncertain):
        cloud.create(BODY)
    assert len(sent_to(web, JOBS)) == 1


def test_connection_that_was_never_made_sent_nothing(web: responses.RequestsMock) -> None:
    refused = MaxRetryError(None, "/", NewConnectionError(None, "refused"))  # type: ignore[arg-type]
    web.replace("POST", JOBS, body=requests.ConnectionError(refused))
    cloud = client()
    with pytest.raises(DeviceUnreachable, match="cannot be reached"):
        cloud.create(BODY)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("waiting", JobStatus.QUEUED),
        ("running", JobStatus.RUNNING),
        ("cancelling", JobStatus.RUNNING),
        ("completed", JobStatus.DONE),
        ("error", JobStatus.FAILED),
        ("cancelled", JobStatus.CANCELLED),
        ("unknown_status", JobStatus.QUEUED),
        (None, JobStatus.QUEUED),
    ],
)
def test_status_words_are_those_of_a_job(web: responses.RequestsMock, word: str | None, status: JobStatus) -> None:
    web.add("GET", JOB, json={"id": "j1", "status": word, "created_at": "2026-01-01T00:00:00Z", "more": 1})
    device = open_device(f"scaleway:qpu-a?project=pr&url={URL}", seed=1)
    assert isinstance(device, CloudDevice)
    assert device.attach("j1", [program()], shots=10, tag="t").status() is status


def program() -> Program:
    mesh = IsometryMesh(3, 2)
    return Program(mesh, np.zeros(mesh.declared), (0, 1))


def test_submission_brings_counts(web: responses.RequestsMock) -> None:
    counts = pcvl.BSCount({pcvl.BasicState([1, 1, 0]): 7, pcvl.BasicState([0, 0, 1]): 2})
    results = json.dumps({"results_list": [{"results": serialize(counts)}]})
    web.add("GET", JOB, json={"id": "j1", "status": "completed"})
    web.add("GET", RESULTS, json={"job_id": "j1", "job_results": [{"result": results}]})
    device = open_device(f"scaleway:qpu-a?project=pr&url={URL}", seed=1)
    (found,) = device.submit([program()], shots=9, tag="t").result(timeout_s=60.0)
    assert (found.outcomes.tolist(), found.numbers.tolist()) == ([[1, 1, 0], [0, 0, 1]], [7, 2])
    device.close()
    assert (len(sent_to(web, SESSIONS)), len(sent_to(web, JOBS)), len(sent_to(web, END))) == (1, 1, 1)


def test_result_is_handed_on_as_it_came(web: responses.RequestsMock) -> None:
    hostile = json.dumps({"results": "6*7", "job_context": {"result_mapping": ["builtins", "eval"]}})
    web.add("GET", RESULTS, json={"job_id": "j1", "job_results": [{"result": hostile}]})
    assert client().result("j1")["results"] == hostile


def test_cancel_is_one_request(web: responses.RequestsMock) -> None:
    web.add("POST", f"{JOB}/cancel", json={})
    assert client().cancel("j1") is True
    assert sent_to(web, f"{JOB}/cancel") == [None]


@pytest.mark.parametrize("ask", [ScalewayClient.status, ScalewayClient.result], ids=["status", "result"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 401}, AuthenticationError),
        ({"status": 403}, AuthenticationError),
        ({"status": 404}, NotFound),
        ({"status": 400}, DeviceUnavailable),
        ({"status": 502}, DeviceUnavailable),
        ({"body": "<html>"}, DeviceUnavailable),
        ({"json": []}, DeviceUnavailable),
        ({"json": None}, DeviceUnavailable),
        ({"json": {"job_results": [3], "created_at": "soon"}}, DeviceUnavailable),
        ({"json": {"job_results": [{}], "created_at": 3}}, DeviceUnavailable),
        ({"body": requests.ConnectionError()}, DeviceUnavailable),
    ],
    ids=str,
)
def test_unusable_answers_have_their_error(
    web: responses.RequestsMock,
    ask: Callable[[ScalewayClient, str], dict[str, Any]],
    answer: dict[str, Any],
    kind: type[QPUError],
) -> None:
    web.add("GET", JOB, **answer)
    web.add("GET", RESULTS, **answer)
    cloud = client(Patience(deadline_s=2.0, read_s=2.0))
    cloud.patience = ONCE
    with pytest.raises(kind) as caught:
        ask(cloud, "j1")
    assert type(caught.value) is kind


@pytest.mark.parametrize("job_id", ["", "None"])
@pytest.mark.parametrize("request_of", ["status", "result", "cancel"])
def test_no_request_is_made_about_a_job_without_id(web: responses.RequestsMock, request_of: str, job_id: str) -> None:
    cloud = client()
    before = len(web.calls)
    with pytest.raises(ConfigError, match="names no job"):
        getattr(cloud, request_of)(job_id)
    assert len(web.calls) == before


# -- silence ---------------------------------------------------------------------------------------------------


@pytest.fixture
def silence() -> Iterator[Callable[[requests.PreparedRequest], Any]]:
    """An endpoint that answers when the test is over."""
    over = threading.Event()

    def answer(request: requests.PreparedRequest) -> Any:
        over.wait(120.0)
        return 200, {}, "{}"

    yield answer
    over.set()
    for thread in threading.enumerate():
        if thread.name == "qpu-sdk-scaleway":
            thread.join(5.0)


IMPATIENT = Patience(read_s=0.1, create_s=0.1, deadline_s=0.15, first_s=0.01, longest_s=0.01)


def test_opening_that_never_answers_is_given_up(
    web: responses.RequestsMock, silence: Callable[[requests.PreparedRequest], Any]
) -> None:
    web.remove("GET", PLATFORMS)
    web.add_callback("GET", PLATFORMS, callback=silence)
    with pytest.raises(DeviceUnavailable, match="no answer in time"):
        client(IMPATIENT)


def test_creation_that_never_answers_is_uncertain(
    web: responses.RequestsMock, silence: Callable[[requests.PreparedRequest], Any]
) -> None:
    web.remove("POST", JOBS)
    web.add_callback("POST", JOBS, callback=silence)
    cloud = client()
    cloud.patience = IMPATIENT
    with pytest.raises(SubmissionUncertain, match="no answer"):
        cloud.create(BODY)
    assert len(sent_to(web, JOBS)) <= 1


def test_status_that_never_answers_is_given_up(
    web: responses.RequestsMock, silence: Callable[[requests.PreparedRequest], Any]
) -> None:
    web.add_callback("GET", JOB, callback=silence)
    cloud = client()
    cloud.patience = IMPATIENT
    with pytest.raises(DeviceUnavailable, match="no answer"):
        cloud.status("j1")


def test_session_that_opens_late_is_used(web: responses.RequestsMock) -> None:
    """Its first request was given up; the next one finds it, by the name that both give it."""
    asked: list[int] = []
    released = threading.Event()

    def late(request: requests.PreparedRequest) -> Any:
        asked.append(1)
        if len(asked) == 1:
            released.wait(60.0)
        return 200, {}, json.dumps({"id": "s1"})

    web.remove("POST", SESSIONS)
    web.add_callback("POST", SESSIONS, callback=late)
    cloud = client()
    cloud.patience = Patience(read_s=0.2, create_s=60.0, deadline_s=60.0, first_s=0.01, longest_s=0.01)
    assert cloud.create(BODY) == "j1"
    released.set()
    assert len(sent_to(web, JOBS)) == 1
    assert len({body["deduplication_id"] for body in sent_to(web, SESSIONS)}) == 1


# -- what a server may not do ----------------------------------------------------------------------------------


class Loopback:
    """A server on this machine that answers as told, and notes who came with which token."""

    def __init__(self, answers: dict[str, tuple[int, dict[str, str], bytes]]) -> None:
        self.answers, self.seen = answers, list[tuple[str, str, str]]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.command, self.path, str(dict(self.headers))))
                path = self.path.partition("?")[0].removeprefix("/qaas/v1alpha1/")
                status, headers, body = outer.answers.get(path, (404, {}, b"{}"))
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_CONNECT = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def loopback(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[Loopback]:
    found = Loopback(answers)
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def plain(content: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, json.dumps(content).encode()


def honest() -> dict[str, tuple[int, dict[str, str], bytes]]:
    return {
        "platforms": plain({"platforms": [PLATFORM]}),
        "sessions": plain({"id": "s1"}),
        "sessions/s1/terminate": plain({}),
        "jobs": plain({"id": "j1"}),
        "jobs/j1": plain({"status": "completed"}),
        "jobs/j1/results": plain({"job_results": [{"result": "{}"}]}),
        "jobs/j1/cancel": plain({}),
    }


def ask_all(url: str) -> list[str]:
    """Every request that there is, and what each ended with."""
    ended = []
    scaleway = ScalewayClient("qpu-a", project="pr", url=url, patience=ONCE)
    for ask in (
        lambda: scaleway.create(BODY),
        lambda: scaleway.status("j1"),
        lambda: scaleway.result("j1", most=LONGEST_ANSWER),
        lambda: scaleway.cancel("j1"),
        scaleway.close,
    ):
        try:
            ended.append(str(ask()))
        except QPUError as error:
            ended.append(f"{type(error).__name__} {error}")
    return ended


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", [p for p in honest() if p != "platforms"])
def test_no_request_follows_a_redirect(place: str, code: int) -> None:
    with loopback({}) as other, loopback(honest()) as cloud:
        cloud.answers[place] = (code, {"Location": f"{other.url}/there"}, b"{}")
        ask_all(cloud.url)
        assert not other.seen
        cloud.answers["platforms"] = (code, {"Location": f"{other.url}/there"}, b"{}")
        with pytest.raises(DeviceUnavailable, match=f"HTTP {code}"):
            ScalewayClient("qpu-a", project="pr", url=cloud.url, patience=ONCE)
        assert not other.seen


def test_the_token_goes_to_no_proxy_and_no_password_of_a_file_goes_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with loopback({}) as proxy, loopback(honest()) as cloud:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        monkeypatch.setattr(ScalewayConfig, "get_proxies", lambda self: {"http": proxy.url, "https": proxy.url})
        ask_all(cloud.url)
        assert not proxy.seen
        assert len(cloud.seen) >= 6
        assert all(SECRET in headers and "Basic" not in headers for _, _, headers in cloud.seen)


@pytest.mark.parametrize(
    "place",
    ["{other}/r", "http://scaleway.test/r", "file:///etc/hostname", "ftp://127.0.0.1/r", "https://[", "//x", ""],
)
def test_a_result_elsewhere_is_not_fetched_unencrypted(place: str) -> None:
    with loopback({"/r": plain({})}) as other, loopback(honest()) as cloud:
        cloud.answers["jobs/j1/results"] = plain({"job_results": [{"url": place.format(other=other.url)}]})
        scaleway = ScalewayClient("qpu-a", project="pr", url=cloud.url, patience=ONCE)
        with pytest.raises(DeviceUnavailable):
            scaleway.result("j1")
        assert not other.seen


@pytest.mark.parametrize("where", ["own", "https"])
def test_a_result_that_lies_elsewhere_is_fetched_without_the_token(web: responses.RequestsMock, where: str) -> None:
    place = f"{URL}/stored" if where == "own" else "https://s3.scaleway.test/bucket?signature=1"
    web.add("GET", RESULTS, json={"job_results": [{"result": "", "url": place}]})
    web.add("GET", place, body='{"results_list": []}')
    assert client().result("j1")["results"] == '{"results_list": []}'
    assert "X-Auth-Token" not in web.calls[-1].request.headers


def test_a_result_that_redirects_is_not_followed() -> None:
    with loopback({}) as other, loopback(honest()) as cloud:
        cloud.answers["/r"] = (302, {"Location": f"{other.url}/there"}, b"")
        cloud.answers["jobs/j1/results"] = plain({"job_results": [{"url": f"{cloud.url}/r"}]})
        scaleway = ScalewayClient("qpu-a", project="pr", url=cloud.url, patience=ONCE)
        with pytest.raises(DeviceUnavailable, match="HTTP 302 where the result lies"):
            scaleway.result("j1")
        assert not other.seen


@pytest.mark.parametrize("place", list(honest()))
def test_an_answer_without_end_is_given_up(place: str) -> None:
    with loopback(honest()) as cloud:
        cloud.answers[place] = plain({"a": "x" * (LONGEST_ANSWER + 1)})
        if place == "platforms":
            with pytest.raises(DeviceUnavailable):
                ask_all(cloud.url)
        else:
            assert any("Unavailable" in end or "Uncertain" in end for end in ask_all(cloud.url)) or "terminate" in place


ECHOES = [SECRET, SECRET.upper(), "scaleway%2Dsecret", f"Bearer {SECRET}"]


@pytest.mark.parametrize("echo", ECHOES[:2] + ECHOES[3:])
def test_the_token_is_masked_in_whatever_comes_back(web: responses.RequestsMock, echo: str) -> None:
    web.add("GET", JOB, json={"status": "error", "progress_message": f"for {echo}!"})
    web.add("GET", RESULTS, json={"job_results": [{"result": json.dumps({"results_list": [echo]})}]})
    scaleway = client()
    found = json.dumps([scaleway.status("j1"), scaleway.result("j1")])
    assert SECRET not in found.lower()
    assert "***" in found


@pytest.mark.parametrize("job_id", ["\x1b[2J", "a\nb", "", None, 7, "\ud800", "x" * 201, "../../sessions/s1", SECRET])
def test_an_id_that_is_none_is_uncertain(web: responses.RequestsMock, job_id: object) -> None:
    web.replace("POST", JOBS, json={"id": job_id})
    with pytest.raises(SubmissionUncertain) as caught:
        client().create(BODY)
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize(
    "body",
    ["", "<html>denied</html>", "[]", '{"message": 3}', '{"message": "Forbidden"}', '{"message": "no", "type": ["a"]}'],
)
def test_a_refusal_that_is_not_in_scaleways_words_is_uncertain(
    web: responses.RequestsMock, code: int, body: str
) -> None:
    web.replace("POST", JOBS, status=code, body=body)
    with pytest.raises(SubmissionUncertain, match=f"HTTP {code}"):
        client().create(BODY)


@pytest.mark.parametrize("depth", [900, 100_000])
def test_answers_too_deep_are_none(web: responses.RequestsMock, depth: int) -> None:
    web.add("GET", JOB, body='{"status": ["' + "[" * depth + "]" * depth + "}")
    web.add("GET", RESULTS, body='{"job_results": ' + "[" * depth + "]" * depth + "}")
    scaleway = client(ONCE)
    for ask in (scaleway.status, scaleway.result):
        with pytest.raises(DeviceUnavailable, match="no usable answer"):
            ask("j1")


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.SSLError(MaxRetryError(Any, "/", ssl.SSLCertVerificationError("wrong"))),  # type: ignore[arg-type]
        requests.exceptions.InvalidSchema("no SOCKS"),
        OSError("no certificates"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_no_repetition_mends_ends_at_once(web: responses.RequestsMock, error: OSError) -> None:
    web.replace("GET", PLATFORMS, body=error)
    with pytest.raises(QPUError, match=r"not to be trusted|no address|cannot be asked"):
        client(Patience(deadline_s=60.0, first_s=30.0))
    assert len(web.calls) == 1
