"""Everything a run needs, opened and checked before its folder is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from ..devices.base import Device
from ..devices.journal import Journal
from ..devices.registry import open_device
from ..generator.mps import Generator, LeanMPSGenerator, MPSGenerator
from ..photonics.program import Program
from ..seeds import child_seed
from ..training.config import RunConfig
from ..training.data import Dataset, load_dataset
from ..training.estimator import Mitigation
from ..training.loop import Training
from ..training.qnn import QNNBank, qnns_of
from ..training.schedule import check_budget, device_names, schedule, unit_settings
from ..training.targets import Target, load_target
from .folder import RunFolder
from .records import resolve


@final
@dataclass(frozen=True, eq=False)
class Opened:
    """Everything a run needs, open and checked."""

    dataset: Dataset
    target: Target
    training: Training
    journal: Journal
    devices: Mapping[str, Device]


def open_run(
    folder: RunFolder, config: RunConfig, *, wait: bool, measure: bool = True, mitigation: Mitigation | None = None
) -> Opened:
    """Open everything; ``mitigation`` is that of a run that goes on, None for a new one."""
    check_budget(config)
    target = load_target(config.target.factory, seed=child_seed(config.seed, "target"))
    dataset = load_dataset(config.data, seed=config.data_seed)
    journal, devices = Journal(folder.journal), open_devices(config) if measure else {}
    _check_devices(config, devices)
    label, timeout_s = folder.path.resolve().name, None if wait else 0.0
    mitigation = mitigation if mitigation is not None else resolve(config, devices)
    bank = QNNBank.of(config, devices, journal=journal, label=label, mitigation=mitigation, timeout_s=timeout_s)
    training = Training(config, dataset=dataset, target=target, generator=open_generator(config, target), bank=bank)
    return Opened(dataset, target, training, journal, devices)


def _check_devices(config: RunConfig, devices: Mapping[str, Device]) -> None:
    """Raise :class:`ProgramError` when a device cannot run its circuits with the shots of some unit."""
    shots = max(shots for _, shots in (unit_settings(config, unit) for unit in schedule(config)))
    for qnn in qnns_of(config):
        if qnn.device in devices:
            program = Program(qnn.mesh, np.zeros(qnn.mesh.declared), qnn.input_modes)
            devices[qnn.device].spec.check([program], shots=shots)


def open_devices(config: RunConfig) -> dict[str, Device]:
    """The devices that a configuration names, by their strings."""
    return {name: open_device(name, seed=child_seed(config.seed, "device", name)) for name in device_names(config)}


def open_generator(config: RunConfig, target: Target) -> Generator:
    """The untrained generator of a run."""
    g = config.generator
    seed = child_seed(config.seed, "generator")
    if g.kind == "paper":
        std = 1e-9 if g.init_std is None else g.init_std
        return MPSGenerator(target.size, g.bond_dim, seed=seed, init_std=std)
    return LeanMPSGenerator(target.size, g.bond_dim, seed=seed, init_std=0.01 if g.init_std is None else g.init_std)


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Use that many torch threads, ``None``: as many as now; sums are only bit-identical at equal numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
