"""A journal that lives until its work has a result: what was interrupted goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError, SubmissionUncertain
from .base import Device
from .journal import Journal


@contextmanager
def pending_journal(device: Device | None, folder: Path, work: str, asked: object) -> Iterator[Journal]:
    """The journal of a piece of work, beside its results-to-be; gone when the work is done, so nothing is paid twice.

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
    path = folder / f".{work}-{hashlib.sha256(repr(asked).encode()).hexdigest()[:16]}.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder} ({error.strerror or error}). Choose another place.") from error
    try:
        with Journal(path) as journal:
            try:
                yield journal
            finally:
                if device is not None and not any(job.durable and job.state.open for job in journal.jobs()):
                    device.close()  # which may end its jobs
    except SubmissionUncertain as error:
        raise SubmissionUncertain(f"{error} Then give the same command again.", job_id=error.job_id) from None
    for leftover in folder.glob(f"*{path.name}*"):  # with its .lock, -wal and -shm; not reached after an error
        leftover.unlink()
