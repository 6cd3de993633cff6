"""One row of the journal."""

from __future__ import annotations

import enum
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from .budget import Cost


class JobState(enum.Enum):
    """What is known about a job; see the module's docstring."""

    INTENT = "intent"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled-partial"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"

    @property
    def open(self) -> bool:
        """True while the job may still bring counts."""
        return self in (JobState.INTENT, JobState.SUBMITTED, JobState.RUNNING, JobState.UNCERTAIN)


@final
@dataclass(frozen=True)
class JobRecord:
    """One row of the journal.

    :param name: unique; what the provider was told.
    :param programs: fingerprints in the order of the job's settings.
    :param shots_each: shots asked for each of them.
    :param request: how raw counts were asked for.
    :param replaces: name of the job whose missing settings this one runs, ``""`` for none.
    :param cost: reserved while the job is open, spent afterwards.
    """

    name: str
    device: str
    tag: str
    state: JobState
    durable: bool
    job_id: str
    programs: tuple[str, ...]
    shots_each: int
    request: str
    replaces: str
    tries: int
    message: str
    created: str
    updated: str
    cost: Cost


@final
@dataclass(frozen=True)
class Intent:
    """What is written before a job's request leaves."""

    name: str
    device: str
    tag: str
    durable: bool
    programs: tuple[str, ...]
    shots_each: int
    request: str
    cost: Cost
    replaces: str = ""


#: Columns of the journal's table that a record is made of.
COLUMNS = (
    "name, device, tag, state, durable, job_id, shots_each, request, replaces, tries, message, created, updated, "
    "settings, shots, credits, jobs, seconds"
)


def record_of_row(row: Sequence[object], programs: tuple[str, ...]) -> JobRecord:
    """A row of the journal's table, in the order of :data:`COLUMNS`, and the fingerprints of the job's programs."""
    name, device, tag, state, durable, job_id, shots_each, request, replaces, tries, message, created, updated = row[
        :13
    ]
    settings, shots, credits, jobs, seconds = row[13:]
    cost = Cost(int(str(settings)), int(str(shots)), float(str(credits)), int(str(jobs)), float(str(seconds)))
    return JobRecord(
        name=str(name),
        device=str(device),
        tag=str(tag),
        state=JobState(state),
        durable=bool(durable),
        job_id=str(job_id),
        programs=programs,
        shots_each=int(str(shots_each)),
        request=str(request),
        replaces=str(replaces),
        tries=int(str(tries)),
        message=str(message),
        created=str(created),
        updated=str(updated),
        cost=cost,
    )


#: How raw counts are asked for, of every device.
RAW = "sample_count, filter 1 click, mitigations=[], photon recycling off"


def job_name(label: str, tag: str) -> str:
    """A name nobody else uses, with what a person needs to recognise it."""
    readable = re.sub(r"[^A-Za-z0-9._/-]+", "-", f"{label}/{tag}" if tag else label).strip("-/")
    return f"{readable}-{uuid.uuid4().hex[:12]}"  # 48 random bits: no second job of an account has the name
