"""The commands about a run's jobs: list, show, attach, forget, cancel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .printing import Json, one_line_errors, show_values

if TYPE_CHECKING:
    from ..devices.job_record import JobRecord


jobs = typer.Typer(help="Look at the jobs of a run, and decide about uncertain ones.", no_args_is_help=True)

RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of the run, or a calibration's journal; none: the newest under runs/."),
]


@jobs.command("list")
def jobs_list(run: RunOption = None, json_: Json = False) -> None:
    """All jobs of a run; works while it goes on."""
    with one_line_errors():
        from ..runs.jobs import list_jobs

        _print_jobs(list_jobs(_folder(run)), json_)


@jobs.command("show")
def jobs_show(
    job: Annotated[str, typer.Argument(help="Name or id of the job.")], run: RunOption = None, json_: Json = False
) -> None:
    """One job with its settings."""
    with one_line_errors():
        from ..runs.jobs import show_job

        record, shots = show_job(_folder(run), job)
        values = _plain_record(record) | {"shots_of_settings": shots}
        show_values(values, json_)


@jobs.command("attach")
def jobs_attach(
    job_id: Annotated[str, typer.Argument(help="Id of the job at the provider.")],
    run: RunOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the uncertain job, if the provider does not tell.")] = None,
    json_: Json = False,
) -> None:
    """An uncertain job exists: go on with it under this id."""
    with one_line_errors():
        from ..runs.jobs import attach_job

        _print_jobs([attach_job(_folder(run), job_id, name=name)], json_)


@jobs.command("forget")
def jobs_forget(
    job: Annotated[str, typer.Argument(help="Name of the job.")],
    run: RunOption = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="It exists, and will never bring its result; it is spent.")
    ] = False,
    json_: Json = False,
) -> None:
    """An uncertain job does not exist: its settings are sent again by the next resume."""
    with one_line_errors():
        from ..runs.jobs import forget_job

        _print_jobs([forget_job(_folder(run), job, lost=lost)], json_)


@jobs.command("cancel")
def jobs_cancel(
    job: Annotated[str | None, typer.Argument(help="Name or id of the job; none: all that are open.")] = None,
    run: RunOption = None,
    json_: Json = False,
) -> None:
    """Stop jobs at the provider; what they finished is kept."""
    with one_line_errors():
        from ..runs.jobs import cancel_jobs

        _print_jobs(cancel_jobs(_folder(run), job), json_)


def _folder(run: Path | None) -> Path:
    from ..files import user_path
    from ..runs.jobs import newest_run

    return user_path(run, "--run") if run is not None else newest_run()


def _plain_record(record: JobRecord) -> dict[str, Any]:
    values = asdict(record)
    return values | {"state": record.state.value, "programs": len(record.programs)}


def _print_jobs(records: Sequence[JobRecord], json_: bool) -> None:
    if json_:
        typer.echo(json.dumps([_plain_record(r) for r in records]))
        return
    for r in records:
        what = f"{len(r.programs)} settings of {r.shots_each:,} shots on {r.device}"
        message = f"  {r.message}" if r.message else ""
        typer.echo(f"{r.created[:19]}  {r.state.value:<17}  {r.job_id or '-'}  {r.name}  {what}{message}")
