"""The commands about a run's jobs: list, show, attach, forget, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..rendering.text import duration, moment
from .completion import run_folders
from .examples import examples_below
from .interrupts import stoppable
from .printing import Json, as_command, print_or_json, print_table, tell_json

if TYPE_CHECKING:
    from ..devices.job_record import JobRecord


RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run",
        help="Folder of the run, or a calibration's journal; none: the newest under runs/.",
        autocompletion=run_folders,
    ),
]


def jobs_list(
    run: RunOption = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Of every run under runs/, or under the folder of --run.")
    ] = False,
    json_: Json = False,
) -> None:
    """All jobs of a run, or of all runs; works while they go on."""
    from ..runs.jobs import list_all_jobs, list_jobs

    if all_:
        _print_jobs_of_runs(list_all_jobs(run if run is not None else Path("runs")), json_)
    else:
        _print_jobs(list_jobs(_folder(run)), json_)


def jobs_show(
    job: Annotated[str, typer.Argument(help="Name or id of the job.")], run: RunOption = None, json_: Json = False
) -> None:
    """One job with its settings."""
    from ..runs.jobs import show_job

    record, shots = show_job(_folder(run), job)
    print_or_json(_told(record, shots), _plain_record(record) | {"shots_of_settings": shots}, json_)


def jobs_attach(
    job_id: Annotated[str, typer.Argument(help="Id of the job at the provider.")],
    run: RunOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the uncertain job, if the provider does not tell.")] = None,
    json_: Json = False,
) -> None:
    """An uncertain job exists: go on with it under this id."""
    from ..runs.jobs import attach_job

    _print_jobs([attach_job(_folder(run), job_id, name=name)], json_)


def jobs_forget(
    job: Annotated[str, typer.Argument(help="Name of the job.")],
    run: RunOption = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="It exists, and will never bring its result; it is spent.")
    ] = False,
    json_: Json = False,
) -> None:
    """An uncertain job does not exist: its settings are sent again by the next resume."""
    from ..runs.jobs import forget_job

    _print_jobs([forget_job(_folder(run), job, lost=lost)], json_)


def jobs_cancel(
    job: Annotated[str | None, typer.Argument(help="Name or id of the job; none: all that are open.")] = None,
    run: RunOption = None,
    json_: Json = False,
) -> None:
    """Stop jobs at the provider; what they finished is kept."""
    from ..runs.jobs import cancel_jobs

    _print_jobs(cancel_jobs(_folder(run), job), json_)


def _folder(run: Path | None) -> Path:
    from ..runs.jobs import newest_run

    return run if run is not None else newest_run()


def _plain_record(record: JobRecord) -> dict[str, Any]:
    values = asdict(record)
    return values | {"state": record.state.value, "programs": len(record.programs)}


def _print_jobs(records: Sequence[JobRecord], json_: bool) -> None:
    if json_:
        tell_json([_plain_record(r) for r in records])
    else:
        print_table([_HEAD, *map(_row, records)])


def _print_jobs_of_runs(found: Mapping[Path, Sequence[JobRecord]], json_: bool) -> None:
    if json_:
        tell_json([{"run": str(run)} | _plain_record(r) for run, records in found.items() for r in records])
    else:
        rows = [(*_row(r), str(run)) for run, records in found.items() for r in records]
        print_table([(*own, run, name) for *own, name, run in [(*_HEAD, "run"), *rows]])  # names may be long


_HEAD = ("created", "state", "id", "settings", "shots each", "device", "name")


def _row(r: JobRecord) -> tuple[str, ...]:
    named = r.name + (f": {r.message}" if r.message else "")
    asked = f"{len(r.programs)}", f"{r.shots_each:,}"
    return moment(r.created), r.state.value, r.job_id or "-", *asked, r.device, named


def _told(record: JobRecord, shots: Sequence[int | None]) -> list[tuple[str, str]]:
    """One job, for people."""
    cost = record.cost
    took = f"{cost.settings:,} settings, {cost.shots:,} shots, {cost.credits:.6g} credits, {duration(cost.seconds)}"
    rows = [
        ("name", record.name),
        ("id", record.job_id or "none"),
        ("state", record.state.value),
        ("device", record.device),
        ("asked for", f"{len(record.programs)} settings of {record.shots_each:,} shots, {record.request}"),
        ("came", f"{sum(n is not None for n in shots)} settings, {sum(n or 0 for n in shots):,} shots"),
        ("reserved or spent", took),
        ("created", moment(record.created)),
        ("changed", moment(record.updated)),
        ("goes on from", record.replaces),
        ("message", record.message),
    ]
    return [(name, value) for name, value in rows if value]


jobs = typer.Typer(
    help="Look at the jobs of a run, and decide about uncertain ones.",
    epilog=examples_below("jobs"),
    no_args_is_help=True,
)
for _name, _command in (
    ("list", jobs_list),
    ("show", jobs_show),
    ("attach", jobs_attach),
    ("forget", jobs_forget),
    ("cancel", jobs_cancel),
):
    jobs.command(_name, epilog=examples_below(f"jobs {_name}"))(stoppable(as_command(_command)))
