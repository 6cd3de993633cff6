"""The file of a journal on a disk: its tables, who holds it, and how it is opened."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from ..errors import CheckpointError
from ..words import one_line
from .hints import how_to_go_on, jobs_command, run_of

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


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a journal that is there; one in a folder that cannot be written is only looked at.

    A rollback journal, not a write-ahead log: what is committed is in the one file, so a copy of the folder is whole.

    :raises sqlite3.DatabaseError: when it is damaged.
    """
    uri = path.resolve().as_uri()
    if not write and not os.access(path.parent, os.W_OK):  # sqlite would want to make files there
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, timeout=BUSY_S, check_same_thread=False)
    # None: Python would begin transactions of its own accord; here each is a BEGIN IMMEDIATE.
    database = sqlite3.connect(
        f"{uri}?mode=rw", uri=True, timeout=BUSY_S, check_same_thread=False, isolation_level=None
    )
    try:
        if not write:  # opened for writing all the same: what a killed process had begun is taken back first
            database.execute("PRAGMA query_only=ON")
            return database
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
    """A lock that dies with the process: an exclusive transaction on a file of its own.

    :raises CheckpointError: when another process has it, or no file can be made there.
    """
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
            f"another process works on {run_of(path)} ({error}). Wait for it or stop it; look with: "
            f"{jobs_command(path, 'list')}"
        ) from error
    return connection


def make(path: Path) -> None:
    """An empty file of the owner only; sqlite would make it readable to all.

    A file that exists is not opened: closing any descriptor of it would drop the locks this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def unwritten(path: Path | None, error: sqlite3.Error) -> CheckpointError:
    """The error of a change that did not reach the disk."""
    if path is not None and is_read_only(error, path):
        return CheckpointError(read_only(path))
    return CheckpointError(
        f"{path} cannot be written ({one_line(error)}), so nothing more is submitted. Make room on the disk and "
        f"{how_to_go_on(path)}",
        resumable=True,
    )


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
