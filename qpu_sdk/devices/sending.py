"""What waits to be sent: room, patience, intent, budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from .base import Job, JobStatus
from .budget import UNLIMITED, Budget, Rates
from .machines import FREE


@final
@dataclass(frozen=True)
class Terms:
    """Under which a device is used.

    :param label: first part of job names, so that a person recognises them.
    :param budget: limits of everything in the journal.
    :param rates: what the device charges.
    :param reuse: True when a setting that was measured with as many shots is not measured again.
    """

    label: str = "qpu-sdk"
    budget: Budget = UNLIMITED
    rates: Rates = FREE
    reuse: bool = True


@final
@dataclass
class Part:
    """A job to be: settings that are sent together."""

    members: tuple[int, ...]
    replaces: str = ""
    name: str = ""
    refused_since: float | None = None
    unreachable: bool = False
    not_before: float = 0.0
    wait_s: float = 1.0


@final
@dataclass
class InFlight:
    """A job the provider has: which of our settings it runs at which position; whether a person had stopped it."""

    name: str
    handle: Job
    members: dict[int, int]
    shown: JobStatus | None = None
    was_stopped: bool = False
