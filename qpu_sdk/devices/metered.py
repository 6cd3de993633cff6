"""A meter before any device: what was sent to it is added up, and what would pass a limit is not sent."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..errors import BudgetExceeded
from ..photonics.program import Program
from .base import Device, Job
from .budget import Budget, Cost
from .forking import survives_fork


@final
class Metered(Device):
    """Passes everything to another device within limits; anything that takes a device takes it.

    Each submission is reserved at what it may take at most, by the rates that the device says, and settled with what
    its job reports. What failed stays reserved unless the provider says what it took. A run has a budget of its own.

    :param device: an open one.
    :param settings: most circuit configurations, None for no limit; so are the others.
    :param shots: over all settings.
    :param credits: in the provider's unit.
    :param jobs: submissions, as the device cuts them.
    :param seconds: machine time.
    :raises ConfigError: for what is no limit.

    >>> from qpu_sdk.devices.local import LocalDevice
    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> device = Metered(LocalDevice(seed=1), settings=1)
    >>> counts = device.run(Program.random(IsometryMesh(4, 2), seed=1), shots=100)
    >>> device.spent
    Cost(settings=1, shots=100, credits=0.0, jobs=1, seconds=0.0)
    >>> device.run(Program.random(IsometryMesh(4, 2), seed=2), shots=100)
    Traceback (most recent call last):
    qpu_sdk.errors.BudgetExceeded: the next job takes 1 settings; 1 of 1 (settings) are spent or reserved. Nothing was \
sent. Raise the limit to settings=2.
    """

    def __init__(
        self,
        device: Device,
        *,
        settings: int | None = None,
        shots: int | None = None,
        credits: float | None = None,
        jobs: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self.spec = replace(device.spec, durable=False)  # its jobs are asked for through it, and it ends with Python
        self.budget = Budget(settings, shots, credits, jobs, seconds)
        self._device = device
        self._sent: list[tuple[Job, Cost]] = []
        survives_fork(self)

    def after_fork(self) -> None:
        """A lock of this process."""
        self._lock = threading.Lock()

    @property
    def spent(self) -> Cost:
        """What was taken or is reserved so far, of all jobs."""
        return sum((_settled(job, reserved) for job, reserved in self._sent), Cost())

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        """Submit to the device; see :meth:`Device.submit`.

        :raises BudgetExceeded: before anything is sent, when a limit would be passed.
        """
        programs, shots = self.spec.check(programs, shots=shots)
        cost = self.spec.rates.cost(settings=len(programs), shots=shots)
        cost = replace(cost, jobs=-(-len(programs) // (self.spec.job_size or len(programs))))
        with self._lock:  # two threads would both find room for the last job
            try:
                self.budget.check(self.spent, cost)
            except BudgetExceeded as error:
                state = error.state.replace("budget.", "")
                raise BudgetExceeded(
                    f"the next job takes {error.asked}; {state}. Nothing was sent. Raise the limit to "
                    f"{error.key}={error.need}.",
                    key=error.key,
                    asked=error.asked,
                    state=state,
                    need=error.need,
                ) from None
            job = self._device.submit(programs, shots=shots, tag=tag)
            self._sent.append((job, cost))
        return job

    def stop(self, job_id: str) -> None:
        """Ask the device to stop a job."""
        self._device.stop(job_id)

    def name_of(self, job_id: str) -> str | None:
        """The name that the device gave a job."""
        return self._device.name_of(job_id)

    def close(self) -> None:
        """Close the device."""
        self._device.close()


def _settled(job: Job, reserved: Cost) -> Cost:
    """What a job took, by its own figures where it has any."""
    usage = job.usage()
    seconds = reserved.seconds if usage.seconds is None else usage.seconds
    if usage.shots is None:
        return replace(reserved, seconds=seconds)
    share = usage.shots / reserved.shots
    return replace(reserved, shots=usage.shots, credits=round(reserved.credits * share, 9), seconds=seconds)
