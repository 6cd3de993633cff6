"""Whether the journal of a run that goes on is whole."""

from __future__ import annotations

from ..devices.journal import Journal
from ..devices.journal_known import Known
from ..errors import CheckpointError
from .folder import RunFolder, read_metrics


def check_journal(folder: RunFolder, journal: Journal, known: Known | None) -> None:
    """Raise :class:`CheckpointError` when the journal knows less than a checkpoint or the rows say was done.

    :param known: what the checkpoint says; None where it is of the first release, or there is none.
    """
    if known is not None:
        known.check(journal.known(), folder.journal)
        return
    total = journal.total()
    for row in read_metrics(folder.metrics)[-1:]:
        jobs, settings = row.get("jobs", 0), row.get("circuit_settings", 0)
        if total.jobs < jobs or total.settings < settings:
            raise CheckpointError(
                f"{folder.journal} knows {total.jobs} jobs with {total.settings} settings; {folder.metrics.name} has "
                f"{jobs} with {settings}, which would be sent and paid again. Restore it from a copy, or begin anew in "
                "another folder."
            )
