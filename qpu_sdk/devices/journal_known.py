"""What must be in a journal at least, and where it is at home.

Beside ``journal.sqlite`` lies ``journal.sqlite.known``, a line of JSON written after every change: the journal's id and
how many changes and jobs it had. A journal that was lost, emptied or taken back to an older copy has less than that,
and is told from one that is new. It is written without fsync: after a power cut it may be behind, never ahead.
"""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import final
from urllib.parse import unquote_to_bytes

from ..errors import CheckpointError
from ..files import regular
from ..words import one_line
from .journal_file import connect

#: Characters of the file: always as many, so that one write replaces it whole.
_LENGTH = 160


@final
@dataclass(frozen=True)
class Known:
    """What a journal held when somebody looked; nothing of it ever becomes less.

    :param journal: its id.
    :param changes: that were committed.
    :param jobs: intents, whatever became of them.
    """

    journal: str
    changes: int
    jobs: int

    def check(self, now: Known, path: Path) -> None:
        """Raise :class:`CheckpointError` when ``now`` is what the journal at ``path`` holds, and this was there."""
        if self.journal != now.journal:
            raise CheckpointError(f"{path} is the journal of other work. Restore the one that was there.")
        if now.changes < self.changes:
            raise CheckpointError(
                f"{path} knows {now.jobs} jobs after {now.changes} changes; {self.jobs} jobs after {self.changes} were "
                "noted, which would be sent and paid again. Restore it from a copy, or begin anew in another folder."
            )


def known_beside(path: Path) -> Known | None:
    """What was noted beside a journal, ``None`` where nothing was.

    :raises CheckpointError: when it cannot be read.
    """
    beside = _beside(path)
    try:
        text = regular(beside).read_text(encoding="ascii")
        if not text.strip():  # made on a disk that was full
            return None
        values = json.loads(text)
        return Known(str(values["journal"]), int(values["changes"]), int(values["jobs"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{beside} is damaged ({error}). Restore it, or delete it if {path.name} is whole."
        ) from None


def note_beside(path: Path, known: Known) -> None:
    """Write down what the journal holds now.

    :raises CheckpointError: when the disk does not take it.
    """
    text = json.dumps({"journal": known.journal, "changes": known.changes, "jobs": known.jobs}).ljust(_LENGTH) + "\n"
    beside = _beside(path)
    try:
        file = os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.pwrite(file, text.encode("ascii"), 0)
        finally:
            os.close(file)
    except OSError as error:
        raise CheckpointError.unwritten(beside, error) from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.known")


def check_home(path: Path, home: str, now: Known) -> None:
    """Raise :class:`CheckpointError` when the journal's first place still has it, so that this is a copy.

    :param home: as :meth:`pathlib.Path.as_uri` writes it, since a name on a disk need not be text.
    :param now: what the journal at ``path`` holds.
    """
    try:
        first = Path(os.fsdecode(unquote_to_bytes(home.removeprefix("file://"))))
        if home == path.as_uri() or not first.is_file() or first.samefile(path):
            return
        with_id = connect(first, write=False)
        try:
            journal, changes = with_id.execute("SELECT id, changes FROM journal").fetchone()
        finally:
            with_id.close()
    except (OSError, ValueError, TypeError, sqlite3.Error):
        return  # what is there is no journal any more
    if journal == now.journal:
        way = "It has gone on since: go on there" if changes > now.changes else "Go on there, or delete it first"
        place = one_line(first.parent, 300)
        raise CheckpointError(f"{path.parent} is a copy of {place}, and what both submit is paid twice. {way}.")
