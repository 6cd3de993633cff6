"""The write-ahead journal of a run: every intent, job id and count, fsynced before the next step depends on it.

A job's row is committed with state *intent* before its request leaves, gets the job's id the moment there is one,
and its counts the moment they arrive. A process that dies anywhere in between leaves a row that says what is known::

    intent -> submitted -> running -> done | failed | cancelled-partial      the provider has the job
    intent -> refused                                                        it certainly has not; costs nothing
    intent -> uncertain                                                      nobody knows: a person decides

sqlite3 with ``synchronous=FULL``; the file holds no secret and is readable by its owner only. What must be in it at
least lies beside it, see :mod:`qpu_sdk.devices.journal_known`.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, final

from ..errors import CheckpointError
from ..photonics.counts import Counts
from ..words import one_line, short
from . import journal_file, journal_known
from .budget import Cost
from .hints import jobs_command
from .job_record import COLUMNS, Intent, JobRecord, JobState, record_of_row
from .journal_known import Known

SCHEMA_VERSION = 2
#: Characters of a message that are kept.
_LONGEST = 2000
_COST = ("settings", "shots", "credits", "jobs", "seconds")


@final
class Journal:
    """The journal of one run; a context manager that holds the run for this process.

    :param path: the file, ``None`` for one in memory that dies with the process.
    :param write: False to look only, which is allowed while a run goes on.
    :param hold: False to leave a word for the process that holds it, see :meth:`stop`.
    :param create: False where there must be one already.
    :raises CheckpointError: on entering, when another process holds it, it comes from a newer SDK, is damaged, or
        knows less than it did; on any write that does not reach the disk.

    >>> with Journal(None) as journal:
    ...     journal.intend(Intent("a", "local:slos", "measure/0", False, ("f" * 64,), 100, "", Cost(1, 100, 0.0, 1)))
    ...     journal.accepted("a", "local-1")
    ...     [(job.name, job.state.value) for job in journal.jobs()]
    [('a', 'submitted')]
    """

    def __init__(self, path: Path | None, *, write: bool = True, hold: bool = True, create: bool = True) -> None:
        self.path, self._write, self._holds, self._create = path, write, write and hold, create
        self._database: sqlite3.Connection | None = None
        self._hold: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._lock = threading.RLock()  # one connection for all threads, one at a time

    # -- opening -------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            if self.path is None:
                self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            else:
                self._open(self.path)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            self.close()
            if self._write and self.path is not None and journal_file.is_read_only(error, self.path):
                raise CheckpointError(journal_file.read_only(self.path)) from error
            raise CheckpointError(f"{self.path} cannot be read ({error}). Restore it from a copy.") from error
        except BaseException:
            self.close()
            raise
        return self

    def _open(self, path: Path) -> None:
        if self._holds:
            if not self._create and not path.is_file():
                raise CheckpointError(f"{path} is gone, and with it what was paid for. Restore it, or begin a new run.")
            self._hold = journal_file.exclusive(path)
            journal_file.make(path)
        self._database = journal_file.connect(path, write=self._write)
        self._identity = journal_file.identity(path)

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

    def _prepare(self) -> None:
        [version] = self._sql.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise CheckpointError(
                f"{self.path} has schema version {version}; this SDK reads up to {SCHEMA_VERSION}. Update qpu_sdk."
            )
        if version == 0 and not self._holds:
            way = "Look again when the run has begun, or restore it from a copy"
            raise CheckpointError(f"{self.path} holds no jobs yet. {way}.")
        if not self._holds:
            return
        noted = None if self.path is None else journal_known.known_beside(self.path)
        if version == 0 and self.path is not None and not (self._create and noted is None):
            raise CheckpointError(
                f"{self.path} is empty, and jobs were noted. Restore it from a copy, or begin anew in another folder."
            )
        if noted is not None and self.path is not None:
            noted.check(self.known() if version == SCHEMA_VERSION else Known("", 0, 0), self.path)
        if version < SCHEMA_VERSION:
            self._make_tables(journal_file.TABLES + journal_file.TABLES_2 if version == 0 else journal_file.TABLES_2)
        self._recover()

    def _make_tables(self, tables: str) -> None:
        with self._transaction():
            for statement in tables.split(";"):  # executescript would commit first, and so end the transaction
                self._sql.execute(statement)
            home = "" if self.path is None else self.path.resolve().as_uri()
            self._sql.execute("INSERT INTO journal VALUES (?, ?, 0)", (uuid.uuid4().hex, home))
            self._sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")  # with the tables or not at all

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
                before = self._sql.total_changes
                yield self._sql
                if changed := self._sql.total_changes > before:
                    self._sql.execute("UPDATE journal SET changes = changes + 1")
                known = self.known()
                self._sql.execute("COMMIT")
            except UnicodeError as error:  # half a character, which a server or a name on a disk may have
                self._undo()
                raise CheckpointError(f"{self.path} cannot hold {short(error.args[1])}: that is no text.") from error
            except sqlite3.Error as error:
                self._undo()
                raise journal_file.unwritten(self.path, error) from error
            except BaseException:
                self._undo()
                raise
            if changed and self.path is not None:
                journal_known.note_beside(self.path, known)  # after the commit: it may be behind, never ahead

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._sql
            except (sqlite3.Error, ValueError, zlib.error) as error:  # the latter of what a row holds
                raise CheckpointError(f"{self.path} cannot be read ({one_line(error)}). Restore it.") from error

    def _undo(self) -> None:
        if self._database is not None and self._database.in_transaction:
            self._database.execute("ROLLBACK")

    # -- writing -------------------------------------------------------------------------------------------

    def intend(self, intent: Intent) -> None:
        """Commit that a job is about to be sent; only after this may its request leave.

        :raises CheckpointError: when the journal is not at its place any more, or this is a copy of one that is.
        """
        self._check_place(intent.durable)
        now = _now()
        row = (intent.name, intent.device, intent.tag, "intent", int(intent.durable), "", intent.shots_each)
        row += (intent.request, intent.replaces, 1, "", now, now, *astuple(intent.cost))
        with self._transaction() as sql:
            sql.execute(f"INSERT INTO jobs VALUES ({', '.join('?' * len(row))})", row)
            rows = [(intent.name, position, program) for position, program in enumerate(intent.programs)]
            sql.executemany("INSERT INTO settings VALUES (?, ?, ?, NULL)", rows)

    def retry(self, name: str) -> None:
        """Commit that a job that was certainly not created is about to be sent again; see :meth:`intend`."""
        self._check_place(self.job(name).durable)
        with self._transaction() as sql:
            sql.execute(
                "UPDATE jobs SET state = 'intent', tries = tries + 1, updated = ? WHERE name = ?", (_now(), name)
            )

    def _check_place(self, durable: bool) -> None:
        """Nothing is submitted that nobody would find again, or that another folder submits as well."""
        if self.path is None:
            return
        try:
            here = journal_file.identity(self.path) == self._identity
        except OSError:
            here = False
        if not here:
            what = "was moved, deleted or replaced meanwhile, so nothing more is submitted"
            raise CheckpointError(f"{self.path} {what}. Resume the run where it is now.")
        place = self.path.resolve().as_uri()
        [home] = self._sql.execute("SELECT home FROM journal").fetchone()
        if durable and home != place:
            journal_known.check_home(self.path.resolve(), home, self.known())
            with self._transaction() as sql:
                sql.execute("UPDATE journal SET home = ?", (place,))  # it was moved

    def accepted(self, name: str, job_id: str) -> None:
        """Commit the id the provider gave."""
        self._update(name, state="submitted", job_id=job_id, message="")

    def move(self, name: str, state: JobState, message: str = "") -> None:
        """Commit what became of a job."""
        self._update(name, state=state.value, message=one_line(message, _LONGEST))

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
            self._set(name, state=state.value, message=one_line(message, _LONGEST), **values)

    def drop(self, name: str, message: str) -> None:
        """Commit that a person gives up a job that is done: its counts stay, and are used no more; it stays spent."""
        with self._transaction() as sql:
            sql.execute("INSERT OR IGNORE INTO dropped VALUES (?)", (name,))
            self._set(name, state=JobState.FAILED.value, message=message)

    def _update(self, name: str, **values: object) -> None:
        with self._transaction():
            self._set(name, **values)

    def _set(self, name: str, **values: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        self._sql.execute(f"UPDATE jobs SET {columns}, updated = ? WHERE name = ?", (*values.values(), _now(), name))

    # -- reading -------------------------------------------------------------------------------------------

    def known(self) -> Known:
        """What it holds now, so that less is noticed later."""
        with self._reading() as sql:
            rows = sql.execute("SELECT id, changes, (SELECT COUNT(*) FROM jobs) FROM journal").fetchall()
            [(journal, changes, jobs)] = rows  # a ValueError where somebody changed it
            return Known(str(journal), int(changes), int(jobs))

    def jobs(self, *states: JobState) -> list[JobRecord]:
        """All jobs, or those in some states, in the order of their intents."""
        among = f"state IN ({', '.join(repr(state.value) for state in states)})" if states else "TRUE"
        with self._reading() as sql:
            programs: dict[str, list[str]] = {}
            both = "jobs CROSS JOIN settings ON job = name"  # in this order: few jobs are open, of many settings
            for job, program in sql.execute(f"SELECT job, program FROM {both} WHERE {among} ORDER BY job, position"):
                programs.setdefault(job, []).append(program)
            rows = sql.execute(f"SELECT {COLUMNS} FROM jobs WHERE {among} ORDER BY rowid").fetchall()
            return [record_of_row(row, tuple(programs.get(row[0], ()))) for row in rows]

    def job(self, key: str) -> JobRecord:
        """The job with this name or id; raises :class:`CheckpointError` when there is none."""
        for record in self.jobs():
            if key and key in (record.name, record.job_id):  # jobs without an id have ""
                return record
        raise CheckpointError(f"{self.path} knows no job {key!r}. See: {jobs_command(self.path, 'list')}")

    def open_jobs(self, device: str, *, shots_each: int | None = None) -> list[JobRecord]:
        """Jobs of a device that may still bring counts, ``None``: with however many shots."""
        found = self.jobs(*(state for state in JobState if state.open))
        return [r for r in found if r.device == device and shots_each in (None, r.shots_each)]

    def counts(self, device: str, program: str, *, shots_each: int, tag: str | None = None) -> Counts | None:
        """The first counts of a setting, ``None`` when it was not measured with as many shots, and under that tag."""
        with self._reading() as sql:
            row = sql.execute(
                "SELECT counts FROM settings JOIN jobs ON job = name WHERE device = ? AND program = ? "
                "AND shots_each = ? AND (? IS NULL OR tag = ?) "
                "AND counts IS NOT NULL AND job NOT IN (SELECT job FROM dropped) "
                "ORDER BY jobs.rowid LIMIT 1",  # as the run saw it
                (device, program, shots_each, tag, tag),
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
