"""The commands train, resume and plan."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..errors import (
    AuthenticationError,
    BudgetExceeded,
    DeviceError,
    DeviceUnavailable,
    JobError,
    JobTimeout,
    MitigationError,
    QPUError,
)
from .completion import run_folders, settings
from .models import DataSource
from .printing import (
    DEVICE_OR_BUDGET,
    INTERRUPTED,
    Json,
    console,
    fail,
    message_of,
    print_rows,
    tell,
    tell_json,
    waiting,
)

if TYPE_CHECKING:
    from ..runs.folder import RunFolder
    from ..runs.run import Run
    from ..training.config import RunConfig

TensorBoardFolder = Annotated[
    Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard, which has to be installed.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")]
#: Errors that say there is no room: what was done so far is kept, and the run goes on when there is.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def train_command(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; none: the default.")] = None,
    data: DataSource = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; none: runs/<name of the configuration>, numbered if taken.")
    ] = None,
    seed: Seed = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, repeatable: generator.bond_dim=4", autocompletion=settings),
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Also train the equal-budget controls.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit what can be submitted, and exit with 4.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin though too few events are expected.")] = False,
    tensorboard: TensorBoardFolder = None,
    json_: Json = False,
) -> None:
    """Train a photonic generator and leave a model that runs without the SDK."""
    resolved = _configuration(config, None, seed, overridden(data, set_, controls))
    folder = out if out is not None else _free(Path("runs") / (config.stem if config else "default"))
    options = {"wait": not detach, "force": force, "tensorboard": tensorboard}
    _run(folder, json_, lambda runs, observer: runs.train(resolved, folder, observer=observer, **options))


def _configuration(config: Path | None, data: str | None, seed: int | None, overrides: list[str]) -> RunConfig:
    from ..training.config_file import load_config

    overrides = overridden(data, overrides, controls=False)
    return load_config(config, overrides=overrides + ([f"seed={seed}"] if seed is not None else []))


def overridden(data: str | None, set_: list[str] | None, controls: bool) -> list[str]:
    """Options as ``key=value``."""
    source = [f"data.source={json.dumps(data, ensure_ascii=False)}"] if data is not None else []
    return [*(set_ or []), *(["controls=true"] if controls else []), *source]


def _free(folder: Path) -> Path:
    """The folder, or the next one with a number that holds no run; says so when it is another."""
    from ..runs.folder import RunFolder, free_folder

    found, taken = free_folder(folder), RunFolder(folder)
    if found != folder:
        state = "a finished run" if taken.summary.is_file() else f"a run that is not finished ({taken.way_on})"
        tell(f"{folder} holds {state}; this one is {found}", err=True)
    return found


def resume_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was interrupted.", autocompletion=run_folders)],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for jobs in the cloud; otherwise exit with 4.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="budget.key=value, or other shots or rates: spsa.shots=9000; repeatable.",
            autocompletion=settings,
        ),
    ] = None,
    tensorboard: TensorBoardFolder = None,
    json_: Json = False,
) -> None:
    """Go on with an interrupted run; the result is the same, bit for bit. Nothing is run or paid twice."""
    options = {"wait": wait, "budget": list(set_ or []), "tensorboard": tensorboard}
    _run(folder, json_, lambda runs, observer: runs.resume(folder, observer=observer, **options))


def _run(folder: Path, json_: bool, work: Callable[[Any, Any], Run]) -> None:
    """Import, run with progress, print the result; a run that stopped ends with how to resume."""
    from ..runs.folder import RunFolder

    run = RunFolder(folder)
    try:
        with waiting("loading torch and perceval"):
            from ..runs import train as runs
            from ..runs.tables import summary_rows
            from .progress import Progress
        with Progress(console(), quiet=json_) as observer:
            summary = work(runs, observer).summary
    except KeyboardInterrupt:
        _stop("interrupted.", run, "Go on with", INTERRUPTED)
    except MitigationError as error:  # too few events: it says how to go on
        if not run.config.is_file():
            raise
        fail(message_of(error), INTERRUPTED)
    except JobTimeout as error:
        _stop(message_of(error), run, "Go on with", INTERRUPTED)
    except (DeviceError, JobError, BudgetExceeded) as error:
        _stop(message_of(error), run, "Then", DEVICE_OR_BUDGET)
    except (QPUError, OSError) as error:
        if not _no_room(error):
            raise
        _stop(message_of(error), run, "Make room on the disk, then", INTERRUPTED)
    if json_:
        tell_json(summary.model_dump(mode="json"))
        return
    print_rows(summary_rows(summary))
    for path, what in ((run.model, "the trained network"), (run.report, "the whole story")):
        tell(f"{path}  {what}")


def _stop(message: str, run: RunFolder, when: str, code: int) -> NoReturn:
    """End with how to go on; nothing of what was refused before it began, which cannot be resumed."""
    told = run.config.is_file() and run.way_on not in message
    # A message may end in a command, which no full stop ends.
    then = f" {when}" if message.endswith(".") else f"; {when.lower()}"
    fail(f"{message}{then}: {run.way_on}" if told else message, code)


def _no_room(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__
    return False


def plan_command(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; none: the default.")] = None,
    data: DataSource = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection; use published figures.")] = False,
    seed: Seed = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, repeatable: spsa.shots=1000000", autocompletion=settings),
    ] = None,
    records: Annotated[Path | None, typer.Option(help="Folder of calibration records to plan with.")] = None,
    json_: Json = False,
) -> None:
    """Say what a run takes before it takes it; exits with 3, or 2, when it cannot work."""
    from ..runs.plan import plan
    from ..runs.tables import plan_rows

    try:
        planned = plan(_configuration(config, data, seed, list(set_ or [])), offline=offline, records=records)
    except (AuthenticationError, DeviceUnavailable) as error:
        raise error if offline else error.saying(f"{error} Or plan with --offline.") from None
    if json_:
        tell_json(asdict(planned) | {"total": asdict(planned.total), "wall_s": planned.wall_s})
    else:
        print_rows(plan_rows(planned))
        for problem in planned.problems:
            tell(f"qpu-sdk: cannot work: {problem}", err=True)
    if planned.problems:
        raise typer.Exit(DEVICE_OR_BUDGET)
