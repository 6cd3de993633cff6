"""Recording: pass everything to another device, and write its counts down."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from ..photonics.counts import Counts
from ..photonics.program import Program
from .base import Device, Job, JobStatus
from .forking import survives_fork


@final
class _RecordingJob(Job):
    """Appends the counts to the file once, when they are first fetched."""

    def __init__(self, job: Job, path: Path, lock: threading.Lock) -> None:
        self.id = job.id
        self._job, self._path, self._lock = job, path, lock
        self._written = False

    def status(self) -> JobStatus:
        return self._job.status()

    def advance(self) -> JobStatus:
        return self._job.advance()

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        counts = self._job.result(timeout_s)
        with self._lock:
            if not self._written:
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(c.to_json() + "\n" for c in counts)
                    file.flush()
                    os.fsync(file.fileno())  # a recording of paid counts must outlive a power cut
                self._written = True
        return counts

    def cancel(self) -> None:
        self._job.cancel()


@final
class RecordingDevice(Device):
    """Passes everything to another device and appends the counts it returns to a file that can be replayed."""

    def __init__(self, device: Device, path: str | Path) -> None:
        self.spec = replace(device.spec, durable=False)  # what is not fetched here is not written
        self._device, self._path = device, Path(path)
        survives_fork(self)

    def after_fork(self) -> None:
        """A lock of this process."""
        self._lock = threading.Lock()

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        """Submit to the inner device; see :meth:`qpu_sdk.devices.base.Device.submit`."""
        return _RecordingJob(self._device.submit(programs, shots=shots, tag=tag), self._path, self._lock)

    def close(self) -> None:
        """End what the inner device holds open."""
        self._device.close()
