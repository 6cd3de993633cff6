"""Every submission through the journal: looked up, reserved, committed, sent once, harvested.

:class:`JournalledDevice` stands before any device. What the journal knows already is not run again; what is open is
asked for, not sent again; what is missing is sent in jobs of at most ``spec.max_programs`` settings, as many at a
time as the provider has room for. Nothing here has a thread: a job moves when somebody advances it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import final

from ..errors import JobCancelled, JobFailed, JobStopped, QPUError, SubmissionUncertain
from ..photonics.counts import Counts
from ..photonics.program import Program
from .base import Device, Job, JobStatus, RemoteDevice
from .budget import Cost
from .hints import jobs_command, uncertain
from .job_record import JobRecord, JobState, job_name
from .journal import Journal
from .sending import InFlight, Order, Sending, Terms, say
from .waiting import wait_for

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
        self.spec = replace(
            device.spec, max_programs=None, settings_per_job=device.spec.job_size
        )  # larger ones are split
        self.device, self.journal = device, journal
        self.terms = terms if terms is not None else Terms()
        self.handles: dict[str, Job] = {}

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> JournalledJob:
        """Run what is not known yet; see :meth:`qpu_sdk.devices.base.Device.submit`.

        :raises BudgetExceeded: before the job that would pass a limit is sent.
        :raises SubmissionUncertain: when one of the programs is in a job of which nobody knows whether it exists.
        """
        programs, shots = self.spec.accept(programs, shots=shots)
        job = JournalledJob(self, programs, shots=shots, tag=tag)
        job.begin()
        return job


@final
class JournalledJob(Job):
    """Settings on their way: known, in flight, or waiting for room."""

    def __init__(self, owner: JournalledDevice, programs: Sequence[Program], *, shots: int, tag: str) -> None:
        self.durable = owner.spec.durable
        self._owner, self._journal, self._terms, self._shots = owner, owner.journal, owner.terms, shots
        self._programs, self._place = _settings(programs, reuse=owner.terms.reuse)
        self._counts: dict[int, Counts] = {}
        self._flying: list[InFlight] = []
        self._error: QPUError | None = None
        self._cancelled = False
        self._only_tag = tag if owner.terms.by_tag else None
        self.id = job_name(owner.terms.label, tag)
        order = Order(self.id, self._programs, shots, tag, owner.spec.job_size)
        self._sending = Sending(owner.device, owner.journal, owner.terms, order, owner.handles)

    # -- the life of a job ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Look up, attach to what is open, queue the rest, and send what there is room for."""
        device = self._owner.spec.name
        if self._terms.reuse:
            for i, program in enumerate(self._programs):
                known = self._journal.counts(device, program.fingerprint, shots_each=self._shots, tag=self._only_tag)
                if known is not None:
                    self._counts[i] = known
            for record in self._journal.open_jobs(device):
                if self._only_tag in (None, record.tag):
                    self._attach(record)
        flying = {i for job in self._flying for i in job.members.values()}
        missing = [i for i in range(len(self._programs)) if i not in self._counts and i not in flying]  # paid once
        self._harvest_finished()  # first: what is paid comes in, whatever keeps the rest from being sent
        if missing:
            self._owner.spec.check([self._programs[i] for i in missing], shots=self._shots)
        self._sending.queue(missing)
        self._advance()

    def _attach(self, record: JobRecord) -> None:
        """Take part in a job that is open already."""
        if record.shots_each != self._shots:
            self._bring_home(record)
            return
        wanted = {p.fingerprint: i for i, p in enumerate(self._programs) if i not in self._counts}
        members = {position: wanted[f] for position, f in enumerate(record.programs) if f in wanted}
        if not members:
            return
        handle = self._owner.handles.get(record.name)
        stopped = self._journal.stopped(record.name)  # whoever resumes after that wants to go on
        self._flying.append(InFlight(record.name, handle or self._handle_of(record), members, was_stopped=stopped))

    def _bring_home(self, record: JobRecord) -> None:
        """Keep what a job of other shots measured, if it has ended: nothing here uses it or waits for it."""
        ours = {p.fingerprint for p in self._programs}
        if record.state is JobState.UNCERTAIN or not set(record.programs) <= ours:
            return
        try:
            job = InFlight(record.name, self._handle_of(record), {})
            if job.handle.advance().final:
                self._harvest(job)
        except QPUError as error:
            log.info("%s: job %s of other shots: %s", record.device, record.job_id, error)

    def _handle_of(self, record: JobRecord) -> Job:
        """Of a job that an earlier process sent."""
        if record.state is JobState.UNCERTAIN or not isinstance(self._owner.device, RemoteDevice):
            raise SubmissionUncertain(uncertain(record.name, record.message, self._journal.path), job_id=record.job_id)
        by_print = {p.fingerprint: p for p in self._programs}
        if any(f not in by_print for f in record.programs):
            raise SubmissionUncertain(
                f"job {record.name} also holds settings that this run does not ask for. Give it up, as spent: "
                f"{jobs_command(self._journal.path, 'forget', record.name, '--lost')}",
                job_id=record.job_id,
            )
        programs = [by_print[f] for f in record.programs]
        keep = partial(self._journal.keep, record.name)
        return self._owner.device.attach(record.job_id, programs, shots=record.shots_each, tag=record.tag, keep=keep)

    def _advance(self) -> None:
        self._harvest_finished()
        if self._cancelled and not self._flying and not self._complete:
            raise self._stopped("was cancelled before all was sent")
        for sent in self._sending.send(self._flying):
            self._flying.append(sent)  # one by one: what follows may fail, and this job exists

    def _harvest_finished(self) -> None:
        for job in list(self._flying):  # a copy: the loop takes jobs out
            status = job.handle.advance()
            self._show(job, status)
            if status.final:
                self._flying.remove(job)  # before its counts are read: should that fail, it is not asked again
                self._harvest(job)

    def _show(self, job: InFlight, status: JobStatus) -> None:
        if status is job.shown:
            return
        job.shown = status
        if status.final:
            say(self._owner.device, "%s: job %s is %s", job.handle.id, status.value)
        if status is JobStatus.RUNNING and self.durable:  # one of this process ends before anybody reads of it
            self._journal.move(job.name, JobState.RUNNING)

    def _harvest(self, job: InFlight) -> None:
        """Commit what a finished job brought; what a cancelled one lacks is queued again."""
        try:
            counts: Sequence[Counts | None] = job.handle.result()
        except JobStopped as error:
            self._settle(job, error.partial, stopped=error)
            return
        empty = sum(one.shots == 0 for one in counts if one is not None)
        if empty:  # an answer of nothing is no measurement; whether to pay for another is a person's to decide
            what = f"job {job.handle.id} on {self._owner.spec.name} brought no count at all in {empty} settings of"
            known = tuple(one if one is not None and one.shots else None for one in counts)
            how = "What came is kept; who goes on sends these again, and they are paid again."
            failed = JobFailed(f"{what} {len(counts)}. {how}", job_id=job.handle.id, partial=known)
            self._settle(job, known, stopped=failed)
            return
        self._settle(job, counts, stopped=None)

    def _settle(self, job: InFlight, counts: Sequence[Counts | None], *, stopped: JobStopped | None) -> None:
        brought = {position: one for position, one in enumerate(counts) if one is not None}
        state = JobState.DONE
        if stopped is not None:
            state = JobState.FAILED if isinstance(stopped, JobFailed) else JobState.CANCELLED
        spent = self._spent(job, list(brought.values()))
        # On disk before anybody sees them: what a step was built on is there when it is done again.
        self._journal.settle(job.name, state, spent, str(stopped or ""), counts=brought)
        self._owner.handles.pop(job.name, None)
        self._report_shortfall(job, list(brought.values()))
        self._counts |= {job.members[position]: one for position, one in brought.items() if position in job.members}
        missing = [i for i in job.members.values() if i not in self._counts]
        if stopped is None or not missing:
            return
        by_hand = self._cancelled or (not job.was_stopped and self._journal.stopped(job.name))
        # A platform that cuts jobs short says cancelled too: that goes on, as long as each job brings something.
        if isinstance(stopped, JobCancelled) and brought and not by_hand:
            say(self._owner.device, "%s: job %s was cut short; %d settings go again", job.handle.id, len(missing))
            self._sending.queue(missing, replaces=job.name)
            return
        stopped.partial = self._partial
        raise stopped

    def _report_shortfall(self, job: InFlight, counts: Sequence[Counts]) -> None:
        """Fewer shots than asked are told, never made up."""
        short = [c.shots for c in counts if c.shots < self._shots]
        if short and job.members:
            log.warning(
                "%s: job %s brought %d to %d of %d shots in %d settings",
                self._owner.spec.name, job.handle.id, min(short), max(short), self._shots, len(short),
            )  # fmt: skip

    def _spent(self, job: InFlight, counts: Sequence[Counts]) -> Cost:
        """What a job took: the provider's figures where it gives any."""
        usage, rates = job.handle.usage(), self._terms.rates
        shots = max(sum(c.shots for c in counts), usage.shots or 0)  # what came was taken, whatever is reported
        seconds = len(counts) * rates.seconds_per_setting if usage.seconds is None else usage.seconds
        # Rounded as its reservation was, which this takes the place of.
        return Cost(len(counts), shots, round(shots * rates.credits_per_shot, 9), 1, seconds)

    # -- Job -----------------------------------------------------------------------------------------------

    def advance(self) -> JobStatus:
        """Ask for what is in flight, note what came and send what waits; an error is kept for :meth:`result`."""
        if self._error is None and not self._complete:
            try:
                self._advance()
            except QPUError as error:
                self._error = error
        return self._known

    def status(self) -> JobStatus:
        """Where the settings stand. This only looks: what waits to be sent goes with :meth:`advance` or a result."""
        seen = set() if self._known.final else {_look(job) for job in self._flying}
        if seen == {JobStatus.DONE} and self._sending.due_at is None:
            return JobStatus.DONE
        return JobStatus.RUNNING if seen - {JobStatus.QUEUED} else self._known

    @property
    def _known(self) -> JobStatus:
        """As far as it was noted: done is what is in the journal."""
        if self._error is not None:
            return JobStatus.CANCELLED if isinstance(self._error, JobCancelled) else JobStatus.FAILED
        if self._complete:
            return JobStatus.DONE
        running = any(job.shown is JobStatus.RUNNING for job in self._flying)
        return JobStatus.RUNNING if running or self._counts else JobStatus.QUEUED

    @property
    def _partial(self) -> tuple[Counts | None, ...]:
        """Counts of every program as far as they came, in the order of submission."""
        return tuple(self._counts.get(i) for i in self._place)

    def _stopped(self, how: str) -> JobCancelled:
        return JobCancelled(f"job {self.id} {how}.", job_id=self.id, partial=self._partial)

    @property
    def _complete(self) -> bool:
        return len(self._counts) == len(self._programs)

    @property
    def pause_s(self) -> float:
        """Seconds until something can have changed."""
        pauses = [job.handle.pause_s for job in self._flying]
        if self._sending.due_at is not None:
            pauses.append(self._sending.due_at - time.monotonic())
        return max(0.001, min(pauses, default=0.001))  # never 0: who waits must let others run

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
        """A job of this process is waited for, not polled; its outcome is read by :meth:`advance`."""
        for job in self._flying:
            try:
                job.handle.result(timeout_s)
            except QPUError:
                continue

    def cancel(self) -> None:
        """Ask the provider to stop what it has; what was not sent is not sent any more."""
        self._cancelled = True
        self._sending.clear()  # first: should a cancel below fail, nothing more is sent either
        for job in self._flying:
            job.handle.cancel()
        if not self._flying and not self._complete and self._error is None:
            self._error = self._stopped("was cancelled before it was sent")


def _look(job: InFlight) -> JobStatus:
    """Where a job stands, or stood when its device answered last."""
    try:
        return job.handle.status()
    except QPUError:
        return job.shown or JobStatus.QUEUED


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
