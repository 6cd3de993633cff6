"""The file of a journal on a disk: who holds it, where it is at home, and what must be in it at least.

Beside ``journal.sqlite`` lies ``journal.sqlite.known``, a line of JSON written after every change: the journal's id and
how many changes and jobs it had. A journal that was lost, emptied or taken back to an older copy has less than that,
and is told from one that is new. It is written without fsync: after a power cut it may be behind, never ahead.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ..errors import CheckpointError
from ..files import regular
from ..words import one_line

TABLES = """
CREATE TABLE jobs (
    name TEXT PRIMARY KEY, device TEXT NOT NULL, tag TEXT NOT NULL, state TEXT NOT NULL, durable INTEGER NOT NULL,
    job_id TEXT NOT NULL, shots_each INTEGER NOT NULL, request TEXT NOT NULL, replaces TEXT NOT NULL,
    tries INTEGER NOT NULL, message TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL,
    settings INTEGER NOT NULL, shots INTEGER NOT NULL, credits REAL NOT NULL, jobs INTEGER NOT NULL,
    seconds REAL NOT NULL
) STRICT;
CREATE TABLE settings (
    job TEXT NOT NULL REFERENCES jobs(name), position INTEGER NOT NULL, program TEXT NOT NULL, counts TEXT,
    PRIMARY KEY (job, position)
) STRICT;
CREATE TABLE answers (job TEXT PRIMARY KEY REFERENCES jobs(name), body BLOB NOT NULL) STRICT;
CREATE TABLE stops (job TEXT PRIMARY KEY REFERENCES jobs(name)) STRICT;
CREATE INDEX settings_by_program ON settings(program);
"""
#: Since version 2: which journal this is, the file that it began as, and the jobs whose counts a person gave up.
TABLES_2 = """
CREATE TABLE journal (id TEXT NOT NULL, home TEXT NOT NULL, changes INTEGER NOT NULL) STRICT;
CREATE TABLE dropped (job TEXT PRIMARY KEY REFERENCES jobs(name)) STRICT;
"""
#: Seconds to wait for a reader or for a word from another process.
BUSY_S = 60.0
#: Characters of the file beside a journal: always as many, so that one write replaces it whole.
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
        values = json.loads(regular(beside).read_text(encoding="ascii"))
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


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a journal that is there; one in a folder that cannot be written is only looked at.

    A rollback journal, not a write-ahead log: what is committed is in the one file, so a copy of the folder is whole.
    """
    uri = path.resolve().as_uri()
    if not write:
        frozen = "" if os.access(path.parent, os.W_OK) else "&immutable=1"  # sqlite would want to make files there
        return sqlite3.connect(f"{uri}?mode=ro{frozen}", uri=True, timeout=BUSY_S, check_same_thread=False)
    # None: Python would begin transactions of its own accord; here each is a BEGIN IMMEDIATE.
    database = sqlite3.connect(
        f"{uri}?mode=rw", uri=True, timeout=BUSY_S, check_same_thread=False, isolation_level=None
    )
    try:
        [worst] = database.execute("PRAGMA quick_check(1)").fetchone()
        if worst != "ok":
            raise sqlite3.DatabaseError(worst)
        database.execute("PRAGMA journal_mode=DELETE")
        # With NORMAL a power cut could take back the intent of a job that exists by then.
        database.execute("PRAGMA synchronous=FULL")
    except BaseException:
        database.close()
        raise
    return database


def exclusive(path: Path) -> sqlite3.Connection:
    """A lock that dies with the process: an exclusive transaction on a file of its own."""
    lock = path.with_name(f".{path.name}.lock")
    make(lock)
    connection = sqlite3.connect(lock, timeout=0.0, check_same_thread=False, isolation_level=None)  # at once or not
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if not os.access(path.parent, os.W_OK):
            raise CheckpointError(read_only(path)) from error
        raise CheckpointError(
            f"another process works on {path.parent} ({error}). Wait for it or stop it; look with: qpu-sdk jobs list."
        ) from error
    return connection


def make(path: Path) -> None:
    """An empty file of the owner only; sqlite would make it readable to all.

    A file that exists is not opened: closing any descriptor of it would drop the locks this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def read_only(path: Path) -> str:
    """What to say of a journal that can be looked at alone."""
    return f"{path.parent} is read-only. Use a folder that can be written, such as a copy of it."


def is_read_only(error: OSError | sqlite3.Error, path: Path) -> bool:
    """Whether a journal could not be opened because nothing may be written where it is."""
    refused = getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM)
    return refused or (path.parent.is_dir() and not os.access(path.parent, os.W_OK))


def identity(path: Path) -> tuple[int, int]:
    """Which file is at a path, by device and number; raises :class:`OSError` when there is none."""
    found = path.stat()
    return found.st_dev, found.st_ino


def check_home(path: Path, home: str, now: Known) -> None:
    """Raise :class:`CheckpointError` when the journal's first place still has it, so that this is a copy.

    :param now: what the journal at ``path`` holds.
    """
    first = Path(home)
    try:
        if home == str(path) or not first.is_file() or first.samefile(path):
            return
        with_id = sqlite3.connect(f"{first.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
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
