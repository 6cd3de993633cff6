"""What waits to be sent: room, patience, intent, budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

from ..errors import DeviceUnreachable, QPUError, QueueFull, SubmissionUncertain
from ..photonics.program import Program
from ..words import TOLD_S, WAITING, clock_in
from .base import Device, Job, JobStatus, RemoteDevice
from .budget import UNLIMITED, Budget, Rates
from .hints import how_to_go_on, jobs_command, uncertain
from .job_record import RAW, Intent, JobState
from .journal import Journal
from .machines import FREE

log = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Terms:
    """Under which a device is used.

    :param label: first part of job names, so that a person recognises them.
    :param budget: limits of everything in the journal.
    :param rates: what the device charges.
    :param reuse: True when a setting that was measured with as many shots is not measured again.
    :param by_tag: True when only what was measured under the same tag counts as measured.
    """

    label: str = "qpu-sdk"
    budget: Budget = UNLIMITED
    rates: Rates = FREE
    reuse: bool = True
    by_tag: bool = False


@final
@dataclass
class Part:
    """A job to be: settings that are sent together."""

    members: tuple[int, ...]
    replaces: str = ""
    name: str = ""
    refused_since: float | None = None
    unreachable: bool = False
    not_before: float = 0.0
    wait_s: float = 1.0


@final
@dataclass
class InFlight:
    """A job the provider has: which of our settings it runs at which position; whether a person had stopped it."""

    name: str
    handle: Job
    members: dict[int, int]
    shown: JobStatus | None = None
    was_stopped: bool = False


@final
@dataclass(frozen=True)
class Order:
    """What is asked for at once.

    :param name: of its first job; the others are numbered.
    :param shots: of every program.
    :param most: programs in a job, None for no limit.
    """

    name: str
    programs: Sequence[Program]
    shots: int
    tag: str
    most: int | None


@final
class Sending:
    """Settings that wait to be sent: intended in the journal, sent once, and noted; asked again while refused.

    :param handles: gets the handle of every job that the provider has, by name.
    """

    def __init__(self, device: Device, journal: Journal, terms: Terms, order: Order, handles: dict[str, Job]) -> None:
        self._device, self._journal, self._terms = device, journal, terms
        self._order, self._handles = order, handles
        self._waiting: list[Part] = []
        self._room_known_until = 0.0
        self._sent = 0

    def queue(self, members: Sequence[int], replaces: str = "") -> None:
        """Settings to send, by their place in the submission, in jobs as large as the device takes."""
        size = self._order.most or max(1, len(members))
        for start in range(0, len(members), size):
            self._waiting.append(Part(tuple(members[start : start + size]), replaces))

    def clear(self) -> None:
        """Send nothing more."""
        self._waiting.clear()

    @property
    def due_at(self) -> float | None:
        """When sending may succeed, a reading of the monotonic clock; None when nothing waits."""
        return max(self._room_known_until, self._waiting[0].not_before) if self._waiting else None

    def send(self, flying: Sequence[InFlight]) -> Iterator[InFlight]:
        """Create waiting jobs while there is room, and give each as soon as the provider has it.

        :param flying: what the provider has of this submission, these jobs too once they are given.
        :raises BudgetExceeded: before the job that would pass a limit is sent.
        :raises SubmissionUncertain: when nobody knows whether a job exists.
        :raises DeviceError: when patience ends, or the provider refuses.
        """
        if self.due_at is None or time.monotonic() < self.due_at:
            return
        room = self._room(flying)
        while self._waiting and room > 0:
            sent = self._create(self._waiting[0], flying)
            if sent is None:
                return
            yield sent
            self._waiting.pop(0)  # only now: interrupted before, it is met again by _intend, which sends nothing twice
            room -= 1
        if self._waiting:
            self._room_known_until = time.monotonic() + self._pause_for_room(flying)

    def _room(self, flying: Sequence[InFlight]) -> int:
        """Jobs that may be sent now; a provider that does not say is given one at a time."""
        if not isinstance(self._device, RemoteDevice):
            return len(self._waiting)
        room = self._device.room()
        if room is None:
            return 0 if flying else 1
        if room <= 0 and not flying:
            self._lose_patience(flying, self._waiting[0], "there is no room for another job")
        return room

    def _create(self, part: Part, flying: Sequence[InFlight]) -> InFlight | None:
        """Commit, send, commit; None when the provider has no job of it and it may be tried again later."""
        programs = [self._order.programs[i] for i in part.members]
        self._intend(part, programs)
        try:
            handle = self._handle(part, programs)
        except (QueueFull, DeviceUnreachable) as error:
            self._journal.move(part.name, JobState.REFUSED, str(error))
            self._lose_patience(flying, part, str(error), error)
            return None
        except SubmissionUncertain as error:
            self._journal.move(part.name, JobState.UNCERTAIN, str(error))
            raise SubmissionUncertain(
                uncertain(part.name, str(error), self._journal.path), job_id=error.job_id
            ) from None
        except QPUError as error:
            self._journal.move(part.name, JobState.REFUSED, str(error))
            raise
        except BaseException:  # Ctrl-C in the middle of a request: nobody knows, unless it never left this process
            state = JobState.UNCERTAIN if self._device.spec.durable else JobState.REFUSED
            self._journal.move(part.name, state, "interrupted while it was being sent")
            raise
        return self._accepted(part, handle)

    def _accepted(self, part: Part, handle: Job) -> InFlight:
        try:
            self._journal.accepted(part.name, handle.id)
        except QPUError as error:
            raise error.saying(
                f"job {handle.id} was created, but its id could not be noted ({error}). Note it: "
                f"{jobs_command(self._journal.path, 'attach', handle.id)}"
            ) from error
        self._handles[part.name] = handle
        say(self._device, "%s: job %s sent (%d settings)", handle.id, len(part.members))
        return InFlight(part.name, handle, dict(enumerate(part.members)))

    def _intend(self, part: Part, programs: Sequence[Program]) -> None:
        cost = self._terms.rates.cost(settings=len(programs), shots=self._order.shots)
        if part.name:
            record = self._journal.job(part.name)
            if record.state is not JobState.REFUSED:  # interrupted between its request and our note of it
                raise SubmissionUncertain(
                    uncertain(part.name, record.message, self._journal.path), job_id=record.job_id
                )
            self._terms.budget.check(self._journal.total(), cost)  # a refused job had given its reservation back
            self._journal.retry(part.name)
            return
        self._terms.budget.check(self._journal.total(), cost)
        self._sent += 1
        name = self._order.name if self._sent == 1 else f"{self._order.name}.{self._sent}"
        intent = Intent(
            name=name,
            device=self._device.spec.name,
            tag=self._order.tag,
            durable=self._device.spec.durable,
            programs=tuple(p.fingerprint for p in programs),
            shots_each=self._order.shots,
            request=RAW,
            cost=cost,
            replaces=part.replaces or self._stopped_before(programs),
        )
        self._journal.intend(intent)
        part.name = name

    def _stopped_before(self, programs: Sequence[Program]) -> str:
        """Name of the newest job that ended without counts of one of these settings, ``""`` for none."""
        prints = {p.fingerprint for p in programs}
        if not self._terms.reuse:
            return ""
        for record in reversed(self._journal.jobs(JobState.FAILED, JobState.CANCELLED)):
            here = record.device == self._device.spec.name and record.shots_each == self._order.shots
            if here and prints & set(record.programs):
                return record.name
        return ""

    def _handle(self, part: Part, programs: Sequence[Program]) -> Job:
        device, shots, tag = self._device, self._order.shots, self._order.tag
        if not isinstance(device, RemoteDevice):
            return device.submit(programs, shots=shots, tag=tag)
        job_id = device.create(programs, shots=shots, name=part.name)
        return device.attach(job_id, programs, shots=shots, tag=tag, keep=partial(self._journal.keep, part.name))

    def _lose_patience(self, flying: Sequence[InFlight], part: Part, why: str, error: QPUError | None = None) -> None:
        """Wait longer each time; past the limit of patience, give up with the run resumable."""
        now, unreachable = time.monotonic(), isinstance(error, DeviceUnreachable)
        # Hours in a queue are no hours without a line.
        if part.refused_since is None or part.unreachable != unreachable:
            part.refused_since, part.unreachable = now, unreachable
        waited = now - part.refused_since
        if waited > self._patience_s(error):
            stopped = QueueFull() if error is None else error
            name = self._device.spec.name
            raise stopped.saying(
                f"{name}: {why.rstrip('.')}, for {waited:.0f} s now. Later {how_to_go_on(self._journal.path)}"
            )
        pause = self._pause_for_room(flying, part)
        part.not_before = now + pause
        level = WAITING if waited + pause > TOLD_S else logging.INFO
        until = clock_in(self._patience_s(error) - waited)
        say(
            self._device,
            "%s: %s; waiting, at most until %s (%.0f s so far)",
            why.rstrip("."),
            until,
            waited,
            level=level,
        )

    def _pause_for_room(self, flying: Sequence[InFlight], part: Part | None = None) -> float:
        """Seconds until asking for room again: what a job in flight waits, or a growing interval."""
        if part is None or flying:
            return min((job.handle.pause_s for job in flying), default=1.0)
        part.wait_s, wait = min(60.0, 2.0 * part.wait_s), part.wait_s  # who waits for hours asks once a minute
        return min(wait, self._patience_s(None))

    def _patience_s(self, error: QPUError | None) -> float:
        """For room in the queue, which may take long, or for a connection, which should not."""
        device = self._device
        if not isinstance(device, RemoteDevice):
            return 0.0  # a queue in this process is never full
        return device.deadline_s if isinstance(error, DeviceUnreachable) else device.queue_s


def say(device: Device, text: str, *values: object, level: int = logging.INFO) -> None:
    """Jobs of a provider are news; those of this process are over before anybody reads it."""
    if device.spec.durable:
        log.log(level, text, device.spec.name, *values)
