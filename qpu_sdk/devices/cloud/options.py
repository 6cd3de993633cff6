"""Options of a cloud device string, such as ``?settings_per_job=10``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self, final
from urllib.parse import urlsplit

from ...errors import ConfigError
from ...words import did_you_mean
from .retry import Patience
from .route import is_this_machine

#: Largest value of an option; a socket takes no timeout much longer than this many seconds.
LARGEST_OPTION = 1e6


@final
@dataclass(frozen=True)
class Polling:
    """How often a job's status is asked, seconds: at most once in ``first_s``, growing by half up to ``longest_s``."""

    first_s: float = 2.0
    longest_s: float = 30.0


@final
@dataclass(frozen=True)
class CloudOptions:
    """Options of a cloud device string.

    :param url: another address of the API, such as that of ``qpu-sdk emulate``.
    :param settings_per_job: most circuit settings in one job.
    :param poll_s: shortest time between two questions about a job, seconds.
    :param max_poll_s: longest.
    :param deadline_s: how long an answer may stay away before the run stops, resumable.
    :param create_s: how long to wait for the answer to the creation of a job.
    :param queue_s: how long to wait for room for a job.
    :param any_status: 1: send even when the platform says that it takes no jobs.
    :param project: Scaleway's project.
    :param idle_s: how long Scaleway keeps an idle session.
    """

    url: str = ""
    settings_per_job: int = 20
    poll_s: float = 2.0
    max_poll_s: float = 30.0
    deadline_s: float = 900.0
    create_s: float = 120.0
    queue_s: float = 86_400.0
    any_status: int = 0
    project: str = ""
    idle_s: int = 300

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Self:
        """Read options; raises :class:`ConfigError` for one that is unknown or out of range."""
        defaults = {f.name: getattr(cls, f.name) for f in fields(cls)}
        values: dict[str, object] = {}
        for name, text in options.items():
            if name not in defaults:
                known, near = ", ".join(defaults), did_you_mean(name, defaults)
                raise ConfigError(f"unknown option {name!r} of a cloud device.{near} Known options: {known}.")
            try:
                values[name] = type(defaults[name])(text)
            except (TypeError, ValueError):
                raise ConfigError(f"option {name} is {text!r}, which is not a number. Write {name}=20.") from None
        parsed = cls(**values)  # type: ignore[arg-type]
        for name in ("settings_per_job", "poll_s", "max_poll_s", "deadline_s", "create_s", "idle_s"):
            if not 0 < getattr(parsed, name) <= LARGEST_OPTION:
                raise ConfigError(
                    f"option {name} is {getattr(parsed, name)}. Use more than 0, at most {LARGEST_OPTION:g}."
                )
        if not 0 <= parsed.queue_s <= LARGEST_OPTION:
            raise ConfigError(f"option queue_s is {parsed.queue_s}. Use 0 or more, at most {LARGEST_OPTION:g}.")
        return parsed

    @property
    def rehearsal(self) -> bool:
        """Whether it is a cloud on this machine."""
        return is_this_machine(urlsplit(self.url).hostname)

    @property
    def patience(self) -> Patience:
        """Of the requests."""
        # Who polls a rehearsal every few milliseconds does not want to wait a second after a fault.
        return Patience(create_s=self.create_s, deadline_s=self.deadline_s, first_s=min(1.0, self.poll_s))

    @property
    def polling(self) -> Polling:
        """Of the jobs."""
        return Polling(self.poll_s, max(self.poll_s, self.max_poll_s))


def device_name(address: str, options: CloudOptions) -> str:
    """A rehearsal elsewhere is another device: its counts are never taken for those of the real one.

    What the name holds is enough to open the device again.
    """
    parts = [f"{key}={value}" for key, value in (("project", options.project), ("url", options.url)) if value]
    return f"{address}?{'&'.join(parts)}" if parts else address
