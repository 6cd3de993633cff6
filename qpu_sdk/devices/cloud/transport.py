"""How a provider is talked to, whoever it is."""

from __future__ import annotations

import abc
from typing import Any, final

from ...errors import DeviceUnavailable

#: Longest result that is read when nobody says how long it may be, bytes.
LONGEST_RESULT = 512 * 2**20


@final
class NotFound(DeviceUnavailable):
    """The provider does not know what was asked for; ``text`` is what it said."""

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class Transport(abc.ABC):
    """The requests of a provider, each with what its answers mean.

    What they return and raise holds no token and no halves of characters. All raise :class:`AuthenticationError`
    when the token is refused and :class:`DeviceUnavailable` when no usable answer came by a deadline; all but
    :meth:`create` may be repeated without harm.
    """

    @abc.abstractmethod
    def platform(self, name: str) -> dict[str, Any]:
        """Details of a platform."""

    @abc.abstractmethod
    def availability(self) -> int | None:
        """Jobs that may be created now, ``None`` when the provider does not say."""

    @abc.abstractmethod
    def create(self, body: dict[str, Any]) -> str:
        """Create a job, by one request, and return its id."""

    @abc.abstractmethod
    def status(self, job_id: str) -> dict[str, Any]:
        """Where a job stands."""

    @abc.abstractmethod
    def result(self, job_id: str, *, most: int = LONGEST_RESULT) -> dict[str, Any]:
        """What a job brought, in at most so many bytes."""

    @abc.abstractmethod
    def data(self, job_id: str) -> dict[str, Any]:
        """How a job was created."""

    @abc.abstractmethod
    def cancel(self, job_id: str) -> bool:
        """Ask to stop a job; False when it cannot be cancelled any more."""

    @abc.abstractmethod
    def close(self) -> None:
        """End what costs money while it is open."""
