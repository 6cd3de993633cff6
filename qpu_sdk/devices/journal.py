"""The write-ahead journal of a run: every intent, job id and count, fsynced before the next step depends on it.

A job's row is committed with state *intent* before its request leaves, gets the job's id the moment there is one,
and its counts the moment they arrive. A process that dies anywhere in between leaves a row that says what is known::

    intent -> submitted -> running -> done | failed | cancelled-partial      the provider has the job
    intent -> refused                                                        it certainly has not; costs nothing
    intent -> uncertain                                                      nobody knows: a person decides

sqlite3 in WAL mode with ``synchronous=FULL``; the file holds no secret and is readable by its owner only.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, final

from ..errors import CheckpointError
from ..photonics.counts import Counts
from .budget import Cost
from .hints import how_to_go_on, jobs_command, run_of
from .job_record import Intent, JobRecord, JobState, record_of_row

SCHEMA_VERSION = 1
_COST = ("settings", "shots", "credits", "jobs", "seconds")

_TABLES = """
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


@final
class Journal:
    """The journal of one run; a context manager that holds the run for this process.

    :param path: the file, ``None`` for one in memory that dies with the process.
    :param write: False to look only, which is allowed while a run goes on.
    :param hold: False to leave a word for the process that holds it, see :meth:`stop`.
    :raises CheckpointError: on entering, when another process holds it, it comes from a newer SDK, or is damaged; on
        any write that does not reach the disk.

    >>> with Journal(None) as journal:
    ...     journal.intend(Intent("a", "local:slos", "measure/0", False, ("f" * 64,), 100, "", Cost(1, 100, 0.0, 1)))
    ...     journal.accepted("a", "local-1")
    ...     [(job.name, job.state.value) for job in journal.jobs()]
    [('a', 'submitted')]
    """

    def __init__(self, path: Path | None, *, write: bool = True, hold: bool = True) -> None:
        self.path, self._write, self._holds = path, write, write and hold
        self._database: sqlite3.Connection | None = None
        self._hold: sqlite3.Connection | None = None
        self._lock = threading.RLock()  # one connection for all threads, one at a time

    # -- opening -------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            if self.path is not None and self._holds:
                self._hold = _exclusive(self.path)
            self._database = self._connect()
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise CheckpointError(f"{self.path} cannot be read ({error}). Restore it from a copy.") from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; writing again needs a new ``with``."""
        for connection in (self._database, self._hold):
            if connection is not None:
                connection.close()
        self._database = self._hold = None

    def __del__(self) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            return sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        if self._write:
            _make(self.path)
        mode = "rw" if self._write else "ro"
        uri = f"{self.path.resolve().as_uri()}?mode={mode}"
        # None: Python would begin transactions of its own accord; here each is a BEGIN IMMEDIATE.
        database = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
        if self._write:
            database.execute("PRAGMA journal_mode=WAL")
            # With NORMAL a power cut could take back the intent of a job that exists by then.
            database.execute("PRAGMA synchronous=FULL")
        return database

    def _prepare(self) -> None:
        [version] = self._sql.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise CheckpointError(
                f"{self.path} has schema version {version}; this SDK reads up to {SCHEMA_VERSION}. Update qpu_sdk."
            )
        if version == 0 and not self._holds:
            raise CheckpointError(f"{self.path} holds no jobs yet. Look again when the run has begun.")
        if not self._holds:
            return
        if version == 0:
            with self._transaction():
                for statement in _TABLES.split(";"):  # executescript would commit first, and so end the transaction
                    self._sql.execute(statement)
                self._sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")  # with the tables or not at all
        self._recover()

    def _recover(self) -> None:
        """A process that died left rows behind: what it may have sent is uncertain, what ran in it is gone."""
        message = "the process ended before the answer came"
        with self._transaction():
            self._sql.execute(
                "UPDATE jobs SET state = 'uncertain', message = ? WHERE state = 'intent' AND durable", (message,)
            )
            self._sql.execute(
                "UPDATE jobs SET state = 'refused', message = 'the process ended' "
                "WHERE state IN ('intent', 'submitted', 'running') AND NOT durable"
            )

    @property
    def _sql(self) -> sqlite3.Connection:
        if self._database is None:
            raise CheckpointError(f"the journal {self.path} is not open. Use it inside: with journal.")
        return self._database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on disk when it ends."""
        with self._lock:
            try:
                self._sql.execute("BEGIN IMMEDIATE")  # the lock now: asked for in the middle, it could be refused
                yield self._sql
                self._sql.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise CheckpointError(
                    f"{self.path} cannot be written ({error}), so nothing more is submitted. Make room on the disk "
                    f"and {how_to_go_on(self.path)}"
                ) from error
            except BaseException:
                self._undo()
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._sql
            except sqlite3.Error as error:
                raise CheckpointError(f"{self.path} cannot be read ({error}). Restore it from a copy.") from error

    def _undo(self) -> None:
        if self._database is not None and self._database.in_transaction:
            self._database.execute("ROLLBACK")

    # -- writing -------------------------------------------------------------------------------------------

    def intend(self, intent: Intent) -> None:
        """Commit that a job is about to be sent; only after this may its request leave."""
        now = _now()
        row = (intent.name, intent.device, intent.tag, "intent", int(intent.durable), "", intent.shots_each)
        row += (intent.request, intent.replaces, 1, "", now, now, *astuple(intent.cost))
        with self._transaction() as sql:
            sql.execute(f"INSERT INTO jobs VALUES ({', '.join('?' * len(row))})", row)
            rows = [(intent.name, position, program) for position, program in enumerate(intent.programs)]
            sql.executemany("INSERT INTO settings VALUES (?, ?, ?, NULL)", rows)

    def retry(self, name: str) -> None:
        """Commit that a job that was certainly not created is about to be sent again."""
        with self._transaction() as sql:
            sql.execute(
                "UPDATE jobs SET state = 'intent', tries = tries + 1, updated = ? WHERE name = ?", (_now(), name)
            )

    def accepted(self, name: str, job_id: str) -> None:
        """Commit the id the provider gave."""
        self._update(name, state="submitted", job_id=job_id, message="")

    def move(self, name: str, state: JobState, message: str = "") -> None:
        """Commit what became of a job."""
        self._update(name, state=state.value, message=message)

    def stop(self, name: str) -> None:
        """Commit that a person wants this job stopped: what it lacks is not sent again by the run that waits for it."""
        with self._transaction() as sql:
            sql.execute("INSERT OR IGNORE INTO stops VALUES (?)", (name,))

    def keep(self, name: str, answer: str) -> None:
        """Commit the provider's raw answer, before it is read."""
        with self._transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (name, zlib.compress(answer.encode())))

    def settle(
        self, name: str, state: JobState, cost: Cost, message: str = "", *, counts: Mapping[int, Counts] | None = None
    ) -> None:
        """Commit the end of a job: its counts by position, and what it took in place of what was reserved."""
        values = dict(zip(_COST, astuple(cost), strict=True))
        rows = [(one.to_json(), name, position) for position, one in (counts or {}).items()]
        with self._transaction() as sql:
            sql.executemany("UPDATE settings SET counts = ? WHERE job = ? AND position = ?", rows)
            self._set(name, state=state.value, message=message, **values)

    def _update(self, name: str, **values: object) -> None:
        with self._transaction():
            self._set(name, **values)

    def _set(self, name: str, **values: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        self._sql.execute(f"UPDATE jobs SET {columns}, updated = ? WHERE name = ?", (*values.values(), _now(), name))

    # -- reading -------------------------------------------------------------------------------------------

    def jobs(self) -> list[JobRecord]:
        """All jobs in the order of their intents."""
        with self._reading() as sql:
            programs: dict[str, list[str]] = {}
            for job, program in sql.execute("SELECT job, program FROM settings ORDER BY job, position"):
                programs.setdefault(job, []).append(program)
            columns = (
                "name, device, tag, state, durable, job_id, shots_each, request, replaces, tries, message, created, "
                "updated, " + ", ".join(_COST)
            )
            rows = sql.execute(f"SELECT {columns} FROM jobs ORDER BY rowid").fetchall()
        return [record_of_row(row, tuple(programs.get(row[0], ()))) for row in rows]

    def job(self, key: str) -> JobRecord:
        """The job with this name or id; raises :class:`CheckpointError` when there is none."""
        for record in self.jobs():
            if key and key in (record.name, record.job_id):  # jobs without an id have ""
                return record
        raise CheckpointError(f"{self.path} knows no job {key!r}. See: {jobs_command(self.path, 'list')}")

    def open_jobs(self, device: str, *, shots_each: int) -> list[JobRecord]:
        """Jobs of a device that may still bring counts."""
        return [r for r in self.jobs() if r.device == device and r.shots_each == shots_each and r.state.open]

    def counts(self, device: str, program: str, *, shots_each: int) -> Counts | None:
        """The first counts of a setting, ``None`` when it has not been measured with as many shots."""
        with self._reading() as sql:
            row = sql.execute(
                "SELECT counts FROM settings JOIN jobs ON job = name WHERE device = ? AND program = ? "
                "AND shots_each = ? AND counts IS NOT NULL ORDER BY jobs.rowid LIMIT 1",  # as the run saw it
                (device, program, shots_each),
            ).fetchone()
        return Counts.from_json(row[0]) if row else None

    def of_job(self, name: str) -> list[Counts | None]:
        """Counts of each setting of a job."""
        with self._reading() as sql:
            rows = sql.execute("SELECT counts FROM settings WHERE job = ? ORDER BY position", (name,)).fetchall()
        return [None if text is None else Counts.from_json(text) for [text] in rows]

    def stopped(self, name: str) -> bool:
        """Whether a person wanted this job stopped."""
        with self._reading() as sql:
            return sql.execute("SELECT 1 FROM stops WHERE job = ?", (name,)).fetchone() is not None

    def answer(self, name: str) -> str | None:
        """The provider's raw answer to a job, ``None`` when there is none."""
        with self._reading() as sql:
            row = sql.execute("SELECT body FROM answers WHERE job = ?", (name,)).fetchone()
        return zlib.decompress(row[0]).decode() if row else None

    def total(self) -> Cost:
        """Everything spent or reserved; refused jobs took nothing."""
        columns = ", ".join(f"COALESCE(SUM({column}), 0)" for column in _COST)
        with self._reading() as sql:
            row = sql.execute(f"SELECT {columns} FROM jobs WHERE state != 'refused'").fetchone()
        return Cost(int(row[0]), int(row[1]), float(row[2]), int(row[3]), float(row[4]))


def _exclusive(path: Path) -> sqlite3.Connection:
    """A lock that dies with the process: an exclusive transaction on a file of its own."""
    lock = path.with_name(f".{path.name}.lock")
    _make(lock)
    connection = sqlite3.connect(lock, timeout=0.0, check_same_thread=False, isolation_level=None)  # at once or not
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise CheckpointError(
            f"another process works on {run_of(path)} ({error}). Wait for it or stop it; look with: "
            f"{jobs_command(path, 'list')}"
        ) from error
    return connection


def _make(path: Path) -> None:
    """An empty file of the owner only; sqlite would make it readable to all.

    A file that exists is not opened: closing any descriptor of it would drop the locks this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
