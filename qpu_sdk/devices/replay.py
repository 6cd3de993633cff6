"""Recorded counts, played back without the device that gave them."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import final

from ..errors import DeviceUnavailable, ProgramError
from ..photonics.counts import Counts
from ..photonics.program import Program
from .base import Device, DeviceSpec, Job, JobStatus
from .forking import survives_fork


@final
class ReplayJob(Job):
    """A job whose counts were there before it was submitted."""

    def __init__(self, job_id: str, counts: list[Counts]) -> None:
        self.id = job_id
        self._counts = counts

    def status(self) -> JobStatus:
        """Always done."""
        return JobStatus.DONE

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        """The recorded counts, at once."""
        return list(self._counts)

    def cancel(self) -> None:
        """Does nothing: the job is done."""


@final
class ReplayDevice(Device):
    """Answers each program with the next counts recorded for it, in the order of the recording.

    :param counts: the recording.
    :param origin: what the one device says of itself that was recorded, where it is still known.
    :raises DeviceUnavailable: when the recording is empty.

    ``submit`` raises :class:`ProgramError` for a program that was not recorded (or not often enough), or when
    the shots differ: a replay never invents counts.
    """

    def __init__(self, counts: Iterable[Counts], *, name: str = "replay", origin: DeviceSpec | None = None) -> None:
        recorded = list(counts)
        if not recorded:
            raise DeviceUnavailable(f"{name} holds no counts. Record some first, with RecordingDevice.")
        devices = tuple(sorted({c.device for c in recorded if c.device}))
        self.spec = DeviceSpec(
            name=name,
            max_modes=max(c.modes for c in recorded),
            max_photons=max(c.photons for c in recorded),
            detector=recorded[0].detector,
            seeded=True,  # what the seed decides was decided when the recording was made
            drifts=False,
            platform=origin.platform if origin is not None else "",
            noise=origin.noise if origin is not None else None,
            record_names=origin.record_names if origin is not None else devices,
            record_file=origin.record_file if origin is not None else "",
        )
        self._waiting: defaultdict[str, deque[Counts]] = defaultdict(deque)
        for c in recorded:
            self._waiting[c.fingerprint].append(c)
        self._jobs = 0
        survives_fork(self)

    def after_fork(self) -> None:
        """A lock of this process."""
        self._lock = threading.Lock()

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> ReplayJob:
        """Look the programs up; see :meth:`qpu_sdk.devices.base.Device.submit`."""
        programs, shots = self.spec.check(programs, shots=shots)
        with self._lock:
            return self._next(programs, shots)

    def _next(self, programs: Sequence[Program], shots: int) -> ReplayJob:
        wanted = [p.fingerprint for p in programs]
        for fingerprint in wanted:  # all are looked at before one is taken: what is refused uses up no counts
            waiting, uses = self._waiting[fingerprint], wanted.count(fingerprint)
            if len(waiting) < uses:
                raise ProgramError(
                    f"program {fingerprint[:12]} is recorded {len(waiting)} more times in {self.spec.name}; "
                    f"{uses} were asked. Replay the run that was recorded."
                )
            held = next((c.shots for c in list(waiting)[:uses] if c.shots != shots), shots)
            if held != shots:
                raise ProgramError(
                    f"{shots} shots; {self.spec.name} holds {held} of program {fingerprint[:12]}. Ask for those."
                )
        self._jobs += 1
        return ReplayJob(f"replay-{self._jobs}", [self._waiting[f].popleft() for f in wanted])
