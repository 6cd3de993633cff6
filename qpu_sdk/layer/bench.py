"""One circuit before its device: what it shows at given phases, and what it may cost."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..devices.base import Device
from ..devices.budget import Budget, Cost
from ..devices.journal import Journal
from ..devices.sending import Terms
from ..errors import BudgetExceeded
from ..mitigation.distribution import Distribution
from ..photonics.permanents import collision_free_tree, probabilities
from ..photonics.program import Program
from .gradients import Seen
from .measuring import QNN, Measurement, Measuring
from .records import User, Wanted, read_records, records_for, save_records


class Bench(abc.ABC):
    """What a circuit shows, by whatever way."""

    circuit: QNN

    @abc.abstractmethod
    def look(self, phases: FloatArray, tag: str, *, empty: bool = False) -> Seen:
        """Look at the circuit at some phases, ``(R, declared)``.

        :param tag: names the measurement.
        :param empty: whether it may be that nothing is seen at some of them, whose mass and p are 0 then.
        """

    @abc.abstractmethod
    def check(self, jobs: Mapping[str, FloatArray], what: str) -> None:
        """Refuse what the budget does not bear, before any of it is sent.

        :param jobs: phases by tag, ``(R, declared)``.
        :param what: it is for, as a message calls it.
        """

    @property
    def spent(self) -> Cost:
        """What was paid or reserved so far."""
        return Cost()

    def close(self) -> None:  # noqa: B027 - what is worked out holds nothing open
        """Let go of what is open."""


@final
@dataclass(frozen=True, eq=False)
class ExactBench(Bench):
    """The ideal circuit, worked out."""

    circuit: QNN

    def look(self, phases: FloatArray, tag: str, *, empty: bool = False) -> Seen:
        """Exact probabilities; see :meth:`Bench.look`."""
        mesh, inputs = self.circuit.mesh, self.circuit.input_modes
        p = probabilities(mesh.columns(phases, inputs), collision_free_tree(mesh.modes, len(inputs)))
        mass = p.sum(axis=1)
        return Seen(p / mass[:, None], mass)

    def check(self, jobs: Mapping[str, FloatArray], what: str) -> None:
        """Nothing is paid; see :meth:`Bench.check`."""


@final
@dataclass(frozen=True, eq=False)
class BenchTerms:
    """How a device is used.

    :param shots: of every setting.
    :param wanted: mitigation.
    :param budget: of all that is in the journal.
    """

    shots: int
    wanted: Wanted
    budget: Budget


@final
@dataclass(frozen=True, eq=False)
class DeviceBench(Bench):
    """The circuit on a device, through journal, budget and mitigation.

    :param circuit: its device is the name of the open one.
    :param file: of the journal; None for one in memory. Calibration records lie beside it.
    :raises CheckpointError: when another process holds the journal, or it is damaged.
    :raises CalibrationError: when a method that was named has no record, or the record does not fit.
    """

    circuit: QNN
    device: Device
    terms: BenchTerms
    file: Path | None = None
    _measuring: Measuring = field(init=False, repr=False)

    def __post_init__(self) -> None:
        spec, terms, file = self.device.spec, self.terms, self.file
        user = User(spec.name, spec, self.circuit.mesh.modes, self.circuit.input_modes)
        journal = Journal(file).__enter__()
        try:
            folder = None if file is None else file.with_name(f"{file.stem}-records")
            if folder is not None and folder.exists():  # what was begun with it goes on with it
                mitigation = read_records(folder, terms.wanted, [spec.name])
            else:
                mitigation = records_for([user], terms.wanted)
                if folder is not None:
                    save_records(folder, mitigation)
        except BaseException:
            journal.close()
            raise
        label = "layer" if file is None else f"{file.parent.resolve().name}/{file.stem}"
        own = Terms(label=label, budget=terms.budget, rates=spec.rates, by_tag=True)
        measuring = Measuring({spec.name: self.device}, journal=journal, terms=lambda spec: own, mitigation=mitigation)
        object.__setattr__(self, "_measuring", measuring)

    @property
    def spent(self) -> Cost:
        """All that is in the journal; see :attr:`Bench.spent`."""
        return self._measuring.journal.total()

    def look(self, phases: FloatArray, tag: str, *, empty: bool = False) -> Seen:
        """Measure all phases as one job; see :meth:`Bench.look`.

        :raises BudgetExceeded: before anything is sent that would pass a limit.
        :raises MitigationError: when a setting saw no event of all photons in different modes, unless it may.
        """
        if not len(phases):  # a batch of none, and what no phase changes
            return Seen(np.zeros((0, self.circuit.outcomes)), np.zeros(0))
        name = self.device.spec.name
        settings = [
            Measurement(name, program, f"{tag}, setting {r}") for r, program in enumerate(self._programs(phases))
        ]
        try:
            measure = self._measuring.measure_some if empty else self._measuring.measure
            found = measure(settings, shots=self.terms.shots, tag=tag)
        except BudgetExceeded as error:
            raise _said(error, tag, len(settings)) from None
        nothing = np.zeros(self.circuit.outcomes)
        p = np.stack([nothing if one is None else one.probabilities for one in found])
        return Seen(p, np.array([0.0 if one is None else _mass(one) for one in found]))

    def check(self, jobs: Mapping[str, FloatArray], what: str) -> None:
        """See :meth:`Bench.check`; what is measured already costs nothing.

        :raises BudgetExceeded: with the number of settings.
        """
        try:
            self._afford([len(phases) for phases in jobs.values()])
        except BudgetExceeded:
            missing = [sum(not self._known(p, tag) for p in self._programs(phases)) for tag, phases in jobs.items()]
            try:
                self._afford(missing)
            except BudgetExceeded as error:
                raise _said(error, what, sum(missing)) from None

    def close(self) -> None:
        """Close the journal."""
        self._measuring.journal.close()

    def _programs(self, phases: FloatArray) -> list[Program]:
        return [Program(self.circuit.mesh, vector, self.circuit.input_modes) for vector in phases]

    def _known(self, program: Program, tag: str) -> bool:
        journal, name = self._measuring.journal, self.device.spec.name
        return journal.counts(name, program.fingerprint, shots_each=self.terms.shots, tag=tag) is not None

    def _afford(self, jobs: Sequence[int]) -> None:
        """Raise :class:`BudgetExceeded` unless the budget bears so many settings, in the jobs of the device."""
        spec, cost = self.device.spec, Cost()
        for size in (size for size in jobs if size):
            one = spec.rates.cost(settings=size, shots=self.terms.shots)
            parts = 1 if spec.job_size is None else math.ceil(size / spec.job_size)
            cost += Cost(one.settings, one.shots, one.credits, parts, one.seconds)
        self.terms.budget.check(self.spent, cost)


def _mass(found: Distribution) -> float:
    """Events a shot without what mitigation takes for background: up to a factor, the probability of any outcome."""
    return found.samples / found.shots * (1.0 - (found.diagnostics.background_fraction or 0.0))


def _said(error: BudgetExceeded, what: str, settings: int) -> BudgetExceeded:
    """The error of the budget as a user of the layer may follow it."""
    if not error.key:
        return error
    beside = "" if error.key == "settings" else f", {error.asked}"
    return error.saying(
        f"{what} takes {settings:,} settings{beside}; {error.state}. Give the layer "
        f'budget={{"{error.key}": {error.need}}} or more, or use fewer phases at a time (shift_phases=), pairs, rows '
        "or shots."
    )
