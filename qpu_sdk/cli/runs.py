"""The command about runs: list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..rendering.text import moment
from ..words import command
from .examples import examples_below
from .interrupts import stoppable
from .printing import Json, as_command, print_table, tell, tell_json

if TYPE_CHECKING:
    from ..runs.listing import ListedRun


def runs_list(
    root: Annotated[Path, typer.Argument(help="Folder that holds runs, at any depth.")] = Path("runs"),
    json_: Json = False,
) -> None:
    """Every run under a folder: how far it is, its accuracy beside the best control, settings; the newest last."""
    from ..runs.listing import list_runs

    found = list_runs(root)
    if json_:
        tell_json([_data(run) for run in found])
    elif not found:
        tell(f"{root} holds no run. Begin one: {command('train')}")
    else:
        print_table(_table(found))


def _data(run: ListedRun) -> dict[str, Any]:
    best = None if run.best_control is None else {"name": run.best_control[0], "figure": run.best_control[1]}
    return asdict(run) | {"path": str(run.path), "best_control": best, "done": run.done}


def _table(found: Sequence[ListedRun]) -> list[tuple[str, ...]]:
    from ..runs.metric import Metric

    rows: list[tuple[str, ...]] = [
        ("changed, UTC", "test", "best control", "settings", "seed", "device", "state", "run")
    ]
    for run in found:
        told = Metric(run.metric).told
        best = "-" if run.best_control is None else f"{told(run.best_control[1])} {run.best_control[0]}"
        rows.append(
            (
                moment(run.changed)[:16],
                "-" if run.figure is None else told(run.figure),
                best,
                "-" if run.circuit_settings is None else f"{run.circuit_settings:,}",
                "-" if run.seed is None else str(run.seed),
                ", ".join(run.devices) or "-",
                run.state,
                str(run.path),
            )
        )
    return rows


runs = typer.Typer(help="Look at the runs under a folder.", epilog=examples_below("runs"), no_args_is_help=True)
runs.command("list", epilog=examples_below("runs list"))(stoppable(as_command(runs_list)))
