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

from ..arrays import real, whole
from ..errors import BudgetExceeded, ConfigError
from ..training.config import RunConfig
from ..versions import versions
from ..words import one_line, short
from .cell_work import Task, check_versions, work
from .cells import Cell, Over, cells_of
from .sweep_folder import CellEntry, SweepFolder, check_here
from .sweep_plan import SweepPlan, plan_cells
from .sweep_result import Sweep
from .sweep_work import Advance, WorkItem, parts_of, worked
from .workers import Workers

if TYPE_CHECKING:
    from distributed import Client

Submit = Callable[[Task], "Future[bytes]"]
_LIMITS = ("settings", "shots", "credits", "jobs", "seconds")
#: More processes than any machine has cores.
MOST_WORKERS = 1024


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
    return sweep_cells(
        cells_of(config, over, overrides),
        out,
        workers=workers,
        scheduler=scheduler,
        executor=executor,
        budget=budget,
        force=force,
        observer=observer,
    )


def sweep_cells(
    cells: Sequence[Cell],
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    executor: Executor | None = None,
    budget: Mapping[str, float] | None = None,
    force: bool = False,
    observer: Callable[[Advance], None] | None = None,
) -> Sweep:
    """:func:`sweep` of cells that were made, and perhaps chosen, before: see :func:`~qpu_sdk.runs.cells.cells_of`."""
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
            with _submitting(worker_count(workers), scheduler, executor, folder) as submit:
                worked(going.parts, submit, elsewhere=elsewhere, force=force, settled=going.settled, observer=observer)
        return Sweep.load(folder.path)


@final
@dataclass
class _Going:
    """The sweep as it advances; every change is on the disk before the next."""

    folder: SweepFolder
    entries: list[CellEntry]
    parts: list[WorkItem] = field(default_factory=list)

    def settled(self, part: WorkItem) -> None:
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
    worker_count(workers)
    return workers is None and bool(named)


def worker_count(workers: object) -> int:
    """Processes of this machine; raises :class:`ConfigError` for what is no whole number from 1 to 1024."""
    if workers is None:
        return os.cpu_count() or 1
    return whole(workers, "workers", ConfigError, least=1, most=MOST_WORKERS)


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
    """Raise :class:`BudgetExceeded` when all cells together may take more than is allowed.

    :raises ConfigError: for a budget that is none.
    """
    limits = limits_of(budget or {})
    if not limits:
        return
    total = plan_cells(cells, folder, offline=False).total
    for key, limit in limits.items():
        if (need := getattr(total, key)) > limit:
            raise BudgetExceeded(
                f"all cells together may take {need:,.6g} {key}; the budget of the sweep is {limit:,.6g}. Ask for "
                f"fewer cells, or allow it: --budget {key}={need:.9g}."
            )


def limits_of(budget: Mapping[str, object]) -> dict[str, float]:
    """Limits by what they limit; raises :class:`ConfigError` for what no sweep takes, and for what is no number.

    >>> limits_of({"credits": 50})
    {'credits': 50.0}
    """
    if unknown := sorted(set(map(str, budget)) - set(_LIMITS)):
        raise ConfigError(f"a sweep has no budget of {short(unknown[0])}. Limit {', '.join(_LIMITS)}.")
    return {key: real(value, f"the sweep's budget of {key}", ConfigError, least=0.0) for key, value in budget.items()}


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
