"""One clock for connection, headers and body, and answers that only announce one are passed over."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from pydantic import SecretStr

from qpu_sdk.devices.cloud import exchange as module
from qpu_sdk.devices.cloud.exchange import Answered, Bounds, HeaderToken, TooLong, exchange
from qpu_sdk.devices.cloud.route import Route

#: Only keeps what hangs from keeping the tests.
GUARD_S = 60.0
BODY = b'{"a": 1}'
FINAL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n" + BODY


@contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, threading.Event]]:
    """Address of a server of one connection, and whether the client has gone."""
    gone = threading.Event()

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                handle(connection)
                while connection.recv(65536):
                    pass
            except OSError:
                pass
        gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", gone
        thread.join(GUARD_S)


def ask(url: str, *, whole_s: float = GUARD_S, most: int = 1000) -> Answered:
    return exchange("GET", url, auth=HeaderToken(), limits=Bounds(GUARD_S, whole_s, most), route=Route({}, True))


def drip(*parts: bytes, pause_s: float = 0.02) -> Callable[[socket.socket], None]:
    """Sends parts with pauses that no socket takes for silence, the last one over and over."""

    def handle(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        end = time.monotonic() + GUARD_S
        while time.monotonic() < end:
            connection.sendall(parts[-1])
            time.sleep(pause_s)

    return handle


WITHOUT_END = {
    "status line": drip(b"HTTP/1.1 ", b"2"),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"a"),
    "100 Continue": drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": drip(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
    "body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b" "),
    "chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "nothing": lambda connection: None,
}


@pytest.mark.parametrize("place", list(WITHOUT_END))
def test_an_answer_without_end_takes_its_time_limit_and_its_connection_is_closed(place: str) -> None:
    with server(WITHOUT_END[place]) as (url, gone):
        begun = time.monotonic()
        with pytest.raises(requests.RequestException):
            ask(url, whole_s=0.3, most=10**6)
        assert time.monotonic() - begun < GUARD_S / 2  # the server goes on for that long
        assert gone.wait(GUARD_S / 2)


@pytest.mark.parametrize("before", [(102,), (103,), (103, 103, 100, 102), (100,), (199, 103)])
def test_announcements_are_no_answers(before: tuple[int, ...]) -> None:
    hints = b"".join(b"HTTP/1.1 %d Hint\r\nLink: </a>; rel=preload\r\n\r\n" % code for code in before)
    with server(lambda connection: connection.sendall(hints + FINAL)) as (url, _):
        answered = ask(url)
    assert (answered.code, answered.body) == (200, BODY)
    assert "Link" not in answered.headers


def test_an_answer_that_is_too_long_is_told_apart() -> None:
    with server(lambda connection: connection.sendall(FINAL)) as (url, _), pytest.raises(TooLong, match="7 bytes"):
        ask(url, most=7)


@pytest.mark.parametrize("location", ["https://elsewhere.test/", "/again"])
def test_a_redirect_is_an_answer(location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with server(lambda connection: connection.sendall(head)) as (url, _):
        assert ask(url).code == 302


def test_a_long_wait_is_told_with_its_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_S", 0.01)
    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: told.set()  # type: ignore[method-assign]
    logging.getLogger("qpu_sdk").addHandler(handler)

    def late(connection: socket.socket) -> None:
        told.wait(GUARD_S)
        connection.sendall(FINAL)

    try:
        with caplog.at_level(logging.INFO, "qpu_sdk"), server(late) as (url, _):
            assert ask(f"{url}/path?secret").code == 200
    finally:
        logging.getLogger("qpu_sdk").removeHandler(handler)
    [message] = [r.getMessage() for r in caplog.records if r.name == module.__name__]
    assert "waiting until" in message
    assert "secret" not in message


def test_the_token_is_in_its_header_alone_and_nothing_comes_from_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    heard.append(connection.recv(65536))
                    connection.sendall(FINAL)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ask(url)
        auth = HeaderToken("Authorization", SecretStr("hush"), scheme="Bearer ")
        exchange("GET", url, auth=auth, limits=Bounds(GUARD_S, GUARD_S, 1000), route=Route({}, True))
        thread.join(GUARD_S)
    assert b"Authorization" not in heard[0]
    assert b"Authorization: Bearer hush\r\n" in heard[1]
    assert "hush" not in f"{auth!r} {vars(auth)!r}"
