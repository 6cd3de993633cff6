"""What a run may spend, what it has spent, and what a device asks for it.

Money is reserved before a submission and settled afterwards, so a limit can never be passed by jobs in flight::

    spent + reserved + next submission <= limit      for settings, shots, credits, jobs and machine seconds
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import final

from ..arrays import real, whole
from ..errors import BudgetExceeded, ConfigError


@final
@dataclass(frozen=True)
class Cost:
    """What a submission, or a whole run, takes.

    :param settings: circuit configurations executed.
    :param shots: detection windows with at least one click, over all settings.
    :param credits: in the provider's unit.
    :param jobs: submissions.
    :param seconds: machine time of the device.

    >>> Cost(settings=2, shots=200) + Cost(settings=1, shots=50, jobs=1)
    Cost(settings=3, shots=250, credits=0.0, jobs=1, seconds=0.0)
    """

    settings: int = 0
    shots: int = 0
    credits: float = 0.0
    jobs: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@final
@dataclass(frozen=True)
class Rates:
    """What a device charges.

    :param credits_per_shot: credits for one shot.
    :param seconds_per_setting: machine time of one circuit setting, whatever its shots.
    """

    credits_per_shot: float = 0.0
    seconds_per_setting: float = 0.0

    def cost(self, *, settings: int, shots: int) -> Cost:
        """Of one job.

        :param shots: per setting.

        >>> Rates(1e-6, 15.0).cost(settings=4, shots=1_000_000)
        Cost(settings=4, shots=4000000, credits=4.0, jobs=1, seconds=60.0)
        """
        total = settings * shots
        seconds = settings * self.seconds_per_setting
        return Cost(settings, total, round(total * self.credits_per_shot, 9), 1, seconds)


@final
@dataclass(frozen=True)
class Budget:
    """Hard limits of a run, ``None`` for no limit; raises :class:`ConfigError` for what is no limit.

    >>> Budget(settings=3).check(Cost(settings=2), Cost(settings=1))
    >>> Budget(settings=3).check(Cost(settings=3), Cost(settings=1))
    Traceback (most recent call last):
    qpu_sdk.errors.BudgetExceeded: the next job takes 1 settings; 3 of 3 (budget.settings) are spent or reserved. \
Go on with more: --set budget.settings=4.
    """

    settings: int | None = None
    shots: int | None = None
    credits: float | None = None
    jobs: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("settings", "shots", "jobs"):
            if (limit := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(limit, f"budget.{name}", ConfigError, least=0))
        for name in ("credits", "seconds"):
            if (limit := getattr(self, name)) is not None:
                object.__setattr__(self, name, real(limit, f"budget.{name}", ConfigError, least=0.0))

    def check(self, spent: Cost, more: Cost) -> None:
        """Raise :class:`BudgetExceeded` when ``spent + more`` passes a limit; nothing has been submitted then."""
        total = spent + more
        for field in fields(self):
            limit, need = getattr(self, field.name), getattr(total, field.name)
            if limit is not None and need > limit * (1 + 1e-9):  # a limit that is met exactly is not passed
                asked, used = getattr(more, field.name), getattr(spent, field.name)
                state = f"{_plain(used)} of {_plain(limit)} (budget.{field.name}) are spent or reserved"
                asking, enough = f"{_plain(asked)} {field.name}", _enough(need)
                message = f"the next job takes {asking}; {state}. Go on with more: --set budget.{field.name}={enough}."
                raise BudgetExceeded(message, key=field.name, asked=asking, state=state, need=enough)


def with_credits_option(error: BudgetExceeded, option: str) -> BudgetExceeded:
    """The same error of work whose one limit is an option, not a key of a configuration.

    >>> str(with_credits_option(BudgetExceeded("0 of 2 (budget.credits). --set budget.credits=8."), "--credits "))
    '0 of 2 (credits). --credits 8.'
    """
    return error.saying(str(error).replace("--set budget.credits=", option).replace("budget.credits", "credits"))


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _enough(value: float) -> str:
    """A limit that is not below the value, in six digits where they are enough."""
    digits = next((n for n in range(6, 17) if float(f"{value:.{n}g}") >= value), 17)
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


UNLIMITED = Budget()
