"""Pushing: one commit, private, by the hub's own client and login; the token is never shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from qpu_sdk.errors import ConfigError
from qpu_sdk.export import hub
from qpu_sdk.export.hub import push_files

huggingface_hub = pytest.importorskip("huggingface_hub")
SECRET = "hf_" + "secretsecretsecretsecret"


def test_files_go_in_one_commit_to_a_private_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Fake:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            calls.append(("create", name, private, exist_ok))

        def create_commit(self, name: str, operations: list[Any], *, commit_message: str) -> Any:
            calls.append(("commit", name, {o.path_in_repo: o.path_or_fileobj for o in operations}, commit_message))
            return huggingface_hub.CommitInfo("https://huggingface.co/u/n/commit/1", commit_message, "", "1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Fake)
    files = {"model.onnx": b"1", "README.md": b"2"}
    assert push_files(files, "u/n") == "https://huggingface.co/u/n/commit/1"
    assert calls == [("create", "u/n", True, True), ("commit", "u/n", files, "Upload a model trained with qpu_sdk")]


@pytest.fixture
def refusing() -> Iterator[str]:
    """A hub on this machine that says no, and the token with it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = f'{{"error": "{self.headers["Authorization"]} is not known"}}'.encode()
            self.send_response(401)
            self.send_header("X-Error-Message", self.headers["Authorization"] or "")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *values: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refusal_is_one_line_without_the_token(
    refusing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = huggingface_hub.HfApi
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint=refusing))
    with pytest.raises(ConfigError, match=r"u/n does not take the files.*hf auth login") as told:
        push_files({"README.md": b"2"}, "u/n")
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)
    assert SECRET not in caplog.text
    assert told.value.__cause__ is None


def test_a_name_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(ConfigError, match="check the name"):
        push_files({"README.md": b"2"}, "a/b/c d")


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install huggingface_hub$"):
        push_files({}, "u/n")
