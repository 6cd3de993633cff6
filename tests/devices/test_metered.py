"""A meter adds up what is sent, refuses what would pass a limit, and believes what jobs report."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, final

import pytest

import qpu_sdk as qs
from qpu_sdk.devices.base import JobStatus, Usage
from qpu_sdk.devices.budget import Cost, Rates
from qpu_sdk.devices.conformance import run_all
from qpu_sdk.devices.local import LocalDevice

PROGRAMS = [qs.Program.random(qs.IsometryMesh(4, 2), seed=seed) for seed in range(5)]


@final
class Reported(qs.Job):
    def __init__(self, counts: list[qs.Counts], usage: Usage) -> None:
        self.id, self._counts, self._usage = "lab-1", counts, usage

    def usage(self) -> Usage:
        return self._usage

    def status(self) -> JobStatus:
        return JobStatus.DONE

    def result(self, timeout_s: float | None = None) -> list[qs.Counts]:
        return self._counts

    def cancel(self) -> None:
        pass


@final
class Lab(qs.Device):
    """Takes 1e-3 credits a shot and 10 s a setting, two settings a job; says what jobs took as it is told to."""

    def __init__(self, usage: Usage | None = None) -> None:
        self.spec = qs.DeviceSpec("lab:x", 9, 4, rates=Rates(1e-3, 10.0), settings_per_job=2)
        self.usage, self.asked, self._inner = usage or Usage(), 0, LocalDevice(seed=1)

    def submit(self, programs: Sequence[qs.Program], *, shots: int, tag: str = "") -> qs.Job:
        self.asked += 1
        return Reported(self._inner.submit(programs, shots=shots, tag=tag).result(), self.usage)


def test_it_is_a_device_as_any() -> None:
    run_all(lambda seed: qs.Metered(LocalDevice(seed=seed), settings=10_000))


def test_costs_are_those_of_the_rates() -> None:
    device = qs.Metered(Lab())
    device.submit(PROGRAMS, shots=200)
    assert device.spent == Cost(settings=5, shots=1000, credits=1.0, jobs=3, seconds=50.0)
    device.run(PROGRAMS[0], shots=100)
    assert device.spent == Cost(settings=6, shots=1100, credits=1.1, jobs=4, seconds=60.0)


def test_what_jobs_report_counts() -> None:
    device = qs.Metered(Lab(Usage(shots=500, seconds=7.0)))
    device.submit(PROGRAMS, shots=200)
    assert device.spent == Cost(settings=5, shots=500, credits=0.5, jobs=3, seconds=7.0)


@pytest.mark.parametrize(
    ("limit", "need"),
    [
        ({"settings": 7}, "settings=10"),
        ({"shots": 1999}, "shots=2000"),
        ({"credits": 1.5}, "credits=2"),
        ({"jobs": 5}, "jobs=6"),
        ({"seconds": 99.0}, "seconds=100"),
    ],
    ids=str,
)
def test_what_would_pass_a_limit_is_not_sent(limit: dict[str, Any], need: str) -> None:
    lab = Lab()
    device = qs.Metered(lab, **limit)
    device.submit(PROGRAMS, shots=200)
    before = device.spent
    with pytest.raises(qs.QPUError, match=f"Nothing was sent. Raise the limit to {need}") as caught:
        device.submit(PROGRAMS, shots=200)
    assert "\n" not in str(caught.value)
    assert (lab.asked, device.spent) == (1, before)


def test_a_program_that_does_not_fit_costs_nothing() -> None:
    device = qs.Metered(Lab())
    with pytest.raises(qs.QPUError, match="Use 9 modes or fewer"):
        device.run(qs.Program.random(qs.IsometryMesh(12, 2), seed=1), shots=10)
    assert device.spent == Cost()


def test_threads_share_one_limit() -> None:
    device = qs.Metered(LocalDevice(seed=1), settings=10)
    refused: list[Exception] = []

    def ask() -> None:
        for _ in range(5):
            try:
                device.run(PROGRAMS[0], shots=10)
            except qs.QPUError as error:
                refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (device.spent.settings, len(refused)) == (10, 10)


def test_a_calibration_and_a_layer_take_it() -> None:
    device = qs.Metered(qs.open_device("local:slos?transmittance=0.5", seed=1))
    qs.calibrate(device, modes=4, inputs=(0, 1), shots=20_000, seed=1)
    spent = device.spent
    assert spent.settings > 1
    qs.PhotonicLayer(qs.IsometryMesh(4, 2), device=device, shots=500, seed=1)()
    assert device.spent == spent + Cost(settings=1, shots=500, jobs=1)
