"""The jobs of a run, looked at and decided on by a person: list, show, attach, forget, cancel.

A calibration in progress has a journal but no folder of its own: its journal's file stands for the folder.
"""

from __future__ import annotations

from pathlib import Path

from ..devices.base import Device
from ..devices.job_record import JobRecord, JobState
from ..devices.journal import Journal
from ..devices.registry import open_device
from ..errors import CheckpointError, DeviceUnavailable
from ..training.config_file import load_config
from ..words import command
from .folder import RunFolder
from .gathered import Unread, runs_in
from .opened import open_devices


def newest_run(root: str | Path = "runs") -> Path:
    """The run under ``root`` whose journal changed last.

    :raises CheckpointError: when there is none.
    """
    found = sorted(Path(root).glob("*/journal.sqlite"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CheckpointError(f"no run under {root} has a journal. Name the folder of one with --run DIR.")
    return found[-1].parent


def list_jobs(folder: Path) -> list[JobRecord]:
    """All jobs of a run in the order of their intents; works while the run goes on."""
    with _journal(folder, write=False) as journal:
        return journal.jobs()


def list_all_jobs(root: Path) -> dict[Path, list[JobRecord]]:
    """All jobs of every run under a folder that has any, by the run's folder; works while the runs go on.

    :raises CheckpointError: when no run there has a journal.
    """
    closed: list[Unread] = []
    folders = [path for path in runs_in(root, set(), closed) if RunFolder(path).journal.is_file()]
    if not folders:
        raise CheckpointError(f"no run under {root} has a journal. Name the folder that holds runs with --run DIR.")
    return {folder: jobs for folder in folders if (jobs := list_jobs(folder))}


def show_job(folder: Path, key: str) -> tuple[JobRecord, list[int | None]]:
    """One job, by its name or id, and the shots that came for each of its settings (``None``: no counts)."""
    with _journal(folder, write=False) as journal:
        record = journal.job(key)
        return record, [None if counts is None else counts.shots for counts in journal.of_job(record.name)]


def attach_job(folder: Path, job_id: str, *, name: str | None = None) -> JobRecord:
    """Say that an uncertain job exists under this id; the provider is asked whether the name fits.

    :param name: of the uncertain job, needed only when the provider does not tell names.
    :raises CheckpointError: when no uncertain job has that name.
    :raises DeviceUnavailable: when the provider knows no such job.
    """
    with _journal(folder) as journal:
        waiting = [r for r in journal.jobs() if r.state is JobState.UNCERTAIN and name in (None, r.name)]
        if not waiting:
            raise CheckpointError(f"{folder} has no uncertain job{f' {name}' if name else ''}. See: {_listing(folder)}")
        owner = next((r for r in journal.jobs() if job_id and r.job_id == job_id), None)
        if owner is not None:
            raise CheckpointError(f"job {job_id} is {owner.name} already. See: {_listing(folder)}")
        record = _named(folder, waiting, job_id, name)
        journal.accepted(record.name, job_id)
        return journal.job(record.name)


def _named(folder: Path, waiting: list[JobRecord], job_id: str, name: str | None) -> JobRecord:
    devices = _devices(folder)
    told: set[str] = set()
    for record in waiting:
        device = devices.get(record.device)
        try:
            found = device.name_of(job_id) if device is not None else None
        except DeviceUnavailable:
            if len(devices) == 1:
                raise
            continue  # the job may be another provider's
        if found == record.name or (found is None and name == record.name):
            return record
        told |= {found} if found else set()
    if told:
        raise CheckpointError(f"job {job_id} is {sorted(told)[0]}, which is no uncertain job of {folder}.")
    raise CheckpointError(
        f"the provider does not tell the name of job {job_id}. Name the uncertain job too: --name {waiting[0].name}."
    )


def forget_job(folder: Path, key: str, *, lost: bool = False) -> JobRecord:
    """Say that an uncertain job was never created: its settings are sent again by the next resume.

    :param lost: True to give up a job that exists and will never bring its result, for example because the provider
        does not know it any more, or one that is done and brought nothing of use; it counts as spent, its counts are
        used no more, and its settings are sent again.
    :raises CheckpointError: when the job is not uncertain, or with ``lost`` neither open nor done.
    """
    with _journal(folder) as journal:
        record = journal.job(key)
        if lost and record.state in (JobState.SUBMITTED, JobState.RUNNING, JobState.UNCERTAIN):
            journal.settle(record.name, JobState.FAILED, record.cost, "given up: a person says that it brings nothing")
        elif lost and record.state is JobState.DONE:
            journal.drop(record.name, "given up: a person says that its counts are of no use")
        elif record.state is JobState.UNCERTAIN:
            journal.move(record.name, JobState.REFUSED, "forgotten: a person says that it was never created")
        else:
            raise CheckpointError(
                f"job {record.name} is {record.state.value}; only an uncertain job can be forgotten, and with --lost "
                "one that is open or done."
            )
        return journal.job(record.name)


def cancel_jobs(folder: Path, key: str | None = None) -> list[JobRecord]:
    """Ask the provider to stop one job, or all that are open; what they finished is kept.

    A run that waits for them stops, and sends what is missing when it is resumed.

    :raises CheckpointError: when no job is open at a provider.
    :raises DeviceUnavailable: when a device of theirs is no more in the configuration.
    """
    with _journal(folder, write=False) as journal:
        records = [journal.job(key)] if key is not None else journal.jobs()
    records = [r for r in records if r.durable and r.job_id and r.state.open]
    if not records:
        raise CheckpointError(f"{folder} has no job that could be cancelled. See: {_listing(folder)}")
    devices = _devices(folder)
    for record in records:
        device = devices.get(record.device)
        if device is None or not device.spec.durable:
            raise DeviceUnavailable(f"{record.device} is no device of this run any more. Restore its config.toml.")
        with Journal(_journal(folder).path, hold=False, create=False) as journal:
            journal.stop(record.name)  # first: the run must know before it sees the job end
        device.stop(record.job_id)
    return records


def _listing(folder: Path) -> str:
    return command("jobs", "list", "--run", folder)


def _journal(folder: Path, *, write: bool = True) -> Journal:
    path = folder if folder.is_file() else RunFolder(folder).journal
    if not path.is_file() or not path.stat().st_size:  # an empty file is anybody's, and not to be written to
        raise CheckpointError(f"{folder} has no journal. Name the folder of a run with --run DIR.")
    return Journal(path, write=write, create=False)


def _devices(folder: Path) -> dict[str, Device]:
    """Devices of the run by the name that its journal uses."""
    if folder.is_file():  # of a calibration, which has no configuration: the names in it are device strings
        with Journal(folder, write=False) as journal:
            names = {record.device for record in journal.jobs() if record.durable}
        return {name: open_device(name, seed=0) for name in names}
    config = load_config(RunFolder(folder).config)
    with _journal(folder, write=False) as journal:
        waiting = {record.device for record in journal.jobs() if record.durable}
    opened = open_devices(config.device_names, seed=config.seed, waiting=waiting)
    return {device.spec.name: device for device in opened.values()}
