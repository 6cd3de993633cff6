"""What to type about the jobs of a journal, with the run that they are of."""

from __future__ import annotations

from pathlib import Path

from ..words import command


def jobs_command(journal: Path | None, *words: object) -> str:
    """A command about jobs, with the run that it is about.

    >>> jobs_command(Path("my runs/a/journal.sqlite"), "forget", "a/measure/0-1f")
    "qpu-sdk jobs forget a/measure/0-1f --run 'my runs/a'"
    """
    if journal is None:  # in memory, where no command finds it
        return command("jobs", *words)
    return command("jobs", *words, "--run", run_of(journal))


def run_of(journal: Path) -> Path:
    """What the user calls a run: the folder of its journal; a calibration has none but the journal itself."""
    return journal.parent if journal.name == "journal.sqlite" else journal


def how_to_go_on(journal: Path | None) -> str:
    """How to go on with what a journal is of, as the end of a sentence.

    >>> how_to_go_on(Path("runs/a/journal.sqlite"))
    'go on with: qpu-sdk resume runs/a'
    """
    if journal is None or run_of(journal) == journal:
        return "give the same command again"
    return f"go on with: {command('resume', journal.parent)}"


def uncertain(name: str, why: str, journal: Path | None = None) -> str:
    """What a person has to do about a job of which nobody knows whether it exists.

    :param journal: that has it.
    """
    return (
        f"nobody knows whether job {name} was created ({why}); it is not sent again. Look for that name at the "
        f"provider: if it is there, {jobs_command(journal, 'attach', 'ID')}; if not, "
        f"{jobs_command(journal, 'forget', name)}"
    )
