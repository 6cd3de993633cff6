"""Counts of a run: what its journal holds, looked at while the run may go on."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, DataError
from ..photonics.counts import Counts
from .journal import Journal

_JOURNAL = "journal.sqlite"


def journal_of(path: Path) -> Path | None:
    """The journal of a run's folder, or the path itself when it is a journal; None for anything else."""
    if path.is_dir():
        return path / _JOURNAL if (path / _JOURNAL).is_file() else None
    return path if path.suffix == ".sqlite" else None


def run_counts(journal: Path) -> list[Counts]:
    """The counts of every setting that a run has measured, in the order in which they were sent, each once.

    Nothing is written and nothing held: a run that goes on is not disturbed.

    :raises DataError: when the journal cannot be read, or holds no counts yet.
    """
    found: list[Counts] = []
    known = set()
    try:
        with Journal(journal, write=False) as opened:
            for job in opened.jobs():
                for program in job.programs:
                    setting = job.device, program, job.shots_each
                    if setting in known:
                        continue  # a setting that was sent again: what the run uses are its first counts
                    known.add(setting)
                    counts = opened.counts(job.device, program, shots_each=job.shots_each)
                    found += [] if counts is None else [counts]
    except (CheckpointError, DataError) as error:
        raise DataError(f"{journal} looks like a journal of a run: {error}") from error
    if not found:
        raise DataError(f"{journal} looks like a journal of a run: it holds no counts yet. Wait for its first job.")
    return found
