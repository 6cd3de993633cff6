"""What holds for every test: repeatable examples, and no token in anything the tests leave behind."""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import logging
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from qpu_sdk.errors import QPUError

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

# Before numpy and torch are loaded, and for every process that a test starts: two workers need no more cores than two,
# and sums are the same bit for bit wherever a test runs.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that runs the tests in the background has Ctrl-C ignored, and so would everything that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Perceval makes its folder, and one in it, when it is imported, and two workers of a new machine would make them at the
# same moment; nor is the user's own, which may hold a token, any business of the tests. Workers and started processes
# inherit this one.
if "PCVL_PERSISTENT_PATH" not in os.environ:
    os.environ["PCVL_PERSISTENT_PATH"] = tempfile.mkdtemp(prefix="qpu-sdk-tests-")
    os.mkdir(os.path.join(os.environ["PCVL_PERSISTENT_PATH"], "job_group"))
    atexit.register(shutil.rmtree, os.environ["PCVL_PERSISTENT_PATH"], ignore_errors=True)

#: Every token that a test uses begins like the vendor's.
TOKEN = re.compile(rb"_T_[\w-]{4,}")
#: Perceval's own configuration, where a test lets Perceval save a token.
PERCEVAL_CONFIG = "config.json"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first: begun last, they would keep one worker going when the other has nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _no_token_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Write every log record and every error of the SDK to files beside those of the tests, and look for tokens."""
    folder = tmp_path_factory.getbasetemp()
    handler = logging.FileHandler(folder / "everything.log", encoding="utf-8", errors="backslashreplace")
    root = logging.getLogger()
    level, init = root.level, QPUError.__init__
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)

    def recorded(self: QPUError, *args: object, **values: object) -> None:
        Exception.__init__(self, *args)
        handler.emit(logging.makeLogRecord({"msg": f"{type(self).__name__} {args!r} {values!r} {self!r} {self}"}))

    QPUError.__init__ = recorded  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        QPUError.__init__ = init  # type: ignore[method-assign]
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
    leaks = [path for path in folder.rglob("*") if path.is_file() and path.name != PERCEVAL_CONFIG]
    leaks = [path for path in leaks if TOKEN.search(path.read_bytes())]
    assert not leaks, f"a token was left in {leaks}"


@pytest.fixture(scope="session", autouse=True)
def _servers_end_at_once() -> Iterator[None]:
    """uvicorn looks ten times a second whether it should end, and then waits a tenth of a second more."""
    if importlib.util.find_spec("uvicorn") is None:
        yield
        return
    import uvicorn.server

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
        yield


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without what takes a third of a second each to draw."""

    def savefig(self: object, out: Any, **options: object) -> None:
        out.write("<svg></svg>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
