"""Our devices pass the suite; devices that break one promise each fail it."""

from __future__ import annotations

import dataclasses
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.devices.base import Device, DeviceSpec, Job, JobStatus
from qpu_sdk.devices.budget import Rates
from qpu_sdk.devices.conformance import CHECKS, IDEAL_CHECKS, Check, identity_program, run_all, scrambling_program
from qpu_sdk.devices.counts_files import load_counts
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.recording import RecordingDevice
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.replay import ReplayDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program

ADDRESSES = [
    "local:slos",
    "local:slos?engine=slos",
    "local:slos?brightness=0.9&transmittance=0.5",
    "local:slos?detector=threshold",
    "local:slos?detector=threshold&transmittance=0.5",
    "local:slos?outcomes=collision_free",
    "local:slos?outcomes=collision_free&transmittance=0.5",
]
EVERY: tuple[Check, ...] = CHECKS + IDEAL_CHECKS


def name(check: Check) -> str:
    return getattr(check, "__name__", "?")


# -- devices that pass -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("check", EVERY, ids=name)
def test_local_device_conforms(check: Check, address: str) -> None:
    check(lambda seed: open_device(address, seed=seed))


@pytest.mark.parametrize("check", EVERY, ids=name)
def test_replay_of_a_recorded_run_conforms(check: Check, tmp_path: Path) -> None:
    """A replay knows only what was recorded, so each check is recorded first, one file per device it opens.

    The file of a check that submits nothing gets one program, because a replay of nothing is no device. What
    the seed decides was decided when the recording was made.
    """
    opened = itertools.count()

    def record(seed: int) -> Device:
        device = RecordingDevice(LocalDevice(seed=seed), tmp_path / f"{next(opened)}.jsonl")
        device.submit([identity_program(6, 4)], shots=1).result()
        return device

    check(record)
    replayed = itertools.count()
    check(lambda seed: ReplayDevice(load_counts(tmp_path / f"{next(replayed)}.jsonl")))
    assert next(replayed) == next(opened)


def test_run_all_names_what_passed() -> None:
    assert run_all(lambda seed: LocalDevice(seed=seed)) == [name(check) for check in CHECKS]


def test_every_check_is_listed_once() -> None:
    names = [name(check) for check in EVERY]
    assert len(set(names)) == len(names)
    assert all(n.startswith("check_") for n in names)
    assert all(check.__doc__ for check in EVERY)


def test_limits_of_shots_and_programs_are_respected() -> None:
    """The suite asks a device for no more than its spec allows, and asks for more once to see it refuse."""
    limits: dict[str, int | bool] = {"max_shots": 500, "max_programs": 2, "max_modes": 6, "max_photons": 3}
    run_all(lambda seed: Broken(LocalDevice(seed=seed), **limits))
    limits["max_programs"] = 1
    run_all(lambda seed: Broken(LocalDevice(seed=seed), **limits))


@pytest.mark.parametrize(("seeded", "ideal", "settings"), [(False, False, 25), (True, False, 28), (True, True, 31)])
def test_the_suite_costs_what_it_says(seeded: bool, ideal: bool, settings: int) -> None:
    spent: list[int] = []
    run_all(lambda seed: Metered(LocalDevice(seed=seed), spent, seeded=seeded), ideal=ideal)
    assert sum(spent) == settings


# -- devices that break a promise --------------------------------------------------------------------------------


class Broken(Device):
    """Passes everything on; subclasses break one thing."""

    def __init__(self, inner: Device, **limits: int | bool) -> None:
        self.inner = inner
        self.spec = dataclasses.replace(inner.spec, **limits)  # type: ignore[arg-type]

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        self.spec.check(programs, shots=shots)
        return self.wrap(self.inner.submit(programs, shots=shots, tag=tag))

    def wrap(self, job: Job) -> Job:
        return job


class Metered(Broken):
    """Breaks nothing; writes down how many settings it was asked for."""

    def __init__(self, inner: Device, spent: list[int], **limits: int | bool) -> None:
        super().__init__(inner, **limits)
        self.spent = spent

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        job = super().submit(programs, shots=shots, tag=tag)
        self.spent.append(len(programs))
        return job


class BrokenJob(Job):
    def __init__(self, job: Job, change: Callable[[list[Counts]], list[Counts]] = list) -> None:
        self.id, self.job, self.change = job.id, job, change

    def status(self) -> JobStatus:
        return self.job.status()

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        return self.change(self.job.result(timeout_s))

    def cancel(self) -> None:
        self.job.cancel()


class Changed(Broken):
    """Changes the list of counts."""

    def __init__(self, inner: Device, change: Callable[[list[Counts]], list[Counts]]) -> None:
        super().__init__(inner)
        self.change = change

    def wrap(self, job: Job) -> Job:
        return BrokenJob(job, self.change)


class RepeatsItself(Broken):
    """Draws the same random numbers in every submission."""

    def __init__(self, seed: int) -> None:
        super().__init__(LocalDevice(seed=seed))
        self.seed = seed

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        job = LocalDevice(seed=self.seed).submit(programs, shots=shots, tag="same")
        job.id = self.inner.submit(programs, shots=shots, tag=tag).id
        return job


class RepeatsItselfAcrossThreads(Broken):
    """Each thread gets a generator of its own, and all of them start from one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(LocalDevice(seed=seed))
        self.seed, self.of_thread = seed, dict[int, LocalDevice]()

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        own = self.of_thread.setdefault(threading.get_ident(), LocalDevice(seed=self.seed))
        job = own.submit(programs, shots=shots)
        job.id = self.inner.submit(programs, shots=shots, tag=tag).id
        return job


class IgnoresLimits(Broken):
    """Truncates what does not fit instead of refusing it."""

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        fitting = [p for p in programs if p.modes <= self.spec.max_modes and p.photons <= self.spec.max_photons]
        return self.inner.submit(fitting or [scrambling_program(4, 2, seed=1)], shots=max(shots, 1), tag=tag)


class IgnoresTheSeed(Broken):
    fresh = itertools.count()

    def __init__(self, seed: int) -> None:
        super().__init__(LocalDevice(seed=next(self.fresh)))


class OneSeedForAll(Broken):
    def __init__(self, seed: int) -> None:
        super().__init__(LocalDevice(seed=0))


class OneId(Broken):
    def wrap(self, job: Job) -> Job:
        job.id = "job"
        return job


class NoId(Broken):
    def wrap(self, job: Job) -> Job:
        job.id = ""
        return job


class CancelsTooLate(Broken):
    class Late(BrokenJob):
        cancelled = False

        def status(self) -> JobStatus:
            return JobStatus.CANCELLED if self.cancelled else super().status()

        def cancel(self) -> None:
            self.cancelled = True

    def wrap(self, job: Job) -> Job:
        return self.Late(job)


class NeverDone(Broken):
    class Running(BrokenJob):
        def status(self) -> JobStatus:
            return JobStatus.RUNNING

    def wrap(self, job: Job) -> Job:
        return self.Running(job)


class ForgetsResults(Broken):
    class Once(BrokenJob):
        def result(self, timeout_s: float | None = None) -> list[Counts]:
            first, self.change = self.change(super().result(timeout_s)), lambda counts: []
            return first

    def wrap(self, job: Job) -> Job:
        return self.Once(job)


def says(**changes: object) -> Callable[[int], Device]:
    """A device whose spec says something else."""
    return lambda seed: Broken(LocalDevice(seed=seed), **changes)  # type: ignore[arg-type]


class MutableSpec(Broken):
    """The spec is an instance of a subclass that can be written."""

    class Soft(DeviceSpec):
        def __setattr__(self, field: str, value: object) -> None:
            object.__setattr__(self, field, value)

    def __init__(self, inner: Device) -> None:
        super().__init__(inner)
        self.spec = self.Soft(name="soft", max_modes=20, max_photons=10)


def say_threshold(counts: list[Counts]) -> list[Counts]:
    return [dataclasses.replace(c, outcomes=np.minimum(c.outcomes, 1), detector="threshold") for c in counts]


def edit(**changes: object) -> Callable[[list[Counts]], list[Counts]]:
    return lambda counts: [dataclasses.replace(c, **changes) for c in counts]  # type: ignore[arg-type]


def miscount(counts: list[Counts]) -> list[Counts]:
    return [dataclasses.replace(c, other=c.other + 1) for c in counts]


def copy_first(counts: list[Counts]) -> list[Counts]:
    return [
        dataclasses.replace(counts[0], program=c.program, fingerprint=c.fingerprint)
        if c.modes == counts[0].modes
        else c
        for c in counts
    ]


def list_twice(counts: list[Counts]) -> list[Counts]:
    def twice(c: Counts) -> Counts:
        return dataclasses.replace(c, outcomes=np.tile(c.outcomes, (2, 1)), numbers=np.append(c.numbers, 0 * c.numbers))

    return [twice(c) for c in counts]


def add_empty(counts: list[Counts]) -> list[Counts]:
    out = []
    for c in counts:
        outcomes = c.outcomes.copy()
        outcomes[np.argmax(c.numbers)] = 0
        out.append(dataclasses.replace(c, outcomes=outcomes))
    return out


def shuffle_modes(counts: list[Counts]) -> list[Counts]:
    return [dataclasses.replace(c, outcomes=c.outcomes[:, ::-1]) for c in counts]


def rotate_outcomes(counts: list[Counts]) -> list[Counts]:
    return [dataclasses.replace(c, outcomes=np.roll(c.outcomes, 1, axis=0)) for c in counts]


class NoShotNoise(Broken):
    """Answers with rounded expectation values of ten thousand times as many shots."""

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        job = self.inner.submit(programs, shots=shots * 10_000, tag=tag)
        return BrokenJob(job, lambda counts: [dataclasses.replace(c, numbers=c.numbers // 10_000) for c in counts])


def changed(change: Callable[[list[Counts]], list[Counts]]) -> Callable[[int], Device]:
    return lambda seed: Changed(LocalDevice(seed=seed), change)


def around(kind: Callable[[Device], Device]) -> Callable[[int], Device]:
    return lambda seed: kind(LocalDevice(seed=seed))


WRONG: dict[str, tuple[Callable[[int], Device], str]] = {
    "repeats itself": (RepeatsItself, "check_submissions_draw_afresh"),
    "repeats itself in threads": (RepeatsItselfAcrossThreads, "check_threads_may_submit_at_once"),
    "drops a program": (changed(lambda counts: counts[:-1] or counts), "check_result_keeps_the_order"),
    "reverses programs": (changed(lambda counts: counts[::-1]), "check_result_keeps_the_order"),
    "returns nothing": (changed(lambda counts: []), "check_counts_describe_the_program"),
    "adds a program": (changed(lambda counts: [*counts, counts[0]]), "check_counts_describe_the_program"),
    "copies a program": (changed(copy_first), "check_repeated_program_is_measured_twice"),
    "has no fingerprint": (changed(edit(program=None, fingerprint="")), "check_counts_describe_the_program"),
    "has another detector": (changed(say_threshold), "check_counts_describe_the_program"),
    "says other photons": (changed(edit(photons=1, program=None)), "check_counts_describe_the_program"),
    "loses a shot": (changed(miscount), "check_counts_describe_the_program"),
    "lists outcomes twice": (changed(list_twice), "check_counts_are_possible"),
    "counts empty windows": (changed(add_empty), "check_counts_are_possible"),
    "truncates": (around(IgnoresLimits), "check_oversized_programs_are_refused"),
    "takes nothing": (around(IgnoresLimits), "check_empty_submissions_are_refused"),
    "ignores the seed": (IgnoresTheSeed, "check_seed_decides_the_counts"),
    "has one seed": (OneSeedForAll, "check_seed_decides_the_counts"),
    "has one id": (around(OneId), "check_job_ids_are_distinct"),
    "has no id": (around(NoId), "check_job_ids_are_distinct"),
    "cancels too late": (around(CancelsTooLate), "check_finished_jobs_stay_finished"),
    "is never done": (around(NeverDone), "check_finished_jobs_stay_finished"),
    "forgets results": (around(ForgetsResults), "check_result_can_be_asked_twice"),
    "has a soft spec": (around(MutableSpec), "check_spec_is_frozen"),
    "has no name": (lambda seed: LocalDevice(seed=seed, name=""), "check_spec_is_complete"),
    "pays for being used": (says(rates=Rates(-1e-6)), "check_spec_is_complete"),
    "knows a part of its noise": (says(noise=Noise(transmittance=[0.5] * 3)), "check_spec_is_complete"),
    "knows a record and no noise": (says(noise=None, record_file="r.json"), "check_spec_is_complete"),
    "has records of nobody": (says(record_names=("lab", "")), "check_spec_is_complete"),
    "publishes what no file holds": (says(published={"HOM (%)": {90.0}}), "check_spec_is_complete"),
    "does not say whether it drifts": (says(drifts=None), "check_spec_is_complete"),
    "says that its jobs go on": (says(durable=True), "check_counts_describe_the_program"),
    "reverses modes": (changed(shuffle_modes), "check_identity_returns_the_photons"),
    "rotates outcomes": (changed(rotate_outcomes), "check_distribution_is_exact"),
    "has no shot noise": (around(NoShotNoise), "check_distribution_is_exact"),
}


@pytest.mark.parametrize("fault", list(WRONG))
def test_a_broken_device_fails(fault: str) -> None:
    opener, check = WRONG[fault]
    with pytest.raises(AssertionError):
        {name(c): c for c in EVERY}[check](opener)
    with pytest.raises(AssertionError):
        run_all(opener, ideal=True)


def test_every_check_catches_some_device() -> None:
    unreached = {name(check) for check in EVERY} - {check for _, check in WRONG.values()}
    assert unreached == {"check_hong_ou_mandel"}


def test_distinguishable_photons_fail_hong_ou_mandel() -> None:
    def distinguishable(counts: list[Counts]) -> list[Counts]:
        """A quarter, a half, a quarter instead of a half, none, a half."""
        numbers = [[n // 2 for n in c.numbers.tolist()] for c in counts]
        for c, row in zip(counts, numbers, strict=True):
            row[[list(o) for o in c.outcomes.tolist()].index([1, 1])] += c.shots - sum(row)
        return [dataclasses.replace(c, numbers=np.array(row)) for c, row in zip(counts, numbers, strict=True)]

    [check] = [c for c in IDEAL_CHECKS if name(c) == "check_hong_ou_mandel"]
    with pytest.raises(AssertionError, match="coincidences behind a balanced beam splitter"):
        check(changed(distinguishable))


def test_a_failure_says_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match=re.escape("counts.shots is 10001; the submission says 10000")):
        run_all(changed(miscount))


def test_the_suite_does_not_hide_errors_of_other_kinds() -> None:
    def refuse(seed: int) -> Device:
        raise ProgramError("closed")

    with pytest.raises(ProgramError, match="closed"):
        run_all(refuse)


def test_checks_may_run_side_by_side() -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_all, lambda seed: LocalDevice(seed=seed, model=LocalModel())) for _ in range(2)]
    assert [run.result() for run in runs] == [[name(check) for check in CHECKS]] * 2
