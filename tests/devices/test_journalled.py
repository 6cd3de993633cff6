"""Submissions through the journal: nothing is sent twice, nothing that was paid for is lost."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.devices.base import Device, DeviceSpec, Job, JobStatus, RemoteDevice, Usage
from qpu_sdk.devices.budget import UNLIMITED, Budget, Cost, Rates
from qpu_sdk.devices.job_record import RAW, JobRecord, JobState
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.journalled import JournalledDevice
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.sending import Terms
from qpu_sdk.devices.waiting import wait_all
from qpu_sdk.errors import (
    AuthenticationError,
    BudgetExceeded,
    CheckpointError,
    DeviceUnavailable,
    DeviceUnreachable,
    JobCancelled,
    JobFailed,
    JobTimeout,
    ProgramError,
    QPUError,
    QueueFull,
    SubmissionUncertain,
)
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from tests.helpers import Clock

MESH = IsometryMesh(4, 2)
SPEC = DeviceSpec("lab", 8, 4, max_programs=2, simulated=False)
SHOTS = 50


def programs(number: int, *, first: int = 0) -> list[Program]:
    return [Program(MESH, np.full(MESH.declared, 0.01 * (first + i)), (0, 1)) for i in range(number)]


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module", autouse=True)
def clock() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch:
        fake = Clock(now=1000.0)
        patch.setattr("qpu_sdk.devices.journalled.time", fake)
        patch.setattr("qpu_sdk.devices.sending.time", fake)
        patch.setattr("qpu_sdk.devices.waiting.time", fake)
        yield fake


@dataclass
class Sent:
    """A job that the provider has."""

    id: str
    name: str
    programs: list[Program]
    shots: int
    end: JobStatus = JobStatus.DONE
    finished: int | None = None
    polls: int = 1
    asked: int = 0
    stopped: bool = False

    @property
    def status(self) -> JobStatus:
        if self.stopped or self.asked > self.polls:
            return JobStatus.CANCELLED if self.stopped else self.end
        return JobStatus.RUNNING if self.asked else JobStatus.QUEUED

    @property
    def done(self) -> int:
        """Settings that have run, once it has ended."""
        return len(self.programs) if self.finished is None else min(self.finished, len(self.programs))


@dataclass
class Provider:
    """What is at the other end, and outlives our process.

    ``script`` says how the next jobs go: keys of :class:`Sent`. ``trouble`` is asked on every creation, ``passing`` at
    every boundary between the provider and us.
    """

    limit: int | None = 10
    script: list[dict[str, object]] = field(default_factory=list)
    trouble: Callable[[int, str], BaseException | None] = lambda number, name: None
    passing: Callable[[str], None] = lambda where: None
    jobs: dict[str, Sent] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    most: int = 0

    @property
    def unfinished(self) -> int:
        return sum(not job.status.final for job in self.jobs.values())

    @property
    def ran(self) -> Counter[str]:
        """How often each setting was run."""
        done = (job.programs[: job.done] for job in self.jobs.values() if job.status.final)
        return Counter(program.fingerprint for some in done for program in some)

    def add(self, name: str, wanted: Sequence[Program], shots: int) -> str:
        job_id = f"id-{len(self.jobs) + 1}"
        how = self.script.pop(0) if self.script else {}
        self.jobs[job_id] = Sent(job_id, name, list(wanted), shots, **how)  # type: ignore[arg-type]
        self.most = max(self.most, self.unfinished)
        return job_id


class Remote(RemoteDevice):
    """Our end of a provider."""

    queue_s, deadline_s = 100.0, 10.0

    def __init__(self, provider: Provider, spec: DeviceSpec = SPEC) -> None:
        self.provider = provider
        self.spec = replace(spec, max_programs=None, settings_per_job=spec.max_programs, durable=True)

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        raise AssertionError("a remote device is only asked to create")

    def create(self, programs: Sequence[Program], *, shots: int, name: str) -> str:
        provider = self.provider
        provider.passing("create")
        provider.calls["create"] += 1
        error = provider.trouble(provider.calls["create"], name)
        if isinstance(error, SubmissionUncertain) and "arrived" in str(error):
            provider.add(name, programs, shots)
        if error is not None:
            raise error
        job_id = provider.add(name, programs, shots)
        provider.passing("created")
        return job_id

    def attach(
        self,
        job_id: str,
        programs: Sequence[Program],
        *,
        shots: int,
        tag: str,
        keep: Callable[[str], None] | None = None,
    ) -> Job:
        sent = self.provider.jobs[job_id]
        assert ([p.fingerprint for p in programs], shots) == ([p.fingerprint for p in sent.programs], sent.shots)
        return Handle(self.provider, sent, tag, keep)

    def stop(self, job_id: str) -> None:
        self.provider.jobs[job_id].stopped = True

    def room(self) -> int | None:
        self.provider.passing("room")
        return None if self.provider.limit is None else max(0, self.provider.limit - self.provider.unfinished)

    def name_of(self, job_id: str) -> str | None:
        return self.provider.jobs[job_id].name


class Handle(Job):
    durable = True

    def __init__(self, provider: Provider, sent: Sent, tag: str, keep: Callable[[str], None] | None = None) -> None:
        self.id, self._provider, self._sent, self._tag, self._keep = sent.id, provider, sent, tag, keep

    def status(self) -> JobStatus:
        self._provider.passing("status")
        self._sent.asked += 1
        status = self._sent.status
        self._provider.passing("told")
        return status

    def usage(self) -> Usage:
        return Usage(seconds=7.0 * self._sent.done)

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        self._provider.passing("result")
        sent = self._sent
        brought = [self._counts(p) if i < sent.done else None for i, p in enumerate(sent.programs)]
        if self._keep is not None:
            self._keep(f"answer of {sent.id}")
        self._provider.passing("fetched")
        finished = [c for c in brought if c is not None]
        if sent.status is JobStatus.FAILED:
            raise JobFailed("it failed", job_id=sent.id, partial=tuple(brought))
        if len(finished) < len(brought) or sent.status is JobStatus.CANCELLED:
            raise JobCancelled("it was cut short", job_id=sent.id, partial=tuple(brought))
        return finished

    def _counts(self, program: Program) -> Counts:
        return Counts(
            photons=2,
            outcomes=np.array([[1, 1, 0, 0]], dtype=np.uint8),
            numbers=np.array([self._sent.shots]),
            program=program,
            device="lab",
            tag=self._tag,
            job_id=self.id,
        )

    def cancel(self) -> None:
        self._sent.stopped = self._sent.stopped or not self._sent.status.final


def raising(*errors: BaseException | None) -> Callable[[int, str], BaseException | None]:
    """Trouble in the first creations."""
    return lambda number, name: errors[number - 1] if number <= len(errors) else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as opened:
        yield opened


def device(provider: Provider, journal: Journal, spec: DeviceSpec = SPEC, **terms: object) -> JournalledDevice:
    return JournalledDevice(Remote(provider, spec), journal, Terms(**terms))  # type: ignore[arg-type]


def on_disk(path: Path) -> list[JobRecord]:
    with Journal(path, write=False) as reader:
        return reader.jobs()


def states(journal: Journal) -> list[JobState]:
    return [job.state for job in journal.jobs()]


def once(number: int, *, first: int = 0) -> Counter[str]:
    return Counter(p.fingerprint for p in programs(number, first=first))


# -- a submission ------------------------------------------------------------------------------------------


def test_counts_come_in_the_order_of_the_programs(journal: Journal) -> None:
    provider, wanted = Provider(), programs(5)
    result = device(provider, journal).submit(wanted, shots=SHOTS, tag="t").result()
    assert [c.fingerprint for c in result] == [p.fingerprint for p in wanted]
    assert {c.shots for c in result} == {SHOTS}
    assert provider.ran == once(5)


def test_the_journal_tells_what_was_asked_and_taken(journal: Journal) -> None:
    terms = Terms(label="my run", rates=Rates(0.01, 15.0))
    JournalledDevice(Remote(Provider()), journal, terms).submit(programs(1), shots=SHOTS, tag="spsa/0/1").result()
    [job] = journal.jobs()
    assert job.name.startswith("my-run/spsa/0/1-")
    assert (job.device, job.tag, job.job_id, job.durable) == ("lab", "spsa/0/1", "id-1", True)
    assert (job.programs, job.shots_each, job.request) == ((programs(1)[0].fingerprint,), SHOTS, RAW)
    assert (job.state, job.cost) == (JobState.DONE, Cost(1, SHOTS, 0.5, 1, 7.0))  # the provider's seconds, not ours
    assert journal.answer(job.name) == "answer of id-1"


def test_names_are_never_used_twice(journal: Journal) -> None:
    provider = Provider()
    for first in range(3):
        device(provider, journal).submit(programs(1, first=first), shots=SHOTS, tag="t").result()
    assert len({job.name for job in provider.jobs.values()}) == 3


def test_what_does_not_fit_is_not_noted(journal: Journal) -> None:
    with pytest.raises(ProgramError):
        device(Provider(), journal).submit(programs(1), shots=0)
    assert journal.jobs() == []


@pytest.mark.parametrize(("size", "expected"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5]), (None, [5])])
def test_submissions_are_split_to_what_a_job_takes(journal: Journal, size: int | None, expected: list[int]) -> None:
    provider = Provider()
    owner = device(provider, journal, replace(SPEC, max_programs=size))
    owner.submit(programs(5), shots=SHOTS).result()
    assert [len(job.programs) for job in provider.jobs.values()] == expected
    assert journal.total() == Cost(5, 5 * SHOTS, 0.0, len(expected), 35.0)


def test_an_intent_is_on_disk_before_its_request_leaves(path: Path, journal: Journal) -> None:
    seen: list[list[tuple[str, JobState]]] = []

    def look(number: int, name: str) -> None:
        jobs = on_disk(path)
        assert jobs[-1].name == name
        assert len(jobs[-1].programs) == 2
        seen.append([(job.job_id, job.state) for job in jobs])

    device(Provider(trouble=look), journal).submit(programs(6), shots=SHOTS).result()
    sent, intent = JobState.SUBMITTED, JobState.INTENT
    assert seen == [
        [("", intent)],
        [("id-1", sent), ("", intent)],
        [("id-1", sent), ("id-2", sent), ("", intent)],
    ]


# -- what is known -----------------------------------------------------------------------------------------


def test_what_is_known_is_not_run_again(path: Path) -> None:
    provider = Provider()
    with Journal(path) as journal:
        first = device(provider, journal).submit(programs(3), shots=SHOTS).result()
    with Journal(path) as journal:
        again = device(provider, journal).submit(programs(4), shots=SHOTS, tag="another").result()
    assert [c.to_json() for c in again[:3]] == [c.to_json() for c in first]
    assert provider.ran == once(4)


def test_other_shots_or_another_device_are_another_measurement(journal: Journal) -> None:
    provider = Provider()
    for name, shots in (("lab", 10), ("lab", 20), ("other", 20)):
        device(provider, journal, replace(SPEC, name=name)).submit(programs(1), shots=shots).result()
    assert [job.shots for job in provider.jobs.values()] == [10, 20, 20]


@pytest.mark.parametrize("reuse", [True, False])
def test_equal_programs_are_run_once_unless_asked_apart(journal: Journal, reuse: bool) -> None:
    provider = Provider()
    owner = device(provider, journal, reuse=reuse)
    [one] = programs(1)
    for _ in range(2):
        assert len(owner.submit([one, one, one], shots=SHOTS).result()) == 3
    assert provider.ran == Counter({one.fingerprint: 1 if reuse else 6})


def test_a_job_that_goes_on_is_joined_not_sent_again(journal: Journal) -> None:
    provider = Provider()
    owner = device(provider, journal)
    first = owner.submit(programs(2), shots=SHOTS)
    second = owner.submit(programs(3)[1:], shots=SHOTS)
    assert [c.fingerprint for c in second.result()] == [p.fingerprint for p in programs(3)[1:]]
    assert len(first.result()) == 2
    assert provider.ran == once(3)


def test_a_later_process_asks_for_the_job_by_its_id(path: Path) -> None:
    provider = Provider(script=[{"polls": 3}])
    with Journal(path) as journal:
        assert not device(provider, journal).submit(programs(2), shots=SHOTS).status().final
    with Journal(path) as journal:
        device(provider, journal).submit(programs(2), shots=SHOTS).result()
        assert states(journal) == [JobState.DONE]
    assert provider.calls["create"] == 1


def test_a_job_with_settings_nobody_asks_for_is_left_to_a_person(path: Path) -> None:
    provider = Provider(script=[{"polls": 3}])
    with Journal(path) as journal:
        device(provider, journal).submit(programs(2), shots=SHOTS)
    with Journal(path) as journal, pytest.raises(SubmissionUncertain, match="does not ask for"):
        device(provider, journal).submit(programs(1), shots=SHOTS)
    assert provider.calls["create"] == 1


# -- room --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_no_more_jobs_fly_than_there_is_room_for(journal: Journal, limit: int | None) -> None:
    provider = Provider(limit=limit)
    device(provider, journal).submit(programs(9), shots=SHOTS).result()
    assert provider.most == (limit or 1)
    assert provider.ran == once(9)


def test_a_full_queue_is_waited_for_and_then_given_up(journal: Journal, clock: Clock) -> None:
    provider = Provider(limit=0)
    job, begun = device(provider, journal).submit(programs(3), shots=SHOTS), clock.now
    assert job.status() is JobStatus.QUEUED
    with pytest.raises(QueueFull, match=r"no room for another job, for 1\d\d s now.*qpu-sdk resume"):
        job.result()
    assert Remote.queue_s < clock.now - begun < 2.5 * Remote.queue_s
    assert (provider.calls["create"], journal.total()) == (0, Cost())
    provider.limit = 1
    device(provider, journal).submit(programs(3), shots=SHOTS).result()
    assert provider.ran == once(3)


@pytest.mark.parametrize("error", [QueueFull("full"), DeviceUnreachable("no network")])
def test_a_job_that_was_not_created_is_tried_again_under_its_name(journal: Journal, error: QPUError) -> None:
    provider = Provider(trouble=raising(error, error))
    owner = device(provider, journal)
    job = owner.submit(programs(2), shots=SHOTS)
    assert (states(journal), journal.total()) == ([JobState.REFUSED], Cost())
    job.result()
    [record] = journal.jobs()
    assert (record.tries, record.state, record.message) == (3, JobState.DONE, "")
    assert [sent.name for sent in provider.jobs.values()] == [record.name]


@pytest.mark.parametrize(
    ("error", "patience"), [(QueueFull("full"), Remote.queue_s), (DeviceUnreachable("no network"), Remote.deadline_s)]
)
def test_patience_ends_with_nothing_spent(journal: Journal, clock: Clock, error: QPUError, patience: float) -> None:
    job, begun = device(Provider(trouble=lambda *_: error), journal).submit(programs(2), shots=SHOTS), clock.now
    with pytest.raises(type(error), match="qpu-sdk resume"):
        job.result()
    assert patience < clock.now - begun < 3 * patience
    assert (states(journal), journal.total()) == ([JobState.REFUSED], Cost())


# -- jobs that end otherwise -------------------------------------------------------------------------------


def test_what_a_cut_job_finished_is_kept_and_only_the_rest_goes_again(journal: Journal) -> None:
    provider = Provider(script=[{"end": JobStatus.CANCELLED, "finished": 3}])
    owner = device(provider, journal, replace(SPEC, max_programs=5))
    result = owner.submit(programs(5), shots=SHOTS).result()
    assert [c.job_id for c in result] == ["id-1"] * 3 + ["id-2"] * 2
    cut, rest = journal.jobs()
    assert (cut.state, cut.replaces, cut.cost.settings) == (JobState.CANCELLED, "", 3)
    assert (rest.state, rest.replaces) == (JobState.DONE, cut.name)
    assert rest.programs == cut.programs[3:]
    assert provider.ran == once(5)


def test_a_cancelled_job_without_results_is_not_sent_again_by_itself(journal: Journal) -> None:
    provider = Provider(script=[{"end": JobStatus.CANCELLED, "finished": 0}])
    owner = device(provider, journal)
    job = owner.submit(programs(2), shots=SHOTS)
    with pytest.raises(JobCancelled):
        job.result()
    assert (job.status(), provider.calls["create"]) == (JobStatus.CANCELLED, 1)
    owner.submit(programs(2), shots=SHOTS).result()
    assert provider.ran == once(2)


@pytest.mark.parametrize("finished", [0, 1])
def test_after_a_failure_only_what_is_missing_is_run(journal: Journal, finished: int) -> None:
    provider = Provider(script=[{"end": JobStatus.FAILED, "finished": finished}])
    owner = device(provider, journal)
    job = owner.submit(programs(4), shots=SHOTS)
    with pytest.raises(JobFailed, match="it failed"):
        job.result()
    assert job.status() is JobStatus.FAILED
    assert len(owner.submit(programs(4), shots=SHOTS).result()) == 4
    assert provider.ran == once(4)
    assert journal.total().settings == 4
    assert Counter(states(journal)) == {JobState.FAILED: 1, JobState.DONE: 2}


def test_what_a_stopped_submission_had_comes_with_its_error(journal: Journal) -> None:
    """Two of five were known, two more are done when the second job fails."""
    provider = Provider(limit=1, script=[{}, {"end": JobStatus.FAILED, "finished": 1}])
    owner = device(provider, journal)
    known = owner.submit(programs(2), shots=SHOTS).result()
    with pytest.raises(JobFailed) as caught:
        owner.submit([*programs(2, first=2), *programs(2), *programs(1, first=4)], shots=SHOTS).result()
    partial = caught.value.partial
    assert caught.value.job_id == "id-2"
    assert [None if c is None else c.fingerprint for c in partial] == [
        *(p.fingerprint for p in programs(1, first=2)), None, *(c.fingerprint for c in known), None
    ]  # fmt: skip


def test_looking_sends_nothing_and_advancing_does(journal: Journal, clock: Clock) -> None:
    provider = Provider(limit=1)
    job = device(provider, journal).submit(programs(5), shots=SHOTS)  # three jobs, and room for one
    for _ in range(20):
        assert job.status() is not JobStatus.DONE
    assert provider.calls["create"] == 1
    while not job.advance().final:
        clock.sleep(job.pause_s)
    assert (job.status(), provider.calls["create"]) == (JobStatus.DONE, 3)
    single = device(provider, journal).submit(programs(1, first=9), shots=SHOTS)
    while not single.status().final:
        clock.sleep(single.pause_s)
    assert len(single.result()) == 1


def test_an_id_that_cannot_be_noted_is_told_and_the_error_stays_itself(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, job_id: str) -> None:
        raise JobTimeout("disk is slow", job_id="kept")

    monkeypatch.setattr(journal, "accepted", full)
    with pytest.raises(JobTimeout, match="job id-1 was created, but its id could not be noted") as caught:
        device(Provider(), journal).submit(programs(1), shots=SHOTS).result()
    assert caught.value.job_id == "kept"


def test_a_device_that_does_not_answer_loses_no_job(journal: Journal) -> None:
    provider = Provider(script=[{"polls": 5}])
    owner = device(provider, journal)
    job = owner.submit(programs(2), shots=SHOTS)

    def out(where: str) -> None:
        if where == "status":
            raise AuthenticationError("token expired")

    provider.passing = out
    with pytest.raises(AuthenticationError, match="token expired"):
        job.result()
    assert (job.status(), states(journal)) == (JobStatus.FAILED, [JobState.SUBMITTED])
    provider.passing = lambda where: None
    owner.submit(programs(2), shots=SHOTS).result()
    assert provider.calls["create"] == 1


def test_fewer_shots_than_asked_are_told(
    journal: Journal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, add = Provider(), Provider.add
    monkeypatch.setattr(Provider, "add", lambda self, name, wanted, shots: add(self, name, wanted, shots - 8))
    monkeypatch.setattr(Remote, "attach", lambda self, i, programs, **_: Handle(provider, provider.jobs[i], "t"))
    with caplog.at_level(logging.WARNING, "qpu_sdk.devices"):
        result = device(provider, journal).submit(programs(2), shots=SHOTS).result()
    assert [c.shots for c in result] == [SHOTS - 8] * 2
    assert "brought 42 to 42 of 50 shots in 2 settings" in caplog.text
    assert journal.total().shots == 2 * (SHOTS - 8)


def test_a_timeout_ends_the_waiting_not_the_job(journal: Journal, clock: Clock) -> None:
    provider = Provider(script=[{"polls": 10**6}])
    job, begun = device(provider, journal).submit(programs(2), shots=SHOTS), clock.now
    with pytest.raises(JobTimeout, match=r"not done after 0\.5 s"):
        job.result(timeout_s=0.5)
    assert clock.now - begun == pytest.approx(0.5, abs=0.01)
    provider.jobs["id-1"].polls = 0
    assert len(job.result()) == 2
    assert provider.calls["create"] == 1


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_cancelling_stops_what_flies_and_drops_what_waits(journal: Journal, finished: int) -> None:
    provider = Provider(limit=1, script=[{"polls": 10**6, "finished": finished}])
    owner = device(provider, journal)
    job = owner.submit(programs(4), shots=SHOTS)
    assert job.status() is JobStatus.RUNNING
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result(timeout_s=1000.0)
    assert (job.status(), provider.calls["create"]) == (JobStatus.CANCELLED, 1)
    assert states(journal) == [JobState.CANCELLED]
    assert journal.total().settings == finished
    assert len(owner.submit(programs(4), shots=SHOTS).result()) == 4
    assert provider.ran == once(4)


def test_a_job_that_a_person_stops_meanwhile_is_not_sent_again(tmp_path: Path) -> None:
    """``qpu-sdk jobs cancel`` beside a run that waits; whoever resumes afterwards goes on."""
    provider = Provider(script=[{"end": JobStatus.CANCELLED, "finished": 1}])
    with Journal(tmp_path / "journal.sqlite") as journal:
        job = device(provider, journal).submit(programs(2), shots=SHOTS)
        with Journal(tmp_path / "journal.sqlite", hold=False) as beside:
            beside.stop(journal.jobs()[0].name)
        with pytest.raises(JobCancelled):
            job.result()
        assert len(provider.jobs) == 1
        assert len(device(provider, journal).submit(programs(2), shots=SHOTS).result()) == 2
    assert [len(sent.programs) for sent in provider.jobs.values()] == [2, 1]


def test_cancelling_too_late_keeps_what_came(journal: Journal) -> None:
    provider = Provider(limit=1, script=[{"polls": 0}])
    owner = device(provider, journal)
    job = owner.submit(programs(4), shots=SHOTS)
    provider.jobs["id-1"].asked = 5  # it has ended, and nobody has asked yet
    job.cancel()
    with pytest.raises(JobCancelled) as caught:
        job.result(timeout_s=1000.0)
    assert [counts is not None for counts in caught.value.partial] == [True, True, False, False]
    assert states(journal) == [JobState.DONE]


def test_cancelling_before_anything_was_sent(journal: Journal) -> None:
    provider = Provider(limit=0)
    job = device(provider, journal).submit(programs(4), shots=SHOTS)
    job.cancel()
    with pytest.raises(JobCancelled, match="before it was sent"):
        job.result()
    assert journal.jobs() == []


def test_cancelling_what_has_ended_changes_nothing(journal: Journal) -> None:
    provider = Provider(script=[{}, {"end": JobStatus.FAILED, "finished": 0}])
    owner = device(provider, journal)
    done, failed = (owner.submit(programs(1, first=i), shots=SHOTS) for i in range(2))
    wait_all([done, failed])
    for job, status in ((done, JobStatus.DONE), (failed, JobStatus.FAILED)):
        job.cancel()
        assert job.status() is status
    assert len(done.result()) == 1
    with pytest.raises(JobFailed):
        failed.result()


# -- nobody knows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrived", [True, False])
def test_an_uncertain_job_waits_for_a_person(path: Path, arrived: bool) -> None:
    lost = SubmissionUncertain("no answer, but arrived" if arrived else "no answer")
    provider, terms = Provider(trouble=raising(None, lost)), {"rates": Rates(0.01, 1.0)}
    with Journal(path) as journal:
        with pytest.raises(SubmissionUncertain, match=r"nobody knows.*qpu-sdk jobs attach ID.*qpu-sdk jobs forget"):
            device(provider, journal, **terms).submit(programs(4), shots=SHOTS)
        assert states(journal) == [JobState.SUBMITTED, JobState.UNCERTAIN]
        assert journal.total() == Cost(4, 4 * SHOTS, 2.0, 2, 4.0)  # reserved until somebody decides
    for _ in range(2):
        with Journal(path) as journal, pytest.raises(SubmissionUncertain, match="nobody knows"):
            device(provider, journal, **terms).submit(programs(4), shots=SHOTS)
    assert provider.calls["create"] == 2
    with Journal(path) as journal:
        decide(journal, provider)
        assert len(device(provider, journal, **terms).submit(programs(4), shots=SHOTS).result()) == 4
    assert provider.ran == once(4)
    assert provider.calls["create"] == (2 if arrived else 3)


def test_an_uncertain_job_does_not_stop_other_settings(journal: Journal) -> None:
    provider = Provider(trouble=raising(SubmissionUncertain("no answer")))
    owner = device(provider, journal)
    with pytest.raises(SubmissionUncertain):
        owner.submit(programs(2), shots=SHOTS)
    assert len(owner.submit(programs(2, first=5), shots=SHOTS).result()) == 2


def test_an_interrupt_while_a_job_is_sent_leaves_it_uncertain(journal: Journal) -> None:
    provider = Provider(trouble=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        device(provider, journal).submit(programs(2), shots=SHOTS)
    [record] = journal.jobs()
    assert (record.state, record.message) == (JobState.UNCERTAIN, "interrupted while it was being sent")


def test_asking_on_after_an_interrupt_sends_nothing_again(journal: Journal) -> None:
    provider = Provider(limit=1, trouble=raising(None, KeyboardInterrupt()))
    job = device(provider, journal).submit(programs(4), shots=SHOTS)
    with pytest.raises(KeyboardInterrupt):
        job.result()
    with pytest.raises(SubmissionUncertain, match="interrupted while it was being sent"):
        job.result()
    assert (provider.calls["create"], states(journal)) == (2, [JobState.DONE, JobState.UNCERTAIN])


def test_an_interrupted_intent_is_not_sent_without_a_row(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(limit=1)
    job = device(provider, journal).submit(programs(4), shots=SHOTS)

    def interrupted(self: Journal, intent: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "intend", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.result()
    assert len(job.result()) == 4
    assert {sent.name for sent in provider.jobs.values()} == {record.name for record in journal.jobs()}


def test_a_refusal_is_final_and_free(journal: Journal) -> None:
    provider = Provider(trouble=raising(DeviceUnavailable("in maintenance")))
    with pytest.raises(DeviceUnavailable, match="in maintenance"):
        device(provider, journal).submit(programs(2), shots=SHOTS)
    assert (states(journal), journal.total()) == ([JobState.REFUSED], Cost())


def test_an_id_that_cannot_be_noted_is_told(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Journal, name: str, job_id: str) -> None:
        raise CheckpointError("disk full")

    monkeypatch.setattr(Journal, "accepted", full)
    with pytest.raises(CheckpointError, match=r"job id-1 was created.*disk full.*qpu-sdk jobs attach id-1"):
        device(Provider(), journal).submit(programs(2), shots=SHOTS)


# -- money -------------------------------------------------------------------------------------------------


def test_the_budget_is_asked_before_every_job(journal: Journal) -> None:
    provider = Provider()
    with pytest.raises(BudgetExceeded, match=r"--set budget\.settings=6"):
        device(provider, journal, budget=Budget(settings=5)).submit(programs(6), shots=SHOTS)
    assert (provider.calls["create"], len(journal.jobs())) == (2, 2)
    assert len(device(provider, journal, budget=Budget(settings=6)).submit(programs(6), shots=SHOTS).result()) == 6
    assert provider.ran == once(6)


@pytest.mark.parametrize("name", ["settings", "shots", "credits", "jobs", "seconds"])
def test_every_limit_holds_back_the_next_job(journal: Journal, name: str) -> None:
    rates = Rates(0.01, 15.0)
    one = rates.cost(settings=2, shots=SHOTS)
    budget = replace(UNLIMITED, **{name: getattr(one, name)})
    provider = Provider(script=[{"polls": 9}])
    with pytest.raises(BudgetExceeded, match=rf"budget\.{name}"):
        device(provider, journal, budget=budget, rates=rates).submit(programs(4), shots=SHOTS)
    assert journal.total() == one


def test_a_job_that_is_tried_again_is_weighed_again(journal: Journal) -> None:
    """A refused job gives its reservation back; what another device takes meanwhile is gone."""
    budget = Budget(settings=2)
    late, quick = Provider(trouble=raising(QueueFull("full"))), Provider()
    waiting = device(late, journal, budget=budget).submit(programs(2), shots=SHOTS)
    device(quick, journal, replace(SPEC, name="other"), budget=budget).submit(programs(2), shots=SHOTS).result()
    with pytest.raises(BudgetExceeded, match=r"budget\.settings=4"):
        waiting.result()
    assert (late.calls["create"], journal.total().settings) == (1, 2)


# -- devices of this process -------------------------------------------------------------------------------


def test_jobs_of_this_process_are_noted_and_waited_for(path: Path) -> None:
    wanted = programs(3)
    with Journal(path) as journal:
        owner = JournalledDevice(LocalDevice(seed=1), journal)
        job = owner.submit(wanted, shots=SHOTS, tag="t")
        result = job.result()
        assert not job.durable
        assert states(journal) == [JobState.DONE]
    plain = LocalDevice(seed=1).submit(wanted, shots=SHOTS, tag="t").result()
    assert [c.to_json() for c in result] == [c.to_json() for c in plain]


class Blocked(Device):
    """A device of this process whose job never ends, or that does not get so far."""

    spec = DeviceSpec("here", 8, 4)

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        if self.error is not None:
            raise self.error
        return Never()


class Never(Job):
    id = "never"

    def status(self) -> JobStatus:
        return JobStatus.RUNNING

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        if timeout_s is None:
            raise AssertionError("waits for ever")
        raise JobTimeout("not yet", job_id=self.id)

    def cancel(self) -> None:
        pass


def test_an_interrupt_leaves_nothing_uncertain_in_this_process(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(KeyboardInterrupt):
            JournalledDevice(Blocked(KeyboardInterrupt()), journal).submit(programs(1), shots=SHOTS)
        assert (states(journal), journal.total()) == ([JobState.REFUSED], Cost())
    with Journal(path) as journal:
        JournalledDevice(LocalDevice(seed=1, name="here"), journal).submit(programs(1), shots=SHOTS).result()


def test_a_timeout_holds_for_jobs_of_this_process(journal: Journal) -> None:
    job = JournalledDevice(Blocked(), journal).submit(programs(1), shots=SHOTS)
    with pytest.raises(JobTimeout):
        job.result(timeout_s=0.1)


# -- waiting for several -----------------------------------------------------------------------------------


class Counting(Never):
    """Ends after some questions."""

    def __init__(self, name: str, asked: list[str], *, polls: int, durable: bool = True) -> None:
        self.id, self.durable, self._asked, self._polls = name, durable, asked, polls

    def status(self) -> JobStatus:
        self._asked.append(self.id)
        return JobStatus.DONE if self._asked.count(self.id) > self._polls else JobStatus.RUNNING

    @property
    def pause_s(self) -> float:
        return 1.0


def test_several_jobs_are_asked_in_turn_until_the_last_is_final() -> None:
    asked: list[str] = []
    wait_all([Counting("a", asked, polls=2), Counting("b", asked, polls=0), Counting("c", asked, polls=3)])
    assert asked == ["a", "b", "c", "a", "c", "a", "c", "c"]
    wait_all([])


def test_waiting_ends_in_time_for_jobs_that_go_on_without_us(clock: Clock) -> None:
    asked: list[str] = []
    jobs, begun = [Counting(n, asked, polls=99) for n in "ab"] + [Counting("c", asked, polls=1)], clock.now
    with pytest.raises(JobTimeout, match=r"2 jobs are not done \(a, b\)") as caught:
        wait_all(jobs, timeout_s=4.5)
    assert (caught.value.job_id, clock.now - begun) == ("a", pytest.approx(4.5))


def test_jobs_of_this_process_are_awaited_whatever_the_timeout() -> None:
    asked: list[str] = []
    wait_all([Counting("a", asked, polls=5, durable=False)], timeout_s=0.0)
    assert len(asked) == 6
    both = [Counting("b", asked, polls=3, durable=False), Counting("c", asked, polls=99)]
    with pytest.raises(JobTimeout, match=r"\(c\)"):
        wait_all(both, timeout_s=0.0)
    assert asked.count("b") == 4


def test_an_interrupt_ends_the_waiting_not_the_jobs(journal: Journal) -> None:
    provider = Provider(script=[{"polls": 5}])
    job = device(provider, journal).submit(programs(2), shots=SHOTS)

    def interrupt(where: str) -> None:
        raise KeyboardInterrupt

    provider.passing = interrupt
    with pytest.raises(KeyboardInterrupt):
        wait_all([job])
    provider.passing = lambda where: None
    wait_all([job])
    assert provider.ran == once(2)


# -- crashes -----------------------------------------------------------------------------------------------


def decide(journal: Journal, provider: Provider) -> None:
    """What a person does about uncertain jobs: attach what the provider has by that name, forget the others."""
    ids = {sent.name: sent.id for sent in provider.jobs.values()}
    for record in journal.jobs():
        if record.state is JobState.UNCERTAIN:
            if record.name in ids:
                journal.accepted(record.name, ids[record.name])
            else:
                journal.move(record.name, JobState.REFUSED, "forgotten")


def finish(path: Path, provider: Provider, wanted: list[Program], crashes: list[int], *, killed: bool) -> int:
    """Run until it is done, crashing after so many boundaries each time; gives the crashes that happened.

    :param killed: True: no handler of ours gets to write anything after the crash; False: they do, as on Ctrl-C.
    """
    happened = 0
    for attempt in range(len(crashes) + 20):
        left = crashes[attempt] if attempt < len(crashes) else 10**9
        with Journal(path) as journal:

            def passing(where: str, journal: Journal = journal) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    if killed:
                        journal.close()
                    raise Crash(where)

            provider.passing = passing
            decide(journal, provider)
            try:
                result = device(provider, journal).submit(wanted, shots=SHOTS, tag="t").result()
            except (Crash, CheckpointError):
                happened += 1
                continue
            except (JobFailed, JobCancelled, SubmissionUncertain):
                continue
            assert [c.fingerprint for c in result] == [p.fingerprint for p in wanted]
            assert not any(job.state.open for job in journal.jobs())
            assert journal.total().settings == len({p.fingerprint for p in wanted})
            return happened
    raise AssertionError("the run never ends")


@pytest.mark.parametrize("killed", [True, False])
def test_a_crash_at_any_boundary_runs_every_setting_once(tmp_path: Path, killed: bool) -> None:
    for moment in range(200):
        provider = Provider(limit=2, script=[{}, {"end": JobStatus.CANCELLED, "finished": 1}, {"polls": 0}])
        happened = finish(tmp_path / f"{moment}.sqlite", provider, programs(6), [moment], killed=killed)
        assert provider.ran == once(6), moment
        if not happened:
            break
    assert 20 < moment < 199  # the last one got through without a crash


LIVES = st.fixed_dictionaries(
    {
        "end": st.sampled_from([JobStatus.DONE, JobStatus.CANCELLED, JobStatus.FAILED]),
        "finished": st.integers(0, 3),
        "polls": st.integers(0, 3),
    }
).map(lambda life: life | {"finished": None} if life["end"] is JobStatus.DONE else life)
TROUBLES = st.sampled_from([None, None, QueueFull, DeviceUnreachable, "arrived", "lost"])


@given(
    number=st.integers(1, 7),
    size=st.integers(1, 3),
    limit=st.none() | st.integers(1, 3),
    lives=st.lists(LIVES, max_size=4),
    troubles=st.lists(TROUBLES, max_size=4),
    crashes=st.lists(st.integers(0, 25), max_size=5),
    killed=st.booleans(),
)
@settings(max_examples=40)
def test_whatever_happens_every_setting_is_run_once(
    tmp_path_factory: pytest.TempPathFactory,
    number: int,
    size: int,
    limit: int | None,
    lives: list[dict[str, object]],
    troubles: list[object],
    crashes: list[int],
    killed: bool,
) -> None:
    def trouble(call: int, name: str) -> BaseException | None:
        kind = troubles[call - 1] if call <= len(troubles) else None
        if isinstance(kind, str):
            return SubmissionUncertain(f"no answer: {kind}")
        return kind("not now") if isinstance(kind, type) else None

    provider = Provider(limit=limit, script=list(lives), trouble=trouble)
    path = tmp_path_factory.mktemp("run") / "journal.sqlite"
    finish(path, provider, programs(number), crashes, killed=killed)
    assert provider.ran == once(number)
    assert provider.most <= (limit or number)


def test_a_crash_between_counts_and_cost_leaves_no_job_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with Journal(path) as journal, monkeypatch.context() as patch:
        job = device(provider, journal).submit(programs(2), shots=SHOTS)
        patch.setattr(Journal, "settle", crash)
        with pytest.raises(Crash):
            job.result()
    with Journal(path) as journal:
        device(provider, journal).submit(programs(2), shots=SHOTS).result()
        assert states(journal) == [JobState.DONE]
    assert provider.ran == once(2)
