"""Jobs as futures: the same results and errors, callbacks, await, cancelling, and no thread left behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from typing import final

import pytest

from qpu_sdk.devices.base import Job, JobStatus
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.errors import DeviceUnavailable, JobFailed
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program

PROGRAM = Program.random(IsometryMesh(4, 2), seed=1)
COUNTS = LocalDevice(seed=1).run(PROGRAM, shots=100)


@final
class Slow(Job):
    """A job that is done, or fails, when the test says so."""

    def __init__(self, error: Exception | None = None, *, unreachable: bool = False) -> None:
        self.id, self.go_on = "slow-1", threading.Event()
        self.cancelled = threading.Event()
        self._error, self._unreachable = error, unreachable

    def status(self) -> JobStatus:
        if self._unreachable:
            raise DeviceUnavailable("the lab is closed. Come again tomorrow.")
        return JobStatus.DONE if self.go_on.is_set() else JobStatus.RUNNING

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        if self._error is not None:
            raise self._error
        return [COUNTS]

    def cancel(self) -> None:
        self.cancelled.set()


def threads_of(job: Job) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"qpu-sdk-{job.id}"]


def ended(job: Job) -> bool:
    for thread in threads_of(job):
        thread.join(60)
    return not threads_of(job)


def test_a_future_has_the_result_and_calls_back() -> None:
    job, told = Slow(), threading.Event()
    future = job.as_future()
    seen: list[Future[list[Counts]]] = []
    future.add_done_callback(lambda done: (seen.append(done), told.set()))  # type: ignore[func-returns-value]
    assert not future.done()
    job.go_on.set()
    assert future.result(60) == [COUNTS]
    assert told.wait(60)
    assert seen == [future]
    assert ended(job)


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (Slow(JobFailed("job slow-1 failed. Submit it again.", job_id="slow-1")), JobFailed),
        (Slow(unreachable=True), DeviceUnavailable),
    ],
    ids=["failed", "unreachable"],
)
def test_a_future_has_the_error(job: Slow, error: type[Exception]) -> None:
    job.go_on.set()
    assert isinstance(job.as_future().exception(60), error)
    assert ended(job)


def test_a_cancelled_future_cancels_the_job() -> None:
    job = Slow()
    future = job.as_future()
    assert future.cancel()
    assert job.cancelled.wait(60)
    assert ended(job)
    with pytest.raises(CancelledError):
        future.result(60)


def test_several_jobs_are_awaited_together() -> None:
    device = LocalDevice(seed=2)
    jobs = [device.submit([PROGRAM], shots=100, tag=str(i)) for i in range(3)]

    async def gathered() -> list[list[Counts]]:
        return await asyncio.gather(*(asyncio.wrap_future(job.as_future()) for job in jobs))

    assert asyncio.run(gathered()) == [job.result() for job in jobs]
    assert all(map(ended, jobs))


def test_an_awaited_job_is_cancelled_with_its_task() -> None:
    job = Slow()

    async def given_up() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.wrap_future(job.as_future())

    with pytest.raises(TimeoutError):
        asyncio.run(given_up())
    assert job.cancelled.wait(60)
    assert ended(job)
