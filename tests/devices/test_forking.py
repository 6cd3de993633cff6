"""A device that was used works in a forked process too, and so does what was recorded with it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.devices.base import Device, JobStatus
from qpu_sdk.devices.local import LocalDevice, LocalJob
from qpu_sdk.devices.perceval_texts import read
from qpu_sdk.devices.recording import RecordingDevice
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.replay import ReplayDevice
from qpu_sdk.errors import JobFailed
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.photonics.turns import LOCK

PROGRAM = Program.random(IsometryMesh(4, 2), seed=1)
#: Only keeps a process that hangs from keeping the tests.
GUARD_S = 120.0

pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no process is forked here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # Python's own, of processes with threads
]


def in_a_fork(work: Callable[[], Any]) -> Any:
    """What ``work`` returns in a forked process."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(work()), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(GUARD_S), "it hangs"
        return ours.recv()
    finally:
        process.kill()
        process.join()


def devices(folder: Path) -> list[Device]:
    return [
        open_device("local:slos", seed=1),
        open_device("local:slos?engine=slos", seed=1),
        open_device("local:slos?noise=belenos", seed=1),
        open_device("local:slos?engine=perceval&g2=0.01", seed=1),
        RecordingDevice(LocalDevice(seed=1), folder / "counts.jsonl"),
        ReplayDevice(LocalDevice(seed=1).run(PROGRAM, shots=20) for _ in range(3)),
    ]


@pytest.mark.parametrize("place", range(6))
def test_a_used_device_goes_on_in_a_fork(place: int, tmp_path: Path) -> None:
    device = devices(tmp_path)[place]
    device.run(PROGRAM, shots=20)
    there = in_a_fork(lambda: device.run(PROGRAM, shots=20).to_json())
    assert there == device.run(PROGRAM, shots=20).to_json()  # a copy goes on as the original would


@pytest.mark.parametrize("place", range(6))
def test_a_device_goes_on_that_another_thread_held(place: int, tmp_path: Path) -> None:
    device: Any = devices(tmp_path)[place]
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with device._lock:
            held.set()
            free.wait(GUARD_S)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(GUARD_S)
    try:
        assert in_a_fork(lambda: device.run(PROGRAM, shots=20).shots) == 20
    finally:
        free.set()
        thread.join()


def test_a_fork_of_a_fork_works_too() -> None:
    device = LocalDevice(seed=1)
    device.run(PROGRAM, shots=20)

    def deeper() -> int:
        device.run(PROGRAM, shots=20)
        return int(in_a_fork(lambda: device.run(PROGRAM, shots=20).shots))

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(deeper()))  # no daemon: these have no children
    process.start()
    assert ours.poll(GUARD_S)
    assert ours.recv() == 20
    process.join()


def test_a_job_of_the_parent_fails_in_a_fork_and_one_that_is_done_is_there() -> None:
    device, free = LocalDevice(seed=1), threading.Event()
    done = device.submit([PROGRAM], shots=20)
    done.result()
    device._worker.submit(free.wait, GUARD_S)  # keeps the next job waiting
    waiting = device.submit([PROGRAM], shots=20)

    def ask(job: LocalJob) -> str:
        try:
            return f"{job.result(GUARD_S)[0].shots}"
        except JobFailed as error:
            return f"{job.status() is JobStatus.FAILED} {error}"

    try:
        assert in_a_fork(lambda: ask(done)) == "20"
        told = in_a_fork(lambda: ask(waiting))
        assert told.startswith("True")
        assert "Submit it again here" in told
    finally:
        free.set()
    assert waiting.result()[0].shots == 20


def test_a_fork_waits_for_a_text_that_is_being_read() -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with LOCK:
            held.set()
            free.wait(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(GUARD_S)
    assert in_a_fork(lambda: str(read(":PCVL:BasicState:|1,0>", frozenset({"BasicState"})))) == "|1,0>"
    thread.join()
    with LOCK:  # and it is free here
        pass
