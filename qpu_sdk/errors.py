"""The errors of the SDK, split by what the caller does next.

::

    QPUError
    +-- ConfigError            a setting is unknown or out of range: change the configuration
    +-- ProgramError           a program does not fit the device: change the program (nothing was submitted)
    +-- DeviceError            the device refuses: wait, log in, or choose another device
    |   +-- AuthenticationError
    |   +-- OutOfCredits
    |   +-- QueueFull
    |   +-- DeviceUnavailable
    |       +-- DeviceUnreachable  nothing was sent: asking again is safe
    +-- JobError               a job that was submitted has no complete result (carries ``job_id``)
    |   +-- JobStopped         carries ``partial``, the counts that were finished before
    |   |   +-- JobFailed
    |   |   +-- JobCancelled
    |   +-- JobTimeout         the job goes on; ask again
    |   +-- SubmissionUncertain
    +-- BudgetExceeded         the run stopped before it spent more than was allowed
    +-- CalibrationError       no usable calibration record
    |   +-- CalibrationNotFound
    |   +-- CalibrationStale
    |   +-- CalibrationMismatch
    +-- MitigationError        counts cannot be turned into a distribution
    +-- DataError              a dataset, image, model or counts file is not usable
    +-- CheckpointError        a run folder cannot be started, resumed or read

A message is one line: what, the value, the limit, the way out.
"""

from __future__ import annotations

import copy
from typing import Any, Self


class QPUError(Exception):
    """Root of every error that the SDK raises on purpose."""

    def saying(self, message: str) -> Self:
        """The same error in other words: its kind, job id and partial counts stay.

        >>> JobTimeout("not done", job_id="7").saying("job 7 is not done").job_id
        '7'
        """
        other = copy.copy(self)
        other.args = (message,)  # which is what str() shows
        return other


class ConfigError(QPUError):
    """A configuration key is unknown, missing or out of range."""


class ProgramError(QPUError):
    """A program does not fit its device; raised before anything is submitted."""


class DeviceError(QPUError):
    """The device refuses work."""


class AuthenticationError(DeviceError):
    """The token is missing, wrong or expired."""


class OutOfCredits(DeviceError):
    """The account has no credits left."""


class QueueFull(DeviceError):
    """The account has as many waiting jobs as the platform allows."""


class DeviceUnavailable(DeviceError):
    """The platform is unknown, in maintenance, decommissioned, or does not answer."""


class DeviceUnreachable(DeviceUnavailable):
    """No connection was made, so nothing was sent: the same request may be made again."""


class JobError(QPUError):
    """A submitted job has no complete result.

    :param message: one line for the user.
    :param job_id: the job the error is about, ``""`` when it never got an id.
    """

    def __init__(self, message: str, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobStopped(JobError):
    """The job ended before it was done; ``partial`` holds finished counts (``None`` where a program has none)."""

    def __init__(self, message: str, *, job_id: str = "", partial: tuple[Any, ...] = ()) -> None:
        super().__init__(message, job_id=job_id)
        self.partial = partial


class JobFailed(JobStopped):
    """The device reported that the job failed."""


class JobCancelled(JobStopped):
    """The job was cancelled, by a person or by a limit of the platform."""


class JobTimeout(JobError):
    """The result was not there in time; the job itself goes on."""


class SubmissionUncertain(JobError):
    """Nobody knows whether the device received the job, so it is not sent again."""


class BudgetExceeded(QPUError):
    """The next submission would pass a limit of the budget.

    :param key: of the limit, ``""`` where the message alone tells.
    :param asked: how much of it comes next, and ``state`` how much is gone, in words.
    :param need: the limit that would be enough.
    """

    def __init__(self, message: str, *, key: str = "", asked: str = "", state: str = "", need: str = "") -> None:
        super().__init__(message)
        self.key, self.asked, self.state, self.need = key, asked, state, need


class CalibrationError(QPUError):
    """No usable calibration record."""


class CalibrationNotFound(CalibrationError):
    """The store holds no record of this device."""


class CalibrationStale(CalibrationError):
    """The newest record is older than allowed."""


class CalibrationMismatch(CalibrationError):
    """The record belongs to another device, mode number or detector type."""


class MitigationError(QPUError):
    """The counts cannot be turned into a distribution."""


class DataError(QPUError):
    """A dataset, an image, a model file or a counts file is not usable."""


class CheckpointError(QPUError):
    """A run folder cannot be started, resumed or read.

    :param resumable: True when the disk alone is in the way: what was written before is whole, and the run can go on.
    """

    def __init__(self, message: str, *, resumable: bool = False) -> None:
        super().__init__(message)
        self.resumable = resumable

    @classmethod
    def unwritten(cls, path: object, error: OSError) -> Self:
        """The error of a file that the disk did not take."""
        what = f"{error.filename or path} cannot be written ({error.strerror or error})"
        return cls(f"{what}. Make room, or make it writable, and go on.", resumable=True)
