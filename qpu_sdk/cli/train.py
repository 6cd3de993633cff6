"""The commands train, resume and plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BudgetExceeded, DeviceError, JobError, JobTimeout, MitigationError
from .models import DataSource
from .printing import DEVICE_OR_BUDGET, INTERRUPTED, Json, console, fail, message_of, one_line_errors, print_rows

if TYPE_CHECKING:
    from ..runs.run import Run


def train_command(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; none: the default.")] = None,
    data: DataSource = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; none: runs/<name of the configuration>.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable: generator.bond_dim=4")] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Also train the equal-budget controls.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit what can be submitted, and exit with 4.")] = False,
    json_: Json = False,
) -> None:
    """Train a photonic generator and leave a model that runs without the SDK."""
    from ..training.config_file import load_config

    overrides = list(set_ or [])
    overrides += [f"data.source={json.dumps(data)}"] if data is not None else []
    overrides += [f"seed={seed}"] if seed is not None else []
    overrides += ["controls=true"] if controls else []
    with one_line_errors():
        resolved = load_config(config, overrides=overrides)
        folder = out if out is not None else Path("runs") / (config.stem if config else "default")
        _run(folder, json_, lambda runs, observer: runs.train(resolved, folder, observer=observer, wait=not detach))


def resume_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was interrupted.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for jobs in the cloud; otherwise exit with 4.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="budget.key=value, or other shots: spsa.shots=9000; repeatable."),
    ] = None,
    json_: Json = False,
) -> None:
    """Go on with an interrupted run; the result is the same, bit for bit. Nothing is run or paid twice."""
    with one_line_errors():
        budget = list(set_ or [])
        _run(folder, json_, lambda runs, observer: runs.resume(folder, observer=observer, wait=wait, budget=budget))


def _run(folder: Path, json_: bool, work: Callable[[Any, Any], Run]) -> None:
    """Import, run with progress, print the result; a run that stopped ends with how to resume."""
    terminal = console()
    try:
        with terminal.status("loading torch and perceval"):
            from ..runs import train as runs
            from ..runs.tables import summary_rows
            from .progress import Progress
        with Progress(terminal, quiet=json_) as observer:
            summary = work(runs, observer).summary
    except KeyboardInterrupt:
        begun = (folder / "config.toml").is_file()  # what had not begun cannot be resumed
        fail(f"interrupted. Go on with: qpu-sdk resume {folder}" if begun else "interrupted", INTERRUPTED)
    except MitigationError as error:  # too few events: it says how to go on
        fail(message_of(error), INTERRUPTED)
    except JobTimeout as error:
        fail(f"{message_of(error)} Go on with: qpu-sdk resume {folder}", INTERRUPTED)
    except (DeviceError, JobError, BudgetExceeded) as error:
        begun = (folder / "config.toml").is_file()  # what was refused before it began cannot be resumed
        fail(f"{message_of(error)}{f' Then: qpu-sdk resume {folder}' if begun else ''}", DEVICE_OR_BUDGET)
    if json_:
        typer.echo(summary.model_dump_json())
        return
    print_rows(summary_rows(summary))
    for name, what in (("model.safetensors", "the trained network"), ("report.html", "the whole story")):
        typer.echo(f"{folder / name}  {what}")


def plan_command(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; none: the default.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection; use published figures.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable: spsa.shots=1000000")] = None,
    records: Annotated[Path | None, typer.Option(help="Folder of calibration records to plan with.")] = None,
    json_: Json = False,
) -> None:
    """Say what a run takes before it takes it; exits with 3 when it cannot work."""
    with one_line_errors():
        from ..runs.plan import plan
        from ..runs.tables import plan_rows
        from ..training.config_file import load_config

        resolved = load_config(config, overrides=list(set_ or []))
        planned = plan(resolved, offline=offline, records=records)
        if json_:
            typer.echo(json.dumps(asdict(planned) | {"total": asdict(planned.total), "wall_s": planned.wall_s}))
        else:
            print_rows(plan_rows(planned))
            for problem in planned.problems:
                typer.echo(f"qpu-sdk: cannot work: {problem}", err=True)
        if planned.problems:
            raise typer.Exit(DEVICE_OR_BUDGET)
