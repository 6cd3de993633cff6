"""Circuits measured: programs in, distributions out, every setting through the journal and paid once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from ..devices.base import Device, DeviceSpec
from ..devices.journal import Journal
from ..devices.journalled import JournalledDevice
from ..devices.sending import Terms
from ..devices.waiting import wait_all
from ..mitigation.distribution import Distribution
from ..photonics.counts import Counts
from ..photonics.interferometer import Mesh
from ..photonics.program import Program
from .estimator import Mitigation


@final
@dataclass(frozen=True, eq=False)
class QNN:
    """One photonic circuit: a mesh, where its photons enter, and which device runs it."""

    mesh: Mesh
    input_modes: tuple[int, ...]
    device: str

    @property
    def outcomes(self) -> int:
        """Collision-free outcomes, C(M, N)."""
        return math.comb(self.mesh.modes, len(self.input_modes))


@final
@dataclass(frozen=True, eq=False)
class Measurement:
    """A program to measure.

    :param device: the string it is known by.
    :param label: names the random numbers of its mitigation, whatever the order of results.
    """

    device: str
    program: Program
    label: str


@final
class Measuring:
    """Open devices behind one journal, and how their counts become distributions.

    :param devices: by the strings that settings name.
    :param terms: under which each device is used.
    :param timeout_s: how long to wait for jobs that outlive this process, ``None`` for as long as it takes.
    """

    def __init__(
        self,
        devices: Mapping[str, Device],
        *,
        journal: Journal,
        terms: Callable[[DeviceSpec], Terms],
        mitigation: Mitigation,
        timeout_s: float | None = None,
    ) -> None:
        self.journal, self.mitigation = journal, mitigation
        self.devices = {n: JournalledDevice(d, journal, terms(d.spec)) for n, d in devices.items()}
        self._timeout_s = timeout_s

    def measure(self, settings: Sequence[Measurement], *, shots: int, tag: str) -> list[Distribution]:
        """Measure settings: one job a device, all devices at once.

        :param tag: names the jobs; a local device draws its random numbers from seed and tag.
        :returns: a distribution for each setting, in their order.
        :raises MitigationError: when a setting saw no collision-free event, or not what the method needs.
        :raises JobTimeout: when jobs that outlive this process are not done in time.
        """
        counts = self._counts(settings, shots, tag)
        return [self._distribution(one, own) for one, own in zip(settings, counts, strict=True)]

    def measure_some(self, settings: Sequence[Measurement], *, shots: int, tag: str) -> list[Distribution | None]:
        """The same, where a setting may see no collision-free event: it has None then."""
        counts = self._counts(settings, shots, tag)
        return [
            self._distribution(one, own) if own.collision_free().any() else None
            for one, own in zip(settings, counts, strict=True)
        ]

    def _counts(self, settings: Sequence[Measurement], shots: int, tag: str) -> list[Counts]:
        places: dict[str, list[int]] = {}
        for i, setting in enumerate(settings):
            places.setdefault(setting.device, []).append(i)
        # All devices get their work before any is waited for.
        jobs = {
            name: self.devices[name].submit([settings[i].program for i in own], shots=shots, tag=tag)
            for name, own in places.items()
        }
        if len(jobs) > 1 or any(job.durable for job in jobs.values()):  # one local job: result() blocks, no polling
            wait_all(list(jobs.values()), timeout_s=self._timeout_s)
        found = {i: counts for name, own in places.items() for i, counts in zip(own, jobs[name].result(), strict=True)}
        return [found[i] for i in range(len(settings))]

    def _distribution(self, one: Measurement, counts: Counts) -> Distribution:
        return self.mitigation.distribution(counts, one.program, device=one.device, label=one.label)
