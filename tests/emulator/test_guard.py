"""Only those who know its name and its token get anything from the emulator, and nobody keeps it from answering."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

pytest.importorskip("uvicorn")

from qpu_sdk.emulator import guard
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings

TOKEN = "rehearsal-0123"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUARD_S = 120.0
PATHS = [
    ("GET", "/api/platform/sim%3Aideal"),
    ("POST", "/api/job"),
    ("GET", "/api/jobs/availability"),
    ("GET", "/api/job/status/x"),
    ("GET", "/api/jobs/x/result"),
    ("POST", "/api/job/cancel/x"),
    ("POST", "/api/jobs/x/rerun"),
    ("GET", "/api/jobs/x/data"),
    ("GET", "/api/tokens/usage/report"),
    ("GET", "/emulator/jobs"),
    ("GET", "/emulator/requests"),
    ("POST", "/emulator/set"),
]


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmulatedCloud]:
    settings = CloudSettings(seed=1, platforms=("sim:ideal",), time_scale=1e5, tokens=frozenset({TOKEN}))
    with EmulatedCloud(settings) as running:
        yield running


def port_of(cloud: EmulatedCloud) -> int:
    return int(cloud.url.rpartition(":")[2])


def asked(cloud: EmulatedCloud, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, Any]]:
    body = b"{}" if method == "POST" else None
    answer = requests.request(method, cloud.url + path, data=body, headers=headers, timeout=GUARD_S)
    return answer.status_code, answer.json()


# -- who ---------------------------------------------------------------------------------------------------------


FOREIGN = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "localhost.evil.example:{port}",
    "0.0.0.0:{port}",
    "127.0.0.1.nip.io:{port}",
    "127.1:{port}",
    "[::]:{port}",
    "127.0.0.1:{port}@evil.example",
]


@pytest.mark.parametrize("host", [*FOREIGN, ""])
@pytest.mark.parametrize("path", ["/health", "/api/jobs/availability", "/emulator/jobs"])
def test_a_name_that_is_not_its_own_gets_nothing(cloud: EmulatedCloud, host: str, path: str) -> None:
    before = cloud.requests
    status, answer = asked(cloud, path, Host=host.format(port=port_of(cloud)), **BEARER)
    assert status == 421
    assert "emulated cloud" in answer["error"]
    assert cloud.requests == before


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_its_own_names_are_answered(cloud: EmulatedCloud, host: str) -> None:
    assert asked(cloud, "/api/jobs/availability", Host=host.format(port=port_of(cloud)), **BEARER)[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://", "", "{own}.evil.example"]
)
@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/health")])
def test_a_page_of_another_server_gets_nothing(cloud: EmulatedCloud, origin: str, method: str, path: str) -> None:
    headers = {"Origin": origin.format(own=cloud.url), "Content-Type": "text/plain"}
    status, answer = asked(cloud, path, method, **headers, **BEARER)
    assert (status, "pages of other servers" in answer["error"]) == (403, True)
    assert asked(cloud, "/api/jobs/availability", Origin=cloud.url, **BEARER)[0] == 200


def test_a_browser_is_not_invited(cloud: EmulatedCloud) -> None:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = requests.options(cloud.url + "/api/job", headers={"Origin": "null", **headers}, timeout=GUARD_S)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_request_needs_the_token(cloud: EmulatedCloud, authorization: str | None, method: str, path: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    status, answer = asked(cloud, path, method, **headers)
    assert (status, answer["error"]) == (401, "Invalid or expired job token")
    assert asked(cloud, "/health") == (200, {"status": "ok"})


# -- how much ----------------------------------------------------------------------------------------------------


def raw(cloud: EmulatedCloud, text: bytes) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port_of(cloud)), timeout=GUARD_S)
    line.sendall(text.replace(b"{host}", b"127.0.0.1:%d" % port_of(cloud)))
    return line


def all_of(line: socket.socket) -> bytes:
    parts = []
    with line:
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)


def ended(line: socket.socket) -> bytes:
    with suppress(ConnectionResetError):
        return all_of(line)
    return b""


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_a_body_that_is_too_long_is_not_read(cloud: EmulatedCloud, token: str) -> None:
    """The answer comes though no byte of the body was sent."""
    head = b"POST /api/job HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer %s\r\nContent-Length: 100000000\r\n\r\n"
    answer = all_of(raw(cloud, head % token.encode()))
    assert answer.startswith(b"HTTP/1.1 413" if token == TOKEN else b"HTTP/1.1 401")


@pytest.mark.parametrize(("path", "limit"), [("/api/job", guard.LARGEST_JOB), ("/emulator/set", guard.LARGEST_OTHER)])
def test_a_body_that_grows_is_cut(cloud: EmulatedCloud, path: str, limit: int) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(limit // 2**20 + 2):
            yield b"x" * 2**20

    answer = requests.post(cloud.url + path, data=parts(), headers=BEARER, timeout=GUARD_S)
    assert answer.status_code == 413
    assert "Send fewer" in answer.json()["error"]


def test_a_body_of_many_parts_is_read_once(cloud: EmulatedCloud) -> None:
    parts = iter([b'{"status":', *[b" "] * 20_000, b'"available"}'])
    answer = requests.post(cloud.url + "/emulator/set", data=parts, headers=BEARER, timeout=GUARD_S)
    assert answer.json() == {"message": "ok", "changed": ["status"]}


def test_a_body_that_never_ends_is_given_up(cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.05)
    monkeypatch.setattr(guard, "REST_S", 0.05)
    head = b"POST /api/job HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{"
    lines = [raw(cloud, head % TOKEN.encode()) for _ in range(2 * guard.READERS)]
    assert all(all_of(line).startswith(b"HTTP/1.1 408") for line in lines)
    assert asked(cloud, "/api/job", "POST", **BEARER)[0] in (400, 422)


@pytest.mark.parametrize("text", [b"", b"GET /health HTTP/1.1\r\nHost: {host}\r\n", b"GET /hea"])
def test_a_connection_that_says_nothing_is_ended(
    cloud: EmulatedCloud, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "HEAD_S", 0.05)
    lines = [raw(cloud, text) for _ in range(20)]
    assert {ended(line) for line in lines} == {b""}


def test_a_connection_that_is_kept_waits_for_the_next_request(cloud: EmulatedCloud) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port_of(cloud), timeout=GUARD_S)
    for _ in range(3):
        line.request("GET", "/health")
        assert json.loads(line.getresponse().read()) == {"status": "ok"}
    line.close()


@pytest.mark.parametrize("text", [b"", b"GET /hea"])
def test_silent_connections_keep_nobody_out(cloud: EmulatedCloud, text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "CONNECTIONS", 20)
    lines = [raw(cloud, text) for _ in range(60)]
    try:
        assert asked(cloud, "/health") == (200, {"status": "ok"})
        assert len(cloud._server.server_state.connections) <= 20
        assert asked(cloud, "/api/jobs/availability", **BEARER)[0] == 200
    finally:
        for line in lines:
            line.close()


def test_health_waits_for_nobody(cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread that answers is held up, and so are all that read payloads."""
    over = threading.Event()
    monkeypatch.setattr(type(cloud._state), "create", lambda *args, **kwargs: over.wait(GUARD_S))
    monkeypatch.setattr(type(cloud._state), "availability", lambda *args: over.wait(GUARD_S))
    busy = [threading.Thread(target=asked, args=(cloud, "/api/job", "POST"), kwargs=BEARER) for _ in range(10)]
    busy += [threading.Thread(target=asked, args=(cloud, "/api/jobs/availability"), kwargs=BEARER) for _ in range(40)]
    for thread in busy:
        thread.start()
    try:
        assert asked(cloud, "/health") == (200, {"status": "ok"})
        assert any(thread.is_alive() for thread in busy)
    finally:
        over.set()
        for thread in busy:
            thread.join(GUARD_S)
