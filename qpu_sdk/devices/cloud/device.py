"""Platforms of a cloud as devices: programs in, raw counts out, every job asked for by its id."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from ...errors import AuthenticationError, DeviceUnavailable, JobCancelled, JobFailed, ProgramError
from ...photonics.counts import Counts
from ...photonics.program import Program
from ...words import command, one_line, short
from ..base import DeviceSpec, Job, JobStatus, RemoteDevice, Usage
from ..journalled import JournalledJob, submit_alone
from ..machines import rates_of
from ..waiting import wait_for
from .decoding import Sent, UnusableAnswer, check_plausible, decode_result
from .options import CloudOptions
from .payload import PlatformDetails, encode_payload
from .transport import NotFound, Transport

log = logging.getLogger(__name__)

_STATUS = {
    "waiting": JobStatus.QUEUED,
    "suspended": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "cancel_requested": JobStatus.RUNNING,
    "completed": JobStatus.DONE,
    "success": JobStatus.DONE,
    "error": JobStatus.FAILED,
    "canceled": JobStatus.CANCELLED,
    "cancelled": JobStatus.CANCELLED,
}
#: Statuses of a platform in which nothing is sent to it.
CLOSED = frozenset({"maintenance", "unreachable", "decommissioned", "retired", "locked"})
#: How often the result of a finished job is asked for when it is missing, lacks settings or cannot be read.
RESULT_TRIES = 4


@final
class CloudJob(Job):
    """A job the provider has; its status is asked at most once an interval, whoever asks."""

    durable = True

    def __init__(
        self, device: CloudDevice, job_id: str, sent: Sent, *, tag: str, keep: Callable[[str], None] | None
    ) -> None:
        self.id = job_id
        self._device, self._sent, self._tag, self._keep = device, sent, tag, keep
        self._status = JobStatus.QUEUED
        self._message = self._unknown = ""
        self._progress: float | None = None
        self._usage = Usage()
        self._interval = device.polling.first_s
        self._next = 0.0
        self._counts: list[Counts | None] | None = None

    @property
    def pause_s(self) -> float:
        """Seconds until the provider may be asked again."""
        return max(0.001, self._next - time.monotonic())

    @property
    def progress(self) -> float | None:
        """Part that is done, 0..1, ``None`` when the provider does not say."""
        return self._progress

    def usage(self) -> Usage:
        """Shots and machine time in the provider's words."""
        return self._usage

    def status(self) -> JobStatus:
        """Where the job stands; one request at most, and none before the interval has passed.

        :raises DeviceUnavailable: when the provider knows the job no more, or does not answer.
        """
        if self._status.final or time.monotonic() < self._next:  # many may ask: the provider hears one
            return self._status
        try:
            answer = self._device.transport.status(self.id)
        except NotFound as error:
            raise DeviceUnavailable(
                f"job {self.id} is not known to {self._device.spec.name} any more ({error.text}). Its id stays in the "
                "journal; ask again later, or with the account that created it."
            ) from None
        self._read(answer)
        self._interval = min(1.5 * self._interval, self._device.polling.longest_s)
        self._next = time.monotonic() + self._interval
        return self._status

    def _read(self, answer: Mapping[str, Any]) -> None:
        word = str(answer.get("status") or "").lower()
        status = _STATUS.get(word)
        if status is None:
            log.log(
                logging.INFO if word == self._unknown else logging.WARNING,  # once is enough for each
                "job %s has the unknown status %s; waiting until it has another, or until it is cancelled",
                self.id, short(word),
            )  # fmt: skip
            self._unknown = word
        else:
            self._status = status
        self._message = one_line(answer.get("status_message") or "")
        self._progress = fraction(answer.get("progress"))
        shots, seconds = amount(answer.get("shots")), amount(answer.get("duration"))
        self._usage = Usage(
            self._usage.shots if shots is None else int(shots),
            seconds if seconds is not None and self._status.final else self._usage.seconds,  # until then it grows
        )

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        """Counts of every program; see :meth:`qpu_sdk.devices.base.Job.result`."""
        wait_for(self, timeout_s, begun=time.monotonic())
        counts = self._harvest()
        finished = [c for c in counts if c is not None]
        if self._status is JobStatus.DONE and len(finished) == len(counts):
            return finished
        said = self._message or ("only some results came" if self._status is JobStatus.DONE else "no reason was given")
        what = f"job {self.id} on {self._device.spec.name}"
        how = f"{len(finished)} of {len(counts)} settings are done ({said})"
        if self._status is JobStatus.FAILED:
            raise JobFailed(f"{what} failed; {how}.", job_id=self.id, partial=tuple(counts))
        raise JobCancelled(f"{what} was cut short; {how}.", job_id=self.id, partial=tuple(counts))

    def _harvest(self) -> list[Counts | None]:
        """Fetch and read the result, once; a stopped job may have none."""
        if self._counts is None:
            self._counts = self._fetch()
            self._report_excess(self._counts)
        return self._counts

    def _fetch(self) -> list[Counts | None]:
        labels = {"device": self._device.spec.name, "tag": self._tag, "job_id": self.id}
        tries = RESULT_TRIES if self._status is JobStatus.DONE else 1  # one that failed may well have none
        found: list[Counts | None] = [None] * len(self._sent.programs)
        for left in reversed(range(tries)):
            try:
                answer = self._device.transport.result(self.id, most=self._sent.most_bytes)
                if self._keep is not None:
                    self._keep(json.dumps(answer))  # before it is read: an answer that breaks the reader is not lost
                brought = decode_result(answer, self._sent, detector=self._device.spec.detector, labels=labels)
                check_plausible(brought, self._sent)
                found = [new if old is None or not old.shots else old for old, new in zip(found, brought, strict=True)]
                lacking = sum(one is None or not one.shots for one in found)
                if not lacking or not left:
                    return found
                raise UnusableAnswer(f"{lacking} of {len(found)} settings have no counts in it")
            except (UnusableAnswer, NotFound) as error:
                if left:
                    log.info("result of job %s: %s; asking again", self.id, error)
                    time.sleep(self._device.polling.first_s)
                elif any(one is not None and one.shots for one in found):
                    return found
                elif self._status is JobStatus.DONE:
                    raise UnusableAnswer(
                        f"job {self.id} on {self._device.spec.name} is done, but its result cannot be used ({error}). "
                        "Its id stays in the journal; ask again later, or give it up, as spent: "
                        f"{command('jobs', 'forget', self.id, '--lost')}"
                    ) from None
        return found

    def _report_excess(self, counts: Sequence[Counts | None]) -> None:
        """More shots than asked are as good as others, and cost more: told, and counted."""
        brought = [(c.shots, self._sent.shots(i)) for i, c in enumerate(counts) if c is not None]
        more = [(shots, asked) for shots, asked in brought if shots > asked]
        if more:
            log.warning(
                "%s: job %s brought up to %d shots where %d were asked for, in %d settings",
                self._device.spec.name, self.id, max(more)[0], more[0][1], len(more),
            )  # fmt: skip

    def cancel(self) -> None:
        """Ask the provider to stop; a job that just ended keeps its true end."""
        if not self._status.final:
            self._device.transport.cancel(self.id)
            self._next = 0.0


@final
class CloudDevice(RemoteDevice):
    """One platform of a cloud.

    :param name: how configurations name the device.
    :param transport: how the provider is talked to.
    :param platform: what the provider says about it.
    :param options: how large its jobs are, how often it is asked, and how long it is waited for.
    :param closed: why nothing can be sent to it, ``""``: it can.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        platform: PlatformDetails,
        options: CloudOptions,
        *,
        closed: str = "",
    ) -> None:
        self._closed = closed
        self.spec = DeviceSpec(
            name=name,
            max_modes=platform.max_modes,
            max_photons=platform.max_photons,
            max_shots=platform.max_shots,
            detector=platform.detector,
            simulated=platform.simulated,
            rehearsal=options.rehearsal,
            durable=True,
            rates=rates_of(name, simulated=platform.simulated),
            settings_per_job=options.settings_per_job,
            published=dict(platform.performance),
            architecture_hash=platform.architecture_hash,
        )
        self.transport, self.platform, self.any_status = transport, platform, bool(options.any_status)
        self.polling = options.polling
        self.queue_s, self.deadline_s = options.queue_s, options.deadline_s
        self._sent: dict[str, Sent] = {}

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> JournalledJob:
        """Run all programs, in as few jobs as the platform allows; see :meth:`qpu_sdk.devices.base.Device.submit`."""
        return submit_alone(self, programs, shots=shots, tag=tag)

    def create(self, programs: Sequence[Program], *, shots: int, name: str) -> str:
        """Send one job, once; see :meth:`qpu_sdk.devices.base.RemoteDevice.create`."""
        programs, shots = self.spec.check(programs, shots=shots)
        self._check_open()
        try:
            body, sent = encode_payload(programs, shots=shots, name=name, platform=self.platform)
        except Exception as error:  # Perceval's encoders raise whatever they raise; nothing has been sent
            raise ProgramError(f"{self.spec.name}: the programs cannot be encoded ({type(error).__name__}).") from error
        try:
            job_id = self.transport.create(body)
        except (ProgramError, AuthenticationError, DeviceUnavailable) as error:
            raise error.saying(f"{self.spec.name}: {error}") from None
        self._sent[job_id] = sent
        return job_id

    def _check_open(self) -> None:
        """Nothing is sent to a platform that says it takes no jobs."""
        if self._closed:
            raise DeviceUnavailable(self._closed)
        if self.platform.status in CLOSED and not self.any_status:
            raise DeviceUnavailable(
                f"{self.spec.name} is in status {self.platform.status!r} and takes no jobs. Try later, choose another "
                "device, or send all the same with ?any_status=1."
            )

    def attach(
        self,
        job_id: str,
        programs: Sequence[Program],
        *,
        shots: int,
        tag: str,
        keep: Callable[[str], None] | None = None,
    ) -> CloudJob:
        """Handle of a job that exists; see :meth:`qpu_sdk.devices.base.RemoteDevice.attach`."""
        sent = self._sent.pop(job_id, None)  # what really went out, where this process sent it
        if sent is None:
            _, sent = encode_payload(tuple(programs), shots=shots, name="", platform=self.platform)
        return CloudJob(self, job_id, sent, tag=tag, keep=keep)

    def stop(self, job_id: str) -> None:
        """Ask the provider to stop a job."""
        self.transport.cancel(job_id)

    def room(self) -> int | None:
        """Jobs that may be created now."""
        return self.transport.availability()

    def name_of(self, job_id: str) -> str | None:
        """The name a job was created under."""
        name = self.transport.data(job_id).get("job_name")
        return name if isinstance(name, str) and name else None

    def close(self) -> None:
        """End what costs money while it is open."""
        self.transport.close()


def amount(value: object) -> float | None:
    """A number that a ledger can hold, ``None`` for anything else: JSON has no limit, and Python reads NaN.

    >>> amount(30), amount(-1), amount(float("nan")), amount(10**30), amount("30")
    (30.0, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return float(value)


def fraction(progress: object) -> float | None:
    """Progress as 0..1: some answers give percent; ``None`` when it is no number.

    >>> fraction(0.5), fraction(50), fraction("half")
    (0.5, 0.5, None)
    """
    if isinstance(progress, bool) or not isinstance(progress, int | float) or progress != progress:
        return None
    progress = min(100.0, max(0.0, progress))
    return progress / 100 if progress > 1 else progress
