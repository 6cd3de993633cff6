"""Every submission through the journal: looked up, reserved, committed, sent once, harvested.

:class:`JournalledDevice` stands before any device. What the journal knows already is not run again; what is open is
asked for, not sent again; what is missing is sent in jobs of at most ``spec.max_programs`` settings, as many at a
time as the provider has room for. Nothing here has a thread: a job moves when its status is asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..errors import DeviceUnreachable, JobCancelled, JobFailed, JobStopped, QPUError, QueueFull, SubmissionUncertain
from ..photonics.counts import Counts
from ..photonics.program import Program
from .base import Device, Job, JobStatus, RemoteDevice, wait_for
from .budget import Cost
from .job_record import RAW, Intent, JobRecord, JobState, job_name, uncertain
from .journal import Journal
from .sending import InFlight, Part, Terms

log = logging.getLogger(__name__)


@final
class JournalledDevice(Device):
    """A device whose submissions go through a journal.

    :param device: what runs the programs.
    :param journal: an open journal.

    >>> from qpu_sdk.devices.local import LocalDevice
    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> import numpy as np
    >>> program = Program(IsometryMesh(4, 2), np.zeros(IsometryMesh(4, 2).declared), (0, 1))
    >>> with Journal(None) as journal:
    ...     device = JournalledDevice(LocalDevice(seed=1), journal)
    ...     first, again = (device.submit([program], shots=100).result() for _ in range(2))
    ...     journal.total().settings, first[0].to_json() == again[0].to_json()
    (1, True)
    """

    def __init__(self, device: Device, journal: Journal, terms: Terms | None = None) -> None:
        self.spec = replace(device.spec, max_programs=None)  # larger submissions are split
        limit = device.settings_per_job if isinstance(device, RemoteDevice) else device.spec.max_programs
        self.settings_per_job = limit
        self.device, self.journal = device, journal
        self.terms = terms if terms is not None else Terms()
        self.handles: dict[str, Job] = {}

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> JournalledJob:
        """Run what is not known yet; see :meth:`qpu_sdk.devices.base.Device.submit`.

        :raises BudgetExceeded: before the job that would pass a limit is sent.
        :raises SubmissionUncertain: when one of the programs is in a job of which nobody knows whether it exists.
        """
        self.spec.check(programs, shots=shots)
        job = JournalledJob(self, programs, shots=shots, tag=tag)
        job.begin()
        return job


@final
class JournalledJob(Job):
    """Settings on their way: known, in flight, or waiting for room."""

    def __init__(self, owner: JournalledDevice, programs: Sequence[Program], *, shots: int, tag: str) -> None:
        self.durable = isinstance(owner.device, RemoteDevice)
        self._owner, self._journal, self._terms = owner, owner.journal, owner.terms
        self._shots, self._tag = shots, tag
        self._programs, self._place = _settings(programs, reuse=owner.terms.reuse)
        self._counts: dict[int, Counts] = {}
        self._flying: list[InFlight] = []
        self._waiting: list[Part] = []
        self._room_known_until = 0.0
        self._error: QPUError | None = None
        self._cancelled = False
        self.id = job_name(owner.terms.label, tag)
        self._sent = 0

    # -- the life of a job ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Look up, attach to what is open, queue the rest, and send what there is room for."""
        device = self._owner.spec.name
        if self._terms.reuse:
            for i, program in enumerate(self._programs):
                known = self._journal.counts(device, program.fingerprint, shots_each=self._shots)
                if known is not None:
                    self._counts[i] = known
            for record in self._journal.open_jobs(device, shots_each=self._shots):
                self._attach(record)
        flying = {i for job in self._flying for i in job.members.values()}
        missing = [i for i in range(len(self._programs)) if i not in self._counts and i not in flying]
        self._queue(missing)
        self._advance()

    def _attach(self, record: JobRecord) -> None:
        """Take part in a job that is open already."""
        wanted = {p.fingerprint: i for i, p in enumerate(self._programs) if i not in self._counts}
        members = {position: wanted[f] for position, f in enumerate(record.programs) if f in wanted}
        if not members:
            return
        handle = self._owner.handles.get(record.name)
        stopped = self._journal.stopped(record.name)  # whoever resumes after that wants to go on
        self._flying.append(InFlight(record.name, handle or self._handle_of(record), members, was_stopped=stopped))

    def _handle_of(self, record: JobRecord) -> Job:
        """Of a job that an earlier process sent."""
        if record.state is JobState.UNCERTAIN or not isinstance(self._owner.device, RemoteDevice):
            raise SubmissionUncertain(uncertain(record.name, record.message), job_id=record.job_id)
        by_print = {p.fingerprint: p for p in self._programs}
        if any(f not in by_print for f in record.programs):
            raise SubmissionUncertain(
                f"job {record.name} also holds settings that this run does not ask for. Give it up, as spent: "
                f"qpu-sdk jobs forget {record.name} --lost.",
                job_id=record.job_id,
            )
        programs = [by_print[f] for f in record.programs]
        return self._owner.device.attach(record.job_id, programs, shots=self._shots, tag=record.tag)

    def _queue(self, members: Sequence[int], replaces: str = "") -> None:
        size = self._owner.settings_per_job or max(1, len(members))
        for start in range(0, len(members), size):
            self._waiting.append(Part(tuple(members[start : start + size]), replaces))

    def _advance(self) -> None:
        for job in list(self._flying):
            status = job.handle.status()
            self._show(job, status)
            if status.final:
                self._flying.remove(job)
                self._harvest(job)
        if self._cancelled and not self._flying and not self._complete:
            partial = tuple(self._counts.get(i) for i in self._place)
            raise JobCancelled(f"job {self.id} was cancelled before all was sent.", job_id=self.id, partial=partial)
        self._send()

    def _send(self) -> None:
        """Create waiting jobs while there is room."""
        if not self._waiting or time.monotonic() < max(self._room_known_until, self._waiting[0].not_before):
            return
        room = self._room()
        while self._waiting and room > 0:
            if not self._create(self._waiting[0]):
                return
            self._waiting.pop(0)
            room -= 1
        if self._waiting:
            self._room_known_until = time.monotonic() + self._pause_for_room()

    def _room(self) -> int:
        """Jobs that may be sent now; a provider that does not say is given one at a time."""
        if not isinstance(self._owner.device, RemoteDevice):
            return len(self._waiting)
        room = self._owner.device.room()
        if room is None:
            return 0 if self._flying else 1
        if room <= 0 and not self._flying:
            self._lose_patience(self._waiting[0], "there is no room for another job")
        return room

    def _create(self, part: Part) -> bool:
        """Commit, send, commit; True when the provider has the job, False when it may be tried again later."""
        programs = [self._programs[i] for i in part.members]
        self._intend(part, programs)
        try:
            handle = self._handle(part, programs)
        except (QueueFull, DeviceUnreachable) as error:
            self._journal.move(part.name, JobState.REFUSED, str(error))
            self._lose_patience(part, str(error), error)
            return False
        except SubmissionUncertain as error:
            self._journal.move(part.name, JobState.UNCERTAIN, str(error))
            raise SubmissionUncertain(uncertain(part.name, str(error)), job_id=error.job_id) from None
        except QPUError as error:
            self._journal.move(part.name, JobState.REFUSED, str(error))
            raise
        except BaseException:  # Ctrl-C in the middle of a request: nobody knows, unless it never left this process
            state = JobState.UNCERTAIN if self.durable else JobState.REFUSED
            self._journal.move(part.name, state, "interrupted while it was being sent")
            raise
        self._accepted(part, handle)
        return True

    def _accepted(self, part: Part, handle: Job) -> None:
        try:
            self._journal.accepted(part.name, handle.id)
        except QPUError as error:
            raise type(error)(
                f"job {handle.id} was created, but its id could not be noted ({error}). Note it: "
                f"qpu-sdk jobs attach {handle.id}."
            ) from error
        self._owner.handles[part.name] = handle
        self._flying.append(InFlight(part.name, handle, dict(enumerate(part.members))))
        self._say("%s: job %s sent (%d settings)", handle.id, len(part.members))

    def _intend(self, part: Part, programs: Sequence[Program]) -> None:
        cost = self._terms.rates.cost(settings=len(programs), shots=self._shots)
        if part.name:
            record = self._journal.job(part.name)
            if record.state is not JobState.REFUSED:  # interrupted between its request and our note of it
                raise SubmissionUncertain(uncertain(part.name, record.message), job_id=record.job_id)
            self._terms.budget.check(self._journal.total(), cost)
            self._journal.retry(part.name)
            return
        self._terms.budget.check(self._journal.total(), cost)
        self._sent += 1
        name = self.id if self._sent == 1 else f"{self.id}.{self._sent}"
        intent = Intent(
            name=name,
            device=self._owner.spec.name,
            tag=self._tag,
            durable=self.durable,
            programs=tuple(p.fingerprint for p in programs),
            shots_each=self._shots,
            request=RAW,
            cost=cost,
            replaces=part.replaces or self._stopped_before(programs),
        )
        self._journal.intend(intent)
        part.name = name

    def _stopped_before(self, programs: Sequence[Program]) -> str:
        """Name of the newest job that ended without counts of one of these settings, ``""`` for none."""
        prints = {p.fingerprint for p in programs}
        for record in reversed(self._journal.jobs()):
            stopped = record.state in (JobState.FAILED, JobState.CANCELLED)
            here = record.device == self._owner.spec.name and record.shots_each == self._shots
            if self._terms.reuse and stopped and here and prints & set(record.programs):
                return record.name
        return ""

    def _handle(self, part: Part, programs: Sequence[Program]) -> Job:
        device = self._owner.device
        if not isinstance(device, RemoteDevice):
            return device.submit(programs, shots=self._shots, tag=self._tag)
        job_id = device.create(programs, shots=self._shots, name=part.name)
        return device.attach(job_id, programs, shots=self._shots, tag=self._tag)

    def _lose_patience(self, part: Part, why: str, error: QPUError | None = None) -> None:
        """Wait longer each time; past the limit of patience, give up with the run resumable."""
        now, unreachable = time.monotonic(), isinstance(error, DeviceUnreachable)
        if (
            part.refused_since is None or part.unreachable != unreachable
        ):  # hours in a queue are no hours without a line
            part.refused_since, part.unreachable = now, unreachable
        waited = now - part.refused_since
        if waited > self._patience_s(error):
            kind = type(error) if error is not None else QueueFull
            raise kind(f"{self._owner.spec.name}: {why}, for {waited:.0f} s now. Go on later with: qpu-sdk resume.")
        self._say("%s: waiting, %s (%.0f s)", why, waited)
        part.not_before = now + self._pause_for_room(part)

    def _pause_for_room(self, part: Part | None = None) -> float:
        """Seconds until asking for room again: what a job in flight waits, or a growing interval."""
        if part is None or self._flying:
            return min((job.handle.pause_s for job in self._flying), default=1.0)
        part.wait_s, wait = min(60.0, 2.0 * part.wait_s), part.wait_s
        return min(wait, self._patience_s(None))

    def _patience_s(self, error: QPUError | None) -> float:
        """For room in the queue, which may take long, or for a connection, which should not."""
        device = self._owner.device
        if not isinstance(device, RemoteDevice):
            return 0.0
        return device.deadline_s if isinstance(error, DeviceUnreachable) else device.queue_s

    def _show(self, job: InFlight, status: JobStatus) -> None:
        if status is job.shown:
            return
        job.shown = status
        if status.final:
            self._say("%s: job %s is %s", job.handle.id, status.value)
        if status is JobStatus.RUNNING and self.durable:
            self._journal.move(job.name, JobState.RUNNING)

    def _harvest(self, job: InFlight) -> None:
        """Commit what a finished job brought; what a cancelled one lacks is queued again."""
        job.handle.keep = lambda text: self._journal.keep(job.name, text)
        try:
            counts: Sequence[Counts | None] = job.handle.result()
        except JobStopped as error:
            self._settle(job, error.partial, stopped=error)
            return
        self._settle(job, counts, stopped=None)

    def _settle(self, job: InFlight, counts: Sequence[Counts | None], *, stopped: JobStopped | None) -> None:
        brought = {position: one for position, one in enumerate(counts) if one is not None}
        state = JobState.DONE
        if stopped is not None:
            state = JobState.FAILED if isinstance(stopped, JobFailed) else JobState.CANCELLED
        spent = self._spent(job, list(brought.values()))
        self._journal.settle(job.name, state, spent, str(stopped or ""), counts=brought)
        self._owner.handles.pop(job.name, None)
        self._report_shortfall(job, list(brought.values()))
        self._counts |= {job.members[position]: one for position, one in brought.items() if position in job.members}
        missing = [i for i in job.members.values() if i not in self._counts]
        if stopped is None or not missing:
            return
        by_hand = self._cancelled or (not job.was_stopped and self._journal.stopped(job.name))
        if isinstance(stopped, JobCancelled) and brought and not by_hand:
            self._say("%s: job %s was cut short; %d settings go again", job.handle.id, len(missing))
            self._queue(missing, replaces=job.name)
            return
        raise stopped

    def _report_shortfall(self, job: InFlight, counts: Sequence[Counts]) -> None:
        """Fewer shots than asked are told, never made up."""
        short = [c.shots for c in counts if c.shots < self._shots]
        if short:
            log.warning(
                "%s: job %s brought %d to %d of %d shots in %d settings",
                self._owner.spec.name, job.handle.id, min(short), max(short), self._shots, len(short),
            )  # fmt: skip

    def _spent(self, job: InFlight, counts: Sequence[Counts]) -> Cost:
        """What a job took: the provider's figures where it gives any."""
        usage, rates = job.handle.usage(), self._terms.rates
        shots = max(sum(c.shots for c in counts), usage.shots or 0)  # what came was taken, whatever is reported
        seconds = len(counts) * rates.seconds_per_setting if usage.seconds is None else usage.seconds
        return Cost(len(counts), shots, round(shots * rates.credits_per_shot, 9), 1, seconds)

    def _say(self, text: str, *values: object) -> None:
        """Jobs of a provider are news; those of this process are over before anybody reads it."""
        if self.durable:
            log.info(text, self._owner.spec.name, *values)

    # -- Job -----------------------------------------------------------------------------------------------

    def status(self) -> JobStatus:
        """Where the settings stand; asking moves them on. An error is kept for :meth:`result`."""
        if self._error is None and not self._complete:
            try:
                self._advance()
            except QPUError as error:
                self._error = error
        if self._error is not None:
            return JobStatus.CANCELLED if isinstance(self._error, JobCancelled) else JobStatus.FAILED
        if self._complete:
            return JobStatus.DONE
        running = any(job.shown is JobStatus.RUNNING for job in self._flying)
        return JobStatus.RUNNING if running or self._counts else JobStatus.QUEUED

    @property
    def _complete(self) -> bool:
        return len(self._counts) == len(self._programs)

    @property
    def pause_s(self) -> float:
        """Seconds until something can have changed."""
        pauses = [job.handle.pause_s for job in self._flying]
        if self._waiting:
            pauses.append(max(self._room_known_until, self._waiting[0].not_before) - time.monotonic())
        return max(0.001, min(pauses, default=0.001))

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        """Counts of every program; see :meth:`qpu_sdk.devices.base.Job.result`."""
        begun = time.monotonic()
        if not self.durable:
            self._block(timeout_s)
        wait_for(self, timeout_s, begun=begun)
        if self._error is not None:
            raise self._error
        return [self._counts[i] for i in self._place]

    def _block(self, timeout_s: float | None) -> None:
        """A job of this process is waited for, not polled; its outcome is read by :meth:`status`."""
        for job in self._flying:
            try:
                job.handle.result(timeout_s)
            except QPUError:
                continue

    def cancel(self) -> None:
        """Ask the provider to stop what it has; what was not sent is not sent any more."""
        self._cancelled = True
        self._waiting.clear()
        for job in self._flying:
            job.handle.cancel()
        if not self._flying and not self._complete and self._error is None:
            self._error = JobCancelled(f"job {self.id} was cancelled before it was sent.", job_id=self.id)


def _settings(programs: Sequence[Program], *, reuse: bool) -> tuple[list[Program], list[int]]:
    """Settings to run, and for each program which of them is its own; equal programs share one when reused."""
    if not reuse:
        return list(programs), list(range(len(programs)))
    index: dict[str, int] = {}
    settings: list[Program] = []
    for program in programs:
        if program.fingerprint not in index:
            index[program.fingerprint] = len(settings)
            settings.append(program)
    return settings, [index[p.fingerprint] for p in programs]


def submit_alone(device: RemoteDevice, programs: Sequence[Program], *, shots: int, tag: str) -> JournalledJob:
    """One submission with a journal of its own, in memory: what a remote device does outside a run.

    Equal programs are measured apart, because nobody said that they belong to one run.
    """
    return JournalledDevice(device, Journal(None).__enter__(), Terms(reuse=False)).submit(
        programs, shots=shots, tag=tag
    )
