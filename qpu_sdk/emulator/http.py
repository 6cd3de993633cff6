"""The emulator's endpoints: Quandela Cloud's, and some of its own under ``/emulator``; with faults on demand.

The shapes are the vendor's (OpenAPI 2.8.0-rc4 and what Perceval 1.3.1 sends and reads). It is plain ASGI: a fault
may abort the connection, which no web framework offers.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, final

from ..errors import ConfigError
from .faults import Fault, Faults
from .guard import (
    LARGEST_JOB,
    LARGEST_OTHER,
    READERS,
    Message,
    Receive,
    Send,
    check_address,
    check_token,
    listen_to_the_rest,
    read_body,
)
from .platforms import CloudRefusal
from .state import CloudState

_HTML = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"

#: Endpoint, method, and its paths: the one Perceval sends, and the vendor's newer spelling.
_ENDPOINTS = tuple(
    (endpoint, method, re.compile(path))
    for endpoint, method, path in (
        ("platform", "GET", r"/api/platforms/([^/]+)/processor|/api/platform/([^/]+)"),
        ("create", "POST", r"/api/jobs?"),
        ("availability", "GET", r"/api/jobs/availability"),
        ("status", "GET", r"/api/job/status/([^/]+)|/api/jobs/([^/]+)/status"),
        ("result", "GET", r"/api/job/result/([^/]+)|/api/jobs/([^/]+)/result"),
        ("cancel", "POST", r"/api/job/cancel/([^/]+)|/api/jobs/([^/]+)/cancel"),
        ("rerun", "POST", r"/api/job/rerun/([^/]+)|/api/jobs/([^/]+)/rerun"),
        ("data", "GET", r"/api/jobs/([^/]+)/data"),
        ("usage", "GET", r"/api/tokens/usage/report"),
        ("health", "GET", r"/health"),
        ("jobs", "GET", r"/emulator/jobs"),
        ("requests", "GET", r"/emulator/requests"),
        ("set", "POST", r"/emulator/set"),
    )
)

#: Names of jobs that there are not, and that are counted all the same: most.
_MADE_UP = 1000
#: Endpoints of the emulator itself: no faults, not counted.
_ADMIN = frozenset({"health", "jobs", "requests", "set"})


@final
@dataclass(frozen=True)
class _Call:
    """One request.

    :param name: the platform or the job id in its path.
    """

    endpoint: str
    method: str
    name: str
    authorization: str = field(repr=False)


@final
@dataclass(frozen=True)
class _Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})

    @classmethod
    def of(cls, content: Any, status: int = 200) -> _Answer:
        return cls(status, json.dumps(content, separators=(",", ":")).encode())

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    async def send(self, send: Send, unread: Receive | None = None) -> None:
        """Send it.

        :param unread: the rest of a request that is not wanted; the connection ends with it.
        """
        body = b"" if self.status in (204, 304) else self.body  # HTTP gives these none
        headers = {k.lower(): v for k, v in self.headers.items()} | {"content-length": str(len(body))}
        headers |= {"connection": "close"} if unread is not None else {}
        raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": unread is not None})
        if unread is not None:
            await listen_to_the_rest(unread)
            await send({"type": "http.response.body", "body": b""})


@final
class Application:
    """The ASGI application."""

    def __init__(self, state: CloudState, faults: Faults) -> None:
        self._state, self._faults = state, faults
        self._endpoints: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._jobs: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._readers = asyncio.Semaphore(READERS)
        self._handlers: dict[str, Callable[[_Call, bytes], Any]] = {
            "platform": lambda call, _: self._platform(call.name),
            "create": lambda _, body: {"job_id": state.create(_parsed(body), size=len(body)).job_id},
            "availability": lambda *_: state.availability(),
            "status": lambda call, _: state.job(call.name).status_answer(state.now()),
            "result": lambda call, _: state.result(call.name),
            "cancel": lambda call, _: state.cancel(call.name),
            "rerun": lambda call, _: {"job_id": state.rerun(call.name).job_id},
            "data": lambda call, _: state.job(call.name).data_answer(state.now()),
            "usage": lambda *_: state.usage(),
            "jobs": lambda *_: self.jobs(),
            "requests": lambda *_: self.requests(),
            "set": lambda _, body: self._set(_parsed(body)),
        }

    def stop(self) -> None:
        """End all delays."""
        self._stopping.set()

    def jobs(self) -> list[dict[str, Any]]:
        """A record of every job."""
        return [job.record(self._state.now()) for job in self._state.jobs()]

    def requests(self) -> dict[str, Any]:
        """Requests by endpoint and method, and those about each job."""
        with self._lock:
            return {
                "endpoints": {name: dict(counts) for name, counts in self._endpoints.items()},
                "jobs": {name: dict(counts) for name, counts in self._jobs.items()},
            }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._answer(scope, receive, send)
        except CloudRefusal as refusal:  # before its body was read
            await _refused(refusal).send(send, receive)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        check_address(scope)
        call = _matched(scope)
        if call is None:
            raise CloudRefusal(404, "Not found")
        if call.endpoint == "health":  # here and now: no thread, lock or token that others may hold
            await _Answer.of({"status": "ok"}).send(send)
            return
        fault = self._count(call)
        check_token(call.authorization, self._state.settings.tokens)
        if fault is not None and not fault.is_handled:
            await self._wrong(fault, None, send)
            return
        creates = call.endpoint in ("create", "rerun")
        async with self._readers if creates else nullcontext():  # others wait, with their bodies on the line
            body = await read_body(scope, receive, LARGEST_JOB if creates else LARGEST_OTHER)
            answer = await asyncio.to_thread(self._handle, call, body)  # decoding takes long, and others want answers
        await (self._wrong(fault, answer, send) if fault is not None else answer.send(send))

    def _count(self, call: _Call) -> Fault | None:
        if call.endpoint in _ADMIN:
            return None
        about_job = call.endpoint in ("status", "result", "cancel", "rerun", "data")
        number = self._state.job_number(call.name) if about_job else None
        with self._lock:
            self._endpoints[call.endpoint][call.method] += 1
            if about_job and (number is not None or len(self._jobs) < _MADE_UP):
                self._jobs[call.name][call.endpoint] += 1
        if call.endpoint == "create":
            number = self._state.job_count + 1  # of the job that this call is to create
        return self._faults.next(call.endpoint, seed=self._state.settings.seed, job=number)

    def _handle(self, call: _Call, body: bytes) -> _Answer:
        try:
            return _Answer.of(self._handlers[call.endpoint](call, body))
        except CloudRefusal as refusal:
            return _refused(refusal)
        except ConfigError as error:
            return _Answer.of({"detail": {}, "error": str(error)}, 400)
        except Exception as error:  # a defect of the emulator: the server keeps quiet, so tell the client
            return _Answer.of({"detail": {}, "error": f"emulator: {type(error).__name__}: {error}"}, 500)

    def _platform(self, name: str) -> dict[str, Any]:
        status = self._state.settings.status
        return self._state.platform(name).details | {"status": status, "waiting_jobs": self._state.waiting(name)}

    def _set(self, values: object) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise ConfigError('body is not a JSON object. Send for example {"status": "maintenance"}.')
        self._state.change(**values)
        return {"message": "ok", "changed": sorted(values)}

    async def _wrong(self, fault: Fault, answer: _Answer | None, send: Send) -> None:
        """Send what a fault makes of the true answer, None when the request was not handled."""
        if fault.action in ("drop", "drop-after"):
            await _abort(send)
            return
        if fault.action == "delay":
            await self._sleep(fault.delay_s)
        await _spoiled(fault, answer).send(send)

    async def _sleep(self, delay_s: float) -> None:
        end = time.monotonic() + delay_s
        while (left := end - time.monotonic()) > 0.0 and not self._stopping.is_set():
            await asyncio.sleep(min(left, 0.05))  # naps, so that an end is noticed


def _matched(scope: Message) -> _Call | None:
    headers, asked = dict(scope["headers"]), scope["path"].rstrip("/")
    for endpoint, method, path in _ENDPOINTS:
        found = path.fullmatch(asked) if scope["method"] == method else None
        if found:
            name = next((text for text in found.groups() if text), "")
            return _Call(endpoint, method, name, headers.get(b"authorization", b"").decode("latin-1"))
    return None


def _refused(refusal: CloudRefusal) -> _Answer:
    return _Answer.of({"detail": refusal.detail, "error": refusal.error}, refusal.status)


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _spoiled(fault: Fault, answer: _Answer | None) -> _Answer:
    if fault.action == "html":
        return _Answer(200, _HTML, {"content-type": "text/html"})
    if fault.action == "empty":
        return _Answer(200, b"")
    if fault.action == "answer":
        return _chosen(fault, answer)
    assert answer is not None, fault
    if fault.action == "truncate":
        return replace(answer, status=200, body=answer.body[: len(answer.body) // 2])
    content = answer.content
    if fault.action != "replace" or not isinstance(content, dict):
        return answer
    content |= (fault.body or {}) | dict.fromkeys(fault.null)
    return _Answer.of({k: v for k, v in content.items() if k not in fault.remove}, answer.status)


def _chosen(fault: Fault, answer: _Answer | None) -> _Answer:
    content = {"detail": {}, "error": ""} if fault.body is None else fault.body
    if fault.include_job_id and answer is not None:
        content = {**content, "job_id": answer.content.get("job_id")}
    chosen = _Answer.of(content, fault.status)
    return replace(chosen, headers=chosen.headers | fault.headers)


async def _abort(send: Send) -> None:
    """Reset the connection. ASGI has no word for it, so this reaches into uvicorn's h11 request cycle."""
    cycle = send.__self__  # type: ignore[attr-defined]
    cycle.transport.abort()
    while not cycle.disconnected:  # set one turn of the loop later; returning before it would log an error
        await asyncio.sleep(0)
