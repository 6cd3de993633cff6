"""Many runs that differ in a few keys: each an ordinary run folder, done by whatever workers there are.

::

    OUT/sweep.json  OUT/generator.bond_dim=4,seed=1/  OUT/generator.bond_dim=4,seed=2/  ...  OUT/.warm/  workers.log
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

from ..errors import BudgetExceeded, ConfigError
from ..training.config import RunConfig
from ..versions import versions
from ..words import one_line
from .cell_work import Task, check_versions, work
from .cells import Cell, Over, cells_of
from .sweep_folder import CellEntry, SweepFolder, check_here
from .sweep_plan import SweepPlan, plan_cells
from .sweep_result import Sweep
from .sweep_work import Advance, Part, parts_of, worked
from .workers import Workers

if TYPE_CHECKING:
    from distributed import Client

Submit = Callable[[Task], "Future[bytes]"]
LIMITS = ("settings", "shots", "credits", "jobs", "seconds")


def sweep(
    config: RunConfig | str | Path | None,
    out: str | Path,
    *,
    over: Over = (),
    overrides: Sequence[str] = (),
    workers: int | None = None,
    scheduler: str | None = None,
    executor: Executor | None = None,
    budget: Mapping[str, float] | None = None,
    force: bool = False,
    observer: Callable[[Advance], None] | None = None,
) -> Sweep:
    """Train every combination of the values of some keys, each in a folder named by them; goes on where it stopped.

    Finished cells are skipped and equal configurations run once. A cell that fails is tried once more, and then told of
    while the others go on. Warm starts that cells have in common are done once.

    :param config: a configuration, the path of one, or of a file of cells (see :func:`~qpu_sdk.runs.cells.cells_of`).
    :param out: folder of the sweep.
    :param over: values by key, ``{"generator.bond_dim": range(1, 11), "seed": [1, 2]}``, or texts, ``["seed=1..5"]``.
    :param overrides: ``key=value`` for all cells.
    :param workers: processes of this machine, as many as it has cores unless given, with one thread of torch each.
    :param scheduler: address of a Dask scheduler whose workers do it instead; files come back as bytes.
    :param executor: any other executor, likewise.
    :param budget: limits of all cells together: settings, shots, credits, jobs, seconds.
    :param force: as of :func:`~qpu_sdk.runs.train.train`.
    :param observer: is told how far every cell is, twice a second.
    :raises ConfigError: for a key that does not exist, a value that is not allowed, no cell, a scheduler that does not
        answer or has other versions.
    :raises BudgetExceeded: when all cells together may take more; nothing has begun then.
    :raises CheckpointError: when the folder holds another sweep, or another process works on it.

    ::

        found = sweep("examples/paper.toml", "runs/chi", over={"generator.bond_dim": [4, 10], "seed": range(1, 6)})
        print(found)
    """
    cells = cells_of(config, over, overrides)
    folder = SweepFolder.of(out)
    elsewhere = _elsewhere(workers, scheduler, executor)
    if elsewhere:
        check_here(cells)
    with folder.held():
        entries = folder.begin(cells)
        left = [c for c, e in zip(cells, entries, strict=True) if not e.same_as and e.state != "done"]
        check_budget(cells, folder, budget)
        going = _Going(folder, entries, parts_of(left, folder))
        if left:
            with _submitting(workers or os.cpu_count() or 1, scheduler, executor, folder) as submit:
                worked(going.parts, submit, elsewhere=elsewhere, force=force, settled=going.settled, observer=observer)
        return Sweep.load(folder.path)


@final
@dataclass
class _Going:
    """The sweep as it advances; every change is on the disk before the next."""

    folder: SweepFolder
    entries: list[CellEntry]
    parts: list[Part] = field(default_factory=list)

    def settled(self, part: Part) -> None:
        """Write down what became of a cell, and of those that are the same."""
        for entry in self.entries:
            if part.name in (entry.name, entry.same_as):
                entry.state, entry.error = ("failed", part.error) if part.error else ("done", "")
        self.folder.save(self.entries)


def _elsewhere(workers: int | None, scheduler: str | None, executor: Executor | None) -> bool:
    """Whether others than processes of this machine do it; raises :class:`ConfigError` when several shall."""
    asked = {"workers": workers, "a scheduler": scheduler, "an executor": executor}
    if len(named := [name for name, value in asked.items() if value is not None]) > 1:
        raise ConfigError(f"a sweep is given {' and '.join(named)}. Choose one; workers are processes of this machine.")
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers do nothing. Use 1 or more.")
    return workers is None and bool(named)


@contextmanager
def _submitting(number: int, scheduler: str | None, executor: Executor | None, folder: SweepFolder) -> Iterator[Submit]:
    """How a task is handed on."""
    if executor is not None:
        yield lambda task: executor.submit(work, task)
    elif scheduler is not None:
        with _dask(scheduler) as submit:
            yield submit
    else:
        with Workers(number, log=folder.log) as pool:
            yield pool.submit


@contextmanager
def _dask(address: str) -> Iterator[Submit]:
    """A Dask scheduler as an executor, once its workers are known to have what is here."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(f"--scheduler needs Dask ({error}). Install it with: pip install distributed") from error
    try:
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}). Start one with dask scheduler, or check "
            "the address."
        ) from error
    with client:
        _check_workers(client)
        executor = client.get_executor(pure=False, retries=0)
        yield lambda task: executor.submit(work, task)


def _check_workers(client: Client) -> None:
    """Have every worker that is there say what it has; those that come later are asked with their first cell."""
    try:
        client.run(check_versions, versions())
    except ConfigError:
        raise
    except Exception as error:  # what a worker without this package raises is Dask's business
        raise ConfigError(
            f"a worker of the scheduler cannot do cells ({one_line(f'{type(error).__name__}: {error}', 200)}). Install "
            "the same versions everywhere."
        ) from error


def check_budget(cells: Sequence[Cell], folder: SweepFolder, budget: Mapping[str, float] | None) -> None:
    """Raise :class:`BudgetExceeded` when all cells together may take more than is allowed."""
    if not budget:
        return
    if unknown := sorted(set(budget) - set(LIMITS)):
        raise ConfigError(f"a sweep has no budget of {unknown[0]}. Limit {', '.join(LIMITS)}.")
    for key, limit in budget.items():
        if not limit >= 0:  # neither is a number that is none
            raise ConfigError(f"the budget of the sweep is {limit:g} {key}. Give 0 or more.")
    total = plan_cells(cells, folder, offline=False).total
    for key, limit in budget.items():
        if (need := getattr(total, key)) > limit:
            raise BudgetExceeded(
                f"all cells together may take {need:,.6g} {key}; the budget of the sweep is {limit:,.6g}. Ask for "
                f"fewer cells, or allow it: --budget {key}={need:.9g}."
            )


def plan_sweep(
    config: RunConfig | str | Path | None,
    out: str | Path,
    *,
    over: Over = (),
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> SweepPlan:
    """What a sweep will do before it does it: cells, settings, shots, credits, machine time, and time of training.

    :raises ConfigError: as of :func:`sweep`.
    :raises CheckpointError: when the folder holds another sweep, or a run.
    """
    cells, folder = cells_of(config, over, overrides), SweepFolder.of(out)
    folder.asked(cells)
    return plan_cells(cells, folder, offline=offline, timed=True)
