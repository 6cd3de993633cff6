"""Limits of a device, each with its way out, and how long waiting is told."""

from __future__ import annotations

import dataclasses
import logging
import time

import numpy as np
import pytest

from qpu_sdk.devices.base import DeviceSpec, Job, JobStatus
from qpu_sdk.devices.budget import Rates
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.waiting import wait_all, wait_for
from qpu_sdk.errors import JobTimeout, ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from tests.helpers import Clock

SPEC = DeviceSpec(name="lab", max_modes=6, max_photons=3, max_shots=100, max_programs=2)


def program(modes: int, photons: int) -> Program:
    mesh = IsometryMesh(modes, photons)
    return Program(mesh, np.zeros(mesh.declared), mesh.default_input(photons))


def test_what_just_fits_is_accepted() -> None:
    SPEC.check([program(6, 3), program(2, 1)], shots=100)
    SPEC.check([program(2, 1)], shots=1)
    dataclasses.replace(SPEC, max_shots=None, max_programs=None).check([program(2, 1)] * 50, shots=10**9)


@pytest.mark.parametrize(
    ("programs", "shots", "message"),
    [
        ([], 1, "lab was given no program. Submit at least one."),
        ([(2, 1)], 0, "0 shots on lab measure nothing. Use 1 shot or more."),
        ([(2, 1)], -5, "-5 shots on lab measure nothing. Use 1 shot or more."),
        ([(2, 1)], 101, "101 shots; lab has 100 (spec.max_shots). Use fewer shots."),
        ([(2, 1)] * 3, 1, "3 programs in one submission; lab takes 2 (spec.max_programs). Submit them in parts."),
        ([(2, 1), (7, 1)], 1, "program uses 7 modes; lab has 6 (spec.max_modes). Use 6 modes or fewer."),
        ([(2, 1), (6, 4)], 1, "program uses 4 photons; lab has 3 (spec.max_photons). Use 3 photons or fewer."),
    ],
)
def test_what_does_not_fit_is_refused(programs: list[tuple[int, int]], shots: int, message: str) -> None:
    with pytest.raises(ProgramError) as caught:
        SPEC.check([program(*size) for size in programs], shots=shots)
    assert str(caught.value) == message


def test_a_device_says_what_its_name_says() -> None:
    cloud = DeviceSpec("quandela:sim:belenos?url=http://127.0.0.1:1", 24, 12)
    assert [spec.platform for spec in (SPEC, cloud)] == ["lab", "sim:belenos"]
    assert (SPEC.record_names, SPEC.rates, SPEC.noise, SPEC.drifts) == (("lab",), Rates(), None, True)
    assert hash(cloud) != hash(SPEC)


@pytest.mark.parametrize(
    ("per_job", "per_submission", "size"),
    [(None, None, None), (20, None, 20), (None, 50, 50), (20, 50, 20), (50, 20, 20)],
)
def test_a_job_is_as_large_as_both_limits_allow(
    per_job: int | None, per_submission: int | None, size: int | None
) -> None:
    spec = dataclasses.replace(SPEC, settings_per_job=per_job, max_programs=per_submission)
    assert spec.job_size == size


def test_run_is_one_submission_waited_for() -> None:
    one, other = (LocalDevice(seed=1) for _ in range(2))
    [counts] = other.submit([program(4, 2)], shots=100, tag="x").result()
    assert one.run(program(4, 2), shots=100, tag="x").to_json() == counts.to_json()
    with pytest.raises(ProgramError, match="0 shots"):
        one.run(program(4, 2), shots=0)


def test_three_statuses_are_final() -> None:
    assert {s for s in JobStatus if s.final} == {JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED}


def test_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.max_modes = 7  # type: ignore[misc]


class Slow(Job):
    """Done after so many looks, a second apart."""

    pause_s = 1.0  # type: ignore[assignment]

    def __init__(self, looks: int, *, durable: bool) -> None:
        self.id, self.durable, self._left = f"j{looks}", durable, looks

    def status(self) -> JobStatus:
        self._left -= 1
        return JobStatus.DONE if self._left <= 0 else JobStatus.RUNNING

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        return []

    def cancel(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(("looks", "durable", "told"), [(2, True, 0), (60, True, 1), (60, False, 0)])
@pytest.mark.parametrize("limit_s", [None, 30.0, 1000.0])
def test_waiting_for_a_provider_is_told_once_with_its_end(
    looks: int,
    durable: bool,
    told: int,
    limit_s: float | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    with caplog.at_level(logging.INFO, "qpu_sdk"):
        for wait in (
            lambda: wait_for(Slow(looks, durable=durable), limit_s, begun=clock.now),
            lambda: wait_all([Slow(looks, durable=durable), Slow(1, durable=durable)], timeout_s=limit_s),
        ):
            caplog.clear()
            try:
                wait()
            except JobTimeout:
                assert limit_s == 30.0
            messages = [r.getMessage() for r in caplog.records]
            assert len(messages) == told
            assert all(f"j{looks}" in m and ("until the provider" in m) == (limit_s is None) for m in messages)
