"""What a configuration allows: numbers of whatever type, why their limits are what they are, and names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from ..arrays import real, whole
from ..devices.base import MOST_SHOTS
from ..errors import ConfigError, QPUError
from .spsa import MOST_PAIRS

Made = TypeVar("Made")

#: Optimisers that have a name of their own.
OPTIMISERS = ("adam", "rotated-adam")

#: More epochs, rounds, images or settings than anybody lives to see.
MOST = 10**9
#: Matrices here have a few hundred rows, so that more threads find no work, and thousands of them end a process.
MOST_THREADS = 256
#: Joint outcomes, of which several copies of 4 and 8 bytes each are held at once.
MOST_JOINT = 10**8


def _whole(value: object) -> int:
    if isinstance(value, float) and value.is_integer():  # as files of figures write whole numbers
        value = int(value)
    try:
        return whole(value, "it", ConfigError)
    except ConfigError:
        raise ValueError("Input should be a valid integer, a whole number") from None


def _real(value: object) -> float:
    try:
        return real(value, "it", ConfigError)
    except ConfigError:
        raise ValueError("Input should be a valid, finite number") from None


WholeNumber = Annotated[int, BeforeValidator(_whole)]
RealNumber = Annotated[float, BeforeValidator(_real)]
Positive = Annotated[WholeNumber, Field(ge=1, le=MOST)]
PositiveOrZero = Annotated[WholeNumber, Field(ge=0, le=MOST)]
SeedNumber = Annotated[WholeNumber, Field(ge=0)]
Shots = Annotated[WholeNumber, Field(ge=1, le=MOST_SHOTS)]
Pairs = Annotated[WholeNumber, Field(ge=1, le=MOST_PAIRS)]
Limit = Annotated[WholeNumber, Field(ge=1)]
Threads = Annotated[WholeNumber, Field(ge=1, le=MOST_THREADS)]
Rate = Annotated[RealNumber, Field(gt=0.0)]
AtLeastZero = Annotated[RealNumber, Field(ge=0.0)]


def as_value(made: Callable[[], Made]) -> Made:
    """What a part of the SDK makes of a value; what it refuses the configuration refuses, as :class:`ValueError`."""
    try:
        return made()
    except QPUError as error:
        raise ValueError(str(error).rstrip(".")) from None
