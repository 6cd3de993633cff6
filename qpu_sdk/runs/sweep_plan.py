"""What a sweep takes before it takes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from ..devices.budget import Cost
from ..training.batches import Batches
from ..training.config import RunConfig
from ..training.control_names import chosen_controls
from ..training.fit import Fitter
from ..training.losses import open_loss
from ..training.schedule import Schedule
from .cells import Cell
from .device_figures import Figures, device_figures
from .feasible import open_parts
from .given import Given
from .opened import torch_threads
from .plan import plan_run
from .summary import read_summary
from .sweep_folder import SweepFolder
from .warm_start import warm_config

#: Steps that are timed, after as many that are not.
_STEPS = 5


@final
@dataclass(frozen=True)
class CellPlan:
    """What one cell takes.

    :param cost: at most; of one that is done, what it took.
    :param epochs: passes over its training images that are left, those of its controls included, without those of a
        warm start that another cell has.
    :param seconds: of training on one thread; None where they were not timed.
    :param same_as: the cell with an equal configuration, which is not done again.
    :param problems: what stands in its way.
    """

    name: str
    cost: Cost
    machine_s: float
    epochs: int
    seconds: float | None
    done: bool
    same_as: str
    problems: tuple[str, ...]


@final
@dataclass(frozen=True)
class SweepPlan:
    """What a sweep takes; cells that are done, or are others', are not counted as work."""

    cells: tuple[CellPlan, ...]

    @property
    def total(self) -> Cost:
        """Over all cells, those that are done included."""
        return sum((cell.cost for cell in self.cells if not cell.same_as), Cost())

    @property
    def left(self) -> tuple[CellPlan, ...]:
        """Cells to be done."""
        return tuple(cell for cell in self.cells if not cell.done and not cell.same_as)

    @property
    def training_s(self) -> float | None:
        """Seconds of training of all that are left, on one thread after another; None where nothing was timed."""
        seconds = [cell.seconds for cell in self.left]
        return None if any(s is None for s in seconds) else sum(s for s in seconds if s is not None)


def plan_cells(cells: Sequence[Cell], folder: SweepFolder, *, offline: bool, timed: bool = False) -> SweepPlan:
    """Work out what cells take.

    :param folder: where some may be done already.
    :param offline: True to use published figures only and open no connection.
    :param timed: True to time some steps of training, of each kind of cell.
    """
    figures: dict[str, Figures] = {}
    speeds: dict[str, float] = {}
    warm: set[str] = set()
    first: dict[str, str] = {}
    plans = []
    for cell in cells:
        same = first.setdefault(cell.identity, cell.name)
        summary = folder.run(same).summary
        planned = plan_run(cell.config, _figures(cell.config, figures, offline))
        cost, done = planned.total, summary.is_file()
        if done:
            found = read_summary(summary)
            cost = Cost(found.circuit_settings, found.shots, found.credits, found.jobs, found.machine_s)
        epochs = 0 if done else _epochs(cell.config, warm, folder)
        seconds = epochs * _epoch_s(cell.config, speeds) if timed and not done else None
        other = "" if same == cell.name else same
        plans.append(CellPlan(cell.name, cost, planned.wall_s, epochs, seconds, done, other, planned.problems))
    return SweepPlan(tuple(plans))


def _figures(config: RunConfig, known: dict[str, Figures], offline: bool) -> dict[str, Figures]:
    """Of the devices of a cell, each asked once for all cells with the same record and prices."""
    for name in config.device_names:
        if (key := _asked(config, name)) not in known:
            known[key] = device_figures(config, name, offline=offline, records=None)
    return {name: known[_asked(config, name)] for name in config.device_names}


def _asked(config: RunConfig, name: str) -> str:
    """What the figures of a device depend on."""
    return repr((name, config.mitigation.record, config.budget))


def _epochs(config: RunConfig, warm: set[str], folder: SweepFolder) -> int:
    """Passes over the training images: each control takes about as many as the run."""
    schedule, shared = Schedule.of(config), 0
    if schedule.exact_epochs:
        identity = warm_config(config).fingerprint
        shared = schedule.exact_epochs if identity in warm or folder.warm(identity).is_dir() else 0
        warm.add(identity)
    return schedule.total_epochs * (1 + len(chosen_controls(config.controls))) - shared


def _epoch_s(config: RunConfig, known: dict[str, float]) -> float:
    """Seconds of an epoch, timed for each kind of images, target, generator and optimiser once."""
    kind = config.model_copy(update={"seed": 0, "controls": False})
    t = kind.training
    key = repr((kind.data, kind.target, kind.generator, t.batch_size, t.optimiser, [q.mesh for q in kind.qnn]))
    if key not in known:
        known[key] = _timed(config)
    return known[key]


def _timed(config: RunConfig) -> float:
    with torch_threads(1):
        target, dataset, generator = open_parts(config, Given())
        batches = Batches.of(dataset, seed=config.seed)
        steps = -(-len(batches.labels) // config.training.batch_size)
        fitter = Fitter(generator, target, config.training, 1, steps, seed=0, loss=open_loss(config.training))
        state, p = fitter.init(seed=config.seed), torch.ones(max(1, generator.outcomes_needed))
        images, labels = next(batches.epoch(0, config.training.batch_size))
        begun = 0.0
        for step in range(2 * _STEPS):
            begun = time.perf_counter() if step == _STEPS else begun  # the first ones warm caches up
            fitter.step_(state, p, images, labels)
        return (time.perf_counter() - begun) / _STEPS * steps
