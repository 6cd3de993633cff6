"""The local simulator: exact probabilities, then honest sampling.

Without noise here; :mod:`qpu_sdk.devices.noisy_chip` has the distributions of noisy devices.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import final

import numpy as np

from ..arrays import FloatArray, OutcomeArray, whole
from ..errors import ConfigError, JobCancelled, JobFailed, JobTimeout
from ..photonics.counts import Counts
from ..photonics.program import Program
from ..seeds import child_seed
from .base import Device, DeviceSpec, Job, JobStatus
from .forking import survives_fork
from .simulation import LocalModel, by_size, check_simulation, columns_of, shot_distribution
from .waiting import checked_timeout


@final
class LocalJob(Job):
    """A submission to the local simulator; it runs in the device's worker thread."""

    def __init__(self, job_id: str, future: Future[list[Counts]]) -> None:
        self.id = job_id
        self._future, self._process = future, os.getpid()

    @property
    def _lost(self) -> bool:
        """Whether this process was forked before the job was done: its thread is in another one."""
        return self._process != os.getpid() and not self._future.done()

    def status(self) -> JobStatus:
        """Where the job stands now."""
        if self._lost:
            return JobStatus.FAILED
        if self._future.cancelled():
            return JobStatus.CANCELLED
        if self._future.done():
            return JobStatus.FAILED if self._future.exception() else JobStatus.DONE
        return JobStatus.RUNNING if self._future.running() else JobStatus.QUEUED

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        """Counts of every program; see :meth:`qpu_sdk.devices.base.Job.result`."""
        if self._lost:
            raise JobFailed(
                f"job {self.id} runs in process {self._process}, of which this one is a fork. Submit it again here.",
                job_id=self.id,
            )
        timeout_s = checked_timeout(timeout_s)
        try:
            return list(self._future.result(timeout_s))
        except CancelledError:
            raise JobCancelled(f"job {self.id} was cancelled. Submit it again.", job_id=self.id) from None
        except FutureTimeoutError:
            raise JobTimeout(f"job {self.id} is not done after {timeout_s} s. Ask again.", job_id=self.id) from None
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise JobFailed(f"job {self.id} failed ({what}). Try a smaller program.", job_id=self.id) from error

    def cancel(self) -> None:
        """Cancel unless the job has begun."""
        self._future.cancel()


@final
class LocalDevice(Device):
    """Exact simulation on this machine, then multinomial sampling with numpy's seeded Generator.

    The random numbers of a submission depend on the seed, its tag and how often the tag was used before, so
    equal tags draw afresh, the order of differently tagged submissions does not matter, and a resumed run that
    uses its tags again gets the same counts.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> mesh = IsometryMesh(4, 2)
    >>> program = Program(mesh, np.zeros(mesh.declared), (0, 1))
    >>> device = LocalDevice(seed=1)
    >>> [counts] = device.submit([program], shots=100).result()
    >>> counts.shots
    100
    """

    def __init__(self, *, seed: int, model: LocalModel | None = None, name: str = "local:slos") -> None:
        self.model = model if model is not None else LocalModel()
        self.seed = whole(seed, "seed", ConfigError, least=0)
        self._chip = self.model.chip(seed=self.seed)
        modes = 64 if self._chip is None else self._chip.max_modes
        self.spec = DeviceSpec(
            name=name,
            max_modes=modes,
            max_photons=16,
            detector=self.model.detects,
            seeded=True,
            drifts=False,
            noise=self.model.noise,
        )
        self._used: Counter[str] = Counter()
        self._submitted = itertools.count(1)
        survives_fork(self)

    def after_fork(self) -> None:
        """A lock and a thread of this process."""
        self._lock = threading.Lock()
        # One worker: jobs run in order, and what the chip remembers needs no lock.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qpu-sdk-local")

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> LocalJob:
        """Run all programs as one batch; see :meth:`qpu_sdk.devices.base.Device.submit`."""
        programs, shots = self.spec.check(programs, shots=shots)
        for program in programs:
            if self._chip is not None:
                self._chip.check(program)
            else:
                check_simulation(program.modes, program.photons, self.model)
        with self._lock:
            job_id = f"local-{next(self._submitted)}"
            occurrence = self._used[tag]  # counted here, in the caller's order: when the worker draws changes nothing
            self._used[tag] += 1
        stream = child_seed(self.seed, tag, occurrence)
        return LocalJob(job_id, self._worker.submit(self._run, programs, shots, tag, job_id, stream))

    def _run(self, programs: tuple[Program, ...], shots: int, tag: str, job_id: str, stream: int) -> list[Counts]:
        rng = np.random.default_rng(stream)
        out: dict[int, Counts] = {}
        for i, outcomes, p in self._distributions(programs):
            every = np.append(p, max(0.0, 1.0 - p.sum()))  # what is not kept apart, as one more outcome
            numbers = rng.multinomial(shots, every / every.sum())  # numpy refuses a sum above 1
            seen = np.flatnonzero(numbers[:-1])
            kept = slice(None) if self._chip is None else seen  # a noisy device has many outcomes that never happen
            out[i] = Counts(
                photons=programs[i].photons,
                outcomes=outcomes[kept],
                numbers=numbers[:-1][kept],
                other=int(numbers[-1]),
                detector=self.spec.detector,
                program=programs[i],
                device=self.spec.name,
                tag=tag,
                job_id=job_id,
            )
        return [out[i] for i in range(len(programs))]

    def _distributions(self, programs: tuple[Program, ...]) -> Iterator[tuple[int, OutcomeArray, FloatArray]]:
        """Index of each program, its outcomes, and their probabilities in a shot."""
        if self._chip is not None:
            for i, program in enumerate(programs):
                yield i, *self._chip.shot(program)
            return
        for members in by_size(programs):
            outcomes, rows = shot_distribution(columns_of([programs[i] for i in members]), self.model)
            for i, row in zip(members, rows, strict=True):
                yield i, outcomes, row
