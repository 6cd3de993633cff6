"""A journal that lives until its work has a result: what was interrupted goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DataError, QPUError, SubmissionUncertain
from .base import Device
from .job_record import JobState
from .journal import Journal


@contextmanager
def pending_journal(device: Device | None, folder: Path, work: str, asked: object) -> Iterator[Journal]:
    """The journal of a piece of work, beside its results-to-be; gone when the work is done, so nothing is paid twice.

    After an error it stays where a provider has jobs of it; what only this process measured is gone with the error.

    :param device: closed at the end, unless a job of it goes on; None for one that is the caller's to close.
    :param work: what is done, in a word: first part of the file's name.
    :param asked: all that decides what is measured; whoever asks for the same finds the same journal, by its ``repr``.
    :raises DataError: when the folder cannot be made.
    :raises SubmissionUncertain: of the work, with the journal's place.

    >>> import tempfile
    >>> from qpu_sdk.devices.local import LocalDevice
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with pending_journal(LocalDevice(seed=1), Path(folder), "count", (4, 2)) as journal:
    ...         journal.total().settings, [path.suffix for path in Path(folder).glob(".count-*.sqlite")]
    ...     list(Path(folder).iterdir())
    (0, ['.sqlite'])
    []
    """
    path, missing = folder / f".{work}-{hashlib.sha256(repr(asked).encode()).hexdigest()[:16]}.sqlite", _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder} ({error.strerror or error}). Choose another place.") from error
    gone = False
    try:
        with Journal(path) as journal:
            try:
                yield journal
                gone, missing = True, []  # the folder is for the result
            except QPUError:
                gone = all(not job.durable or job.state is JobState.REFUSED for job in journal.jobs())
                raise
            finally:
                gone = gone or not journal.jobs()
                if device is not None and not any(job.durable and job.state.open for job in journal.jobs()):
                    device.close()  # which may end its jobs
    except SubmissionUncertain as error:
        raise SubmissionUncertain(f"{error} Then give the same command again.", job_id=error.job_id) from None
    finally:
        if gone:
            _remove(path, missing)


def _missing(folder: Path) -> list[Path]:
    """Folders that are not there yet, the innermost first."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


def _remove(path: Path, folders: list[Path]) -> None:
    """A journal with all that lies beside it, and folders that were made for nothing else."""
    for leftover in path.parent.glob(f"*{path.name}*"):
        leftover.unlink(missing_ok=True)
    with suppress(OSError):  # one has something in it by now
        for folder in folders:
            folder.rmdir()
