"""The command sweep."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import typer

from ..errors import ConfigError
from ..rendering.text import duration, number_of
from ..words import command
from .completion import settings
from .models import DataSource
from .printing import BAD_INPUT, INTERRUPTED, Json, console, fail, plain, print_rows, print_table, tell, tell_json
from .train import overridden

if TYPE_CHECKING:
    from ..runs.sweep_plan import SweepPlan
    from ..runs.sweep_result import Sweep
    from ..runs.sweep_work import Advance, WorkItem

Option = typer.Option
#: Columns that a name of a part takes at most.
_WIDEST = 48


def sweep_command(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML configuration, or a file of cells; none: the default.")
    ] = None,
    out: Annotated[Path | None, Option(help="Folder of the sweep; none: sweeps/<name of the configuration>.")] = None,
    over: Annotated[
        list[str] | None,
        Option("--over", help="key=values, repeatable: generator.bond_dim=1..10", autocompletion=settings),
    ] = None,
    data: DataSource = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="key=value of all cells, repeatable.", autocompletion=settings)
    ] = None,
    controls: Annotated[bool, Option("--controls", help="Also train the equal-budget controls of every cell.")] = False,
    workers: Annotated[int | None, Option(min=1, max=1024, help="Processes; none: as many as there are cores.")] = None,
    scheduler: Annotated[str | None, Option(help="Address of a Dask scheduler, whose workers do it.")] = None,
    budget: Annotated[list[str] | None, Option("--budget", help="Limit of all cells: credits=50; repeatable.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what it takes, and do nothing.")] = False,
    offline: Annotated[bool, Option("--offline", help="With --dry-run: open no connection.")] = False,
    force: Annotated[bool, Option("--force", help="Begin cells though too few events are expected.")] = False,
    json_: Json = False,
) -> None:
    """Train all combinations of some keys' values, each in its own folder; goes on where it stopped."""
    folder = out if out is not None else Path("sweeps") / (config.stem if config else "default")
    overrides = overridden(data, set_, controls)
    if dry_run:
        from ..runs.sweep import plan_sweep

        _show_plan(plan_sweep(config, folder, over=over or [], overrides=overrides, offline=offline), workers, json_)
        return
    from ..runs.sweep import sweep

    limits = _limits(budget or [])
    try:
        with _Progress(quiet=json_) as observer:
            found = sweep(
                config,
                folder,
                over=over or [],
                overrides=overrides,
                workers=workers,
                scheduler=scheduler,
                budget=limits,
                force=force,
                observer=observer,
            )
    except KeyboardInterrupt:
        fail(f"interrupted. What is done stays done; go on with the same command: --out {folder}", INTERRUPTED)
    _show(found, json_)


def _limits(budget: list[str]) -> dict[str, float]:
    """``key=number`` of the budget."""
    limits = {}
    for text in budget:
        key, _, value = text.partition("=")
        try:
            limits[key.strip()] = float(value)
        except ValueError:
            raise ConfigError(f"--budget {text} is not key=number. Write for example --budget credits=50.") from None
    return limits


def _show_plan(plan: SweepPlan, workers: int | None, json_: bool) -> None:
    import os

    number = max(1, min(workers or os.cpu_count() or 1, len(plan.left)))  # more have nothing to do
    training = plan.training_s
    if json_:
        cells = [
            {
                "name": cell.name,
                "settings": cell.cost.settings,
                "shots": cell.cost.shots,
                "jobs": cell.cost.jobs,
                "credits": cell.cost.credits,
                "machine_s": cell.machine_s,
                "training_s": cell.seconds,
                "done": cell.done,
                "same_as": cell.same_as,
                "problems": list(cell.problems),
            }
            for cell in plan.cells
        ]
        tell_json({"cells": cells, "credits": plan.total.credits, "training_s": training, "workers": number})
        return
    rows = [["cell", "settings", "shots", "credits", "machine time", "training", ""]]
    for cell in plan.cells:
        state = f"same as {cell.same_as}" if cell.same_as else "done" if cell.done else "; ".join(cell.problems)
        took = "" if cell.seconds is None else duration(cell.seconds)
        cost = cell.cost
        machine = duration(cell.machine_s) if cell.machine_s else ""
        rows.append([cell.name, f"{cost.settings:,}", f"{cost.shots:.3g}", f"{cost.credits:.6g}", machine, took, state])
    print_table(rows)
    total, left = plan.total, len(plan.left)
    print_rows(
        [
            ("cells", f"{len(plan.cells)}, of which {left} are to be done"),
            ("together", f"{total.settings:,} settings, {total.shots:.3g} shots, {total.credits:.6g} credits at most"),
            ("machine time", duration(sum(cell.machine_s for cell in plan.left))),
            (
                "training",
                "" if training is None else f"about {duration(training / number)} with {number_of(number, 'worker')}",
            ),
        ]
    )


def _show(found: Sweep, json_: bool) -> None:
    if json_:
        tell_json(
            [
                {
                    "name": cell.name,
                    "values": dict(cell.values),
                    "folder": str(cell.path),
                    "error": cell.error,
                    "summary": None if cell.summary is None else cell.summary.model_dump(mode="json"),
                }
                for cell in found.cells
            ]
        )
    else:
        print_table(found.rows())
        tell(f"{found.path}  {number_of(len(found.cells), 'cell')}; a page of them: {command('report', found.path)}")
    if failed := found.failed:
        lines = [f"{cell.name}: {cell.error}" for cell in failed]
        fail(f"{number_of(len(failed), 'cell')} failed twice; the others are done. {' | '.join(lines)}", BAD_INPUT)


def _cut(name: str, width: int) -> str:
    """A name in so many columns; its end is what tells cells apart.

    >>> _cut("generator.bond_dim=4,seed=12", 16)
    'gener…=4,seed=12'
    """
    if len(name) <= width:
        return name
    head = width // 3
    return f"{name[:head]}…{name[len(name) - (width - head - 1) :]}"


@final
class _Progress:
    """A line of every running cell and one of all; on what is no terminal, a line of every cell that ended."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._console, self._quiet = console(), quiet
        self._live = not quiet and self._console.is_terminal
        width = max(12, min(_WIDEST, self._console.width - 40))
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[told]}", markup=False),
            console=self._console,
            disable=not self._live,
        )
        self._width, self._begun = width, time.monotonic()
        self._tasks: dict[str, Any] = {}
        self._all = self._bars.add_task("all cells", total=1.0, told="")

    def __enter__(self) -> Callable[[Advance], None]:
        self._bars.start()
        return self._advanced

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _advanced(self, advance: Advance) -> None:
        for part in advance.settled:
            self._ended(part, advance)
        if not self._live:
            return
        for part in advance.running:
            self._show(part)
        for name in [name for name in self._tasks if name not in {part.name for part in advance.running}]:
            self._bars.remove_task(self._tasks.pop(name))
        done, cells = advance.cells
        left = "" if (s := self._left(advance)) is None else f", {duration(s)} left"
        self._bars.update(self._all, completed=advance.share, told=f"{done} of {cells}{left}")

    def _show(self, part: WorkItem) -> None:
        done, units = part.progress
        if part.name not in self._tasks:
            self._tasks[part.name] = self._bars.add_task(
                _cut(plain(part.name).plain, self._width), total=units, told=""
            )
        self._bars.update(self._tasks[part.name], completed=done, told=part.stage)

    def _left(self, advance: Advance) -> float | None:
        """Seconds, as fast as it went so far."""
        share, so_far = advance.share, time.monotonic() - self._begun
        return so_far * (1.0 - share) / share if share > 0.005 else None

    def _ended(self, part: WorkItem, advance: Advance) -> None:
        if self._quiet:
            return
        done, cells = advance.cells
        what = f"failed: {part.error}" if part.error else "done"
        self._console.print(plain(f"{done} of {cells}  {part.name}  {what}"), soft_wrap=True)
