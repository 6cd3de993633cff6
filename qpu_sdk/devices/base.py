"""The seam to hardware: one abstract method, ``Device.submit``."""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, final

from ..arrays import whole
from ..errors import ConfigError, ProgramError
from ..photonics.counts import Counts, Detector
from ..photonics.noise import Noise
from ..photonics.program import Program
from .budget import Rates
from .futures import polled_future

#: Most shots of a program: a sampler, the counts of some settings together and a journal hold integers of 64 bits.
MOST_SHOTS = 10**18


class JobStatus(enum.Enum):
    """Where a job stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True when the status cannot change any more."""
        return self in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)


@final
@dataclass(frozen=True)
class DeviceSpec:
    """Who a device is and what it can do; programs are checked against it before anything is submitted.

    :param name: how a configuration names the device.
    :param max_modes: largest interferometer.
    :param max_photons: most photons sent in at once.
    :param max_shots: most shots per program, ``None`` for no limit.
    :param max_programs: most programs per submission, ``None`` for no limit.
    :param detector: what the detectors resolve.
    :param simulated: True when no quantum hardware is behind it.
    :param seeded: True when seed and tag decide the counts.
    :param platform: its name at the provider; ``""``: what stands between ``KIND:`` and ``?`` in ``name``.
    :param rehearsal: True when a cloud on this machine stands in for the provider.
    :param durable: True when its jobs go on without this process and can be asked for again.
    :param drifts: False where time changes nothing, so that records of it never grow old.
    :param rates: what it charges.
    :param settings_per_job: most programs that it runs as one job, a larger submission being several, ``None`` for no
        limit but ``max_programs``.
    :param noise: of a simulator that knows its own, None where it has to be measured.
    :param published: the vendor's figures in Perceval's keys, such as ``"HOM (%)"``.
    :param architecture_hash: SHA-256 of the architecture that the provider publishes, ``""`` for none.
    :param record_names: devices whose calibration records serve it, the best first; ``()``: its name.
    :param record_file: of a noisy twin, the calibration record it is made of.
    :raises ConfigError: when a limit is no whole number of 1 or more.

    >>> spec = DeviceSpec("quandela:sim:belenos?poll_s=5", max_modes=24, max_photons=12)
    >>> spec.platform, spec.record_names == (spec.name,)
    ('sim:belenos', True)
    """

    name: str
    max_modes: int
    max_photons: int
    max_shots: int | None = None
    max_programs: int | None = None
    detector: Detector = "pnr"
    simulated: bool = True
    seeded: bool = False
    platform: str = ""
    rehearsal: bool = False
    durable: bool = False
    drifts: bool = True
    rates: Rates = Rates()  # noqa: RUF009 - it cannot change
    settings_per_job: int | None = None
    noise: Noise | None = None
    published: Mapping[str, Any] = field(default_factory=dict, hash=False)  # a table cannot be hashed, a spec can
    architecture_hash: str = ""
    record_names: tuple[str, ...] = ()
    record_file: str = ""

    def __post_init__(self) -> None:
        for name in ("max_modes", "max_photons", "max_shots", "max_programs", "settings_per_job"):
            if (limit := getattr(self, name)) is not None or name in ("max_modes", "max_photons"):
                object.__setattr__(self, name, whole(limit, f"{name} of {self.name}", ConfigError, least=1))
        if not self.platform:
            object.__setattr__(self, "platform", self.name.partition("?")[0].partition(":")[2] or self.name)
        if not self.record_names:
            object.__setattr__(self, "record_names", (self.name,))

    @property
    def job_size(self) -> int | None:
        """Most programs that are one job, ``None`` for no limit.

        >>> DeviceSpec("lab", 24, 12, max_programs=50, settings_per_job=20).job_size
        20
        """
        return min((n for n in (self.settings_per_job, self.max_programs) if n is not None), default=None)

    def check(self, programs: Iterable[Program], *, shots: int) -> tuple[tuple[Program, ...], int]:
        """The programs and the shots as a device may use them: what comes in may be a generator and a numpy integer.

        :raises ProgramError: when they are none, or do not fit; the message names the limit.
        """
        programs, shots = self.accept(programs, shots=shots)
        if self.max_shots is not None and shots > self.max_shots:
            raise ProgramError(f"{shots} shots; {self.name} has {self.max_shots} (spec.max_shots). Use fewer shots.")
        if self.max_programs is not None and len(programs) > self.max_programs:
            raise ProgramError(
                f"{len(programs)} programs in one submission; {self.name} takes {self.max_programs} "
                "(spec.max_programs). Submit them in parts."
            )
        for program in programs:
            if program.modes > self.max_modes:
                raise ProgramError(
                    f"program uses {program.modes} modes; {self.name} has {self.max_modes} (spec.max_modes). "
                    f"Use {self.max_modes} modes or fewer."
                )
            if program.photons > self.max_photons:
                raise ProgramError(
                    f"program uses {program.photons} photons; {self.name} has {self.max_photons} (spec.max_photons). "
                    f"Use {self.max_photons} photons or fewer."
                )
        return programs, shots

    def accept(self, programs: Iterable[Program], *, shots: int) -> tuple[tuple[Program, ...], int]:
        """:meth:`check` but for the limits, which do not matter for what was sent when they were others.

        :raises ProgramError: when there is no program or no shot.
        """
        programs, shots = _several(programs), whole(shots, "shots", most=MOST_SHOTS)
        if not programs:
            raise ProgramError(f"{self.name} was given no program. Submit at least one.")
        if shots < 1:
            raise ProgramError(f"{shots} shots on {self.name} measure nothing. Use 1 shot or more.")
        return programs, shots


def _several(programs: Iterable[Program]) -> tuple[Program, ...]:
    if isinstance(programs, Program):
        raise ProgramError("submit takes several programs, and was given one. Write submit([program], ...).")
    try:
        found = tuple(programs)
    except TypeError:
        raise ProgramError(f"a {type(programs).__name__} is no list of programs. Give a list of Program.") from None
    for one in found:
        if not isinstance(one, Program):
            raise ProgramError(f"a {type(one).__name__} is no program. Give a list of Program; run takes one alone.")
    return found


@final
@dataclass(frozen=True)
class Usage:
    """What the device says a job took; ``None`` where it does not say.

    :param shots: over all programs.
    :param seconds: machine time.
    """

    shots: int | None = None
    seconds: float | None = None


class Job(abc.ABC):
    """Handle of a submission."""

    id: str
    #: True when the job goes on without this process and can be asked for again, as :attr:`DeviceSpec.durable` says.
    durable: bool = False

    @property
    def pause_s(self) -> float:
        """Seconds until asking again can tell something new."""
        return 0.005

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, 'id', '')!r})"

    def usage(self) -> Usage:
        """What the job took, known at the latest when its result is."""
        return Usage()

    @abc.abstractmethod
    def status(self) -> JobStatus:
        """Where the job stands now; looking changes nothing and sends nothing."""

    def advance(self) -> JobStatus:
        """Do what the job needs from this process to go on, if anything, and say where it stands.

        A submission larger than the provider has room for is sent in parts: whoever waits without :meth:`result` or
        :func:`~qpu_sdk.devices.waiting.wait_all` asks this and not :meth:`status`.
        """
        return self.status()

    @abc.abstractmethod
    def result(self, timeout_s: float | None = None) -> list[Counts]:
        """Counts of every program, in the order of submission.

        :param timeout_s: seconds to wait, ``None`` for as long as it takes.
        :raises JobFailed: the device reported a failure; ``.partial`` holds what was finished.
        :raises JobCancelled: the job was cancelled; ``.partial`` too.
        :raises JobTimeout: not finished in time; the job goes on.
        """

    @abc.abstractmethod
    def cancel(self) -> None:
        """Ask the device to stop; does nothing once the status is final."""

    def as_future(self) -> Future[list[Counts]]:
        """A future of :meth:`result`, for callbacks, and by ``asyncio.wrap_future`` for ``await``.

        A thread asks for the job until it is final, and ends then: use either the future or the job. Cancelling the
        future, as asyncio does with a task that is cancelled, cancels the job.

        >>> from qpu_sdk.devices.local import LocalDevice
        >>> from qpu_sdk.photonics.meshes import IsometryMesh
        >>> job = LocalDevice(seed=1).submit([Program.random(IsometryMesh(4, 2), seed=1)], shots=100)
        >>> job.as_future().result()[0].shots
        100
        """
        return polled_future(
            lambda: self.advance().final, self.result, self.cancel, lambda: self.pause_s, name=f"qpu-sdk-{self.id}"
        )


class Device(abc.ABC):
    """Anything that runs programs and returns raw counts.

    A new device implements :meth:`submit`, says its limits in :attr:`spec`, and passes the suite in
    :mod:`qpu_sdk.devices.conformance`.
    """

    spec: DeviceSpec

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec.name!r})"

    @abc.abstractmethod
    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        """Run all programs as one job with ``shots`` shots each, and return at once.

        :param tag: a name for this submission; a local device draws its random numbers from seed and tag.
        :raises ProgramError: before anything is sent, when a program does not fit.
        """

    def run(self, program: Program, *, shots: int, tag: str = "") -> Counts:
        """Submit one program, wait for it, and return its counts.

        :param tag: see :meth:`submit`.
        :raises ProgramError: before anything is sent, when the program does not fit.
        :raises JobError: when the job has no result; see :meth:`Job.result`.

        >>> from qpu_sdk.devices.local import LocalDevice
        >>> from qpu_sdk.photonics.meshes import IsometryMesh
        >>> LocalDevice(seed=1).run(Program.random(IsometryMesh(4, 2), seed=1), shots=100).shots
        100
        """
        [counts] = self.submit([program], shots=shots, tag=tag).result()
        return counts

    def stop(self, job_id: str) -> None:  # noqa: B027 - where jobs end with the process there is nothing to stop
        """Ask the provider to stop a job of whatever process; does no harm to one that has ended."""

    def name_of(self, job_id: str) -> str | None:
        """The name a job was created under, ``None`` when the provider does not say, or there is none.

        :raises DeviceUnavailable: when the provider knows no such job.
        """
        return None

    def close(self) -> None:  # noqa: B027 - most devices hold nothing open
        """End what costs money while it is open; called when a run has no job left."""


class RemoteDevice(Device):
    """A device whose jobs outlive this process: created once under a name, asked for by id ever after.

    Its :attr:`spec` says ``durable``.
    """

    #: Seconds to wait for room in the queue, and for a connection, before a run stops, resumable.
    queue_s: float = 86_400.0
    deadline_s: float = 900.0

    @abc.abstractmethod
    def create(self, programs: Sequence[Program], *, shots: int, name: str) -> str:
        """Send one job, once, and return its id.

        :param name: unique, so that a person can find the job at the provider.
        :raises ProgramError: the programs do not fit; nothing was created.
        :raises DeviceUnreachable: no connection was made; nothing was created, and it may be tried again.
        :raises QueueFull: there is no room for a job now; nothing was created, and it may be tried again.
        :raises DeviceError: the provider refused; nothing was created.
        :raises SubmissionUncertain: the request left and no usable answer came. Never try again by yourself.
        """

    @abc.abstractmethod
    def attach(
        self,
        job_id: str,
        programs: Sequence[Program],
        *,
        shots: int,
        tag: str,
        keep: Callable[[str], None] | None = None,
    ) -> Job:
        """Handle of a job that was created earlier with these programs; asks the provider nothing yet.

        :param keep: is given the provider's raw answer before it is read, so that nothing that was paid for is lost.
        """

    @abc.abstractmethod
    def stop(self, job_id: str) -> None:
        """Ask the provider to stop a job; does no harm to one that has ended."""

    @abc.abstractmethod
    def room(self) -> int | None:
        """Jobs that may be created now, ``None`` when the provider does not say."""

    @abc.abstractmethod
    def name_of(self, job_id: str) -> str | None:
        """The name a job was created under, ``None`` when the provider does not say.

        :raises DeviceUnavailable: when it knows no such job.
        """
