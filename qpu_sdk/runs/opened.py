"""Everything a run needs, opened and checked before its folder is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from ..devices.address import DeviceAddress
from ..devices.base import Device
from ..devices.journal import Journal
from ..devices.registry import open_device, without_platform
from ..errors import DeviceUnavailable, DeviceUnreachable
from ..export.structure import Structure, describe
from ..layer.estimator import Mitigation
from ..layer.measuring import QNN
from ..photonics.program import Program
from ..seeds import child_seed
from ..training.config import RunConfig
from ..training.data import Dataset
from ..training.factories import plain_torch
from ..training.loop import Training, TrainingState
from ..training.qnn import QNNBank, qnns_of
from ..training.schedule import Schedule
from ..training.targets import BUILT_IN
from .feasible import check_rebuilds, open_parts
from .folder import RunFolder
from .given import Given
from .records import resolve

#: Everything is what the configuration names.
NOTHING_GIVEN = Given()


@final
@dataclass(frozen=True, eq=False)
class Opened:
    """Everything a run needs, open and checked.

    :param state: where it goes on.
    :param structure: of a network that no file can name, as far as it is made of ``torch.nn``'s layers.
    """

    folder: RunFolder
    config: RunConfig
    dataset: Dataset
    training: Training
    state: TrainingState
    journal: Journal
    devices: Mapping[str, Device]
    structure: Structure | None

    @property
    def mitigation(self) -> Mitigation:
        """How counts become distributions."""
        return self.training.bank.mitigation


def open_run(
    folder: RunFolder,
    config: RunConfig,
    *,
    wait: bool,
    given: Given = NOTHING_GIVEN,
    mitigation: Mitigation | None = None,
    state: TrainingState | None = None,
) -> Opened:
    """Open everything; a run that has done all its units opens no device.

    :param given: a network and images that were passed as objects.
    :param mitigation: of a run that goes on; None for a new one.
    :param state: where it goes on; None for its beginning. Jobs that it waits for are fetched whatever became of their
        platform, so that the limits of one are only looked at where something is sent.
    :raises BudgetExceeded: when the run does not fit its budget.
    :raises ProgramError: when a device cannot run its circuits.
    """
    schedule = Schedule.of(config)
    schedule.check(config.budget)  # before anything is loaded: it costs nothing to find out
    target, dataset, generator = open_parts(config, given)
    finished = state is not None and state.done == len(schedule.units)
    new = mitigation is None
    journal = Journal(folder.journal, create=new)  # not entered yet: the folder is made when all is checked
    waiting = set() if new else waiting_devices(folder)
    devices = {} if finished else open_devices(config.device_names, seed=config.seed, waiting=waiting)
    if new:
        _check_devices(qnns_of(config), schedule, devices)
    mitigation = mitigation if mitigation is not None else resolve(config, devices)
    label, timeout_s = folder.path.resolve().name, None if wait else 0.0
    bank = QNNBank.of(config, devices, journal=journal, label=label, mitigation=mitigation, timeout_s=timeout_s)
    training = Training.of(config, schedule, dataset=dataset, target=target, generator=generator, bank=bank)
    check_rebuilds(config, given, target, dataset)
    state = state if state is not None else training.init()
    structure = None if config.target.factory in BUILT_IN else describe(target.module)  # a name is enough then
    return Opened(folder, config, dataset, training, state, journal, devices, structure)


def _check_devices(qnns: Sequence[QNN], schedule: Schedule, devices: Mapping[str, Device]) -> None:
    """Raise :class:`ProgramError` when a device cannot run its circuits with the shots of some unit."""
    shots = max(unit.shots for unit in schedule.units)
    for qnn in qnns:
        if qnn.device in devices:
            program = Program(qnn.mesh, np.zeros(qnn.mesh.declared), qnn.input_modes)
            devices[qnn.device].spec.check([program], shots=shots)


def waiting_devices(folder: RunFolder) -> set[str]:
    """Names of the devices that have jobs of the run, which may still bring counts."""
    if not folder.journal.is_file():
        return set()
    with Journal(folder.journal, write=False) as journal:
        return {job.device for job in journal.jobs() if job.durable and job.job_id and job.state.open}


def open_devices(names: Sequence[str], *, seed: int, waiting: Set[str] = frozenset()) -> dict[str, Device]:
    """The devices of a run by their strings, each with a seed of its own, whatever folder its files are in.

    :param waiting: names of those whose jobs are fetched even if their platform is gone.
    """
    devices: dict[str, Device] = {}
    seen: Counter[str] = Counter()
    for name in names:
        label = DeviceAddress.parse(name).without_places
        seen[label] += 1
        label = label if seen[label] == 1 else f"{label} {seen[label]}"  # two records are two devices
        devices[name] = _opened(name, seed=child_seed(seed, "device", label), waiting=waiting)
    return devices


def _opened(name: str, *, seed: int, waiting: Set[str]) -> Device:
    try:
        return open_device(name, seed=seed)
    except DeviceUnreachable:
        raise
    except DeviceUnavailable as error:
        device = without_platform(name, why=str(error))
        if device is None or device.spec.name not in waiting:
            raise
        return device


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Torch as it is when it is imported, with that many threads, ``None``: as many as now.

    Sums are only bit-identical at equal numbers.
    """
    with plain_torch():
        torch.set_num_threads(number or torch.get_num_threads())
        yield
