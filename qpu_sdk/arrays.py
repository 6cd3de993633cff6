"""The words of every signature: arrays of whole, real and complex numbers, of truth values and of outcomes.

And the one door for whole numbers, :func:`whole`.
"""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt

from .errors import ProgramError, QPUError
from .words import short

OutcomeArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
ComplexArray = npt.NDArray[np.complex128]
FloatArray = npt.NDArray[np.float64]


def whole(value: object, what: str, error: type[QPUError] = ProgramError, *, least: int | None = None) -> int:
    """A whole number as Python's own int, whatever kind of integer it was.

    Equal integers of other kinds print otherwise, in fingerprints, in seeds and in names of files too.

    :param what: names the number in the message.
    :param error: raised for anything that is no whole number, such as 2.0, "2" or True, and for one below ``least``.

    >>> whole(np.int64(4), "modes")
    4
    """
    try:
        found = None if isinstance(value, bool | np.bool_) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        found = None
    if found is None:
        raise error(f"{what} is {short(value)}. Use a whole number.")
    if least is not None and found < least:
        raise error(f"{what} is {found}. Use {least} or more.")
    return found
