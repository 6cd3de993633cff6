"""The words of every signature: arrays of whole, real and complex numbers, of truth values and of outcomes.

And the doors for numbers: :func:`whole` and :func:`real` for one, :func:`wholes` and :func:`reals` for arrays. What is
equal is the same number behind them, whatever type it had, and what would lose something on its way is refused: truth
values, text, complex numbers, and halves where whole numbers are meant.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ProgramError, QPUError
from .words import short

OutcomeArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
ComplexArray = npt.NDArray[np.complex128]
FloatArray = npt.NDArray[np.float64]


#: Above it neighbouring whole numbers are one float.
_EXACT = 2**53
#: Larger whole numbers are no floats, and Python does not write them out.
_LARGEST = 2**1023


def whole(
    value: object, what: str, error: type[QPUError] = ProgramError, *, least: int | None = None, most: int | None = None
) -> int:
    """A whole number as Python's own int, whatever kind of integer it was.

    Equal integers of other kinds print otherwise, in fingerprints, in seeds and in names of files too.

    :param what: names the number in the message.
    :param error: raised for anything that is no whole number, such as 2.0, "2" or True, and for one below ``least`` or
        above ``most``.

    >>> whole(np.int64(4), "modes")
    4
    """
    try:
        found = operator.index(value) if _may_be_number(value) else None  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises all of them
        found = None
    if found is None:
        raise error(f"{what} is {short(value)}. Use a whole number.")
    if abs(found) > _LARGEST:
        raise error(f"{what} is a number of {found.bit_length():,} bits. Use a smaller one.")
    if least is not None and found < least:
        raise error(f"{what} is {short(found)}. Use {least} or more.")
    if most is not None and found > most:
        raise error(f"{what} is {short(found)}. Use {most} or less.")
    return found


def real(
    value: object,
    what: str,
    error: type[QPUError] = ProgramError,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> float:
    """A finite number as Python's own float, whatever kind of real number it was, fractions and decimals included.

    :param what: names the number in the message.
    :param error: raised for anything else, such as True, "2", NaN or 1j, and for one outside the limits.

    >>> real(np.float32(0.5), "g2"), real(2, "g2")
    (0.5, 2.0)
    """
    found = _as_float(value)
    if found is None or not math.isfinite(found):
        raise error(f"{what} is {short(value)}. Use a finite number.")
    if least is not None and found < least:
        raise error(f"{what} is {found!r}. Use {least:g} or more.")
    if above is not None and found <= above:
        raise error(f"{what} is {found!r}. Use a value above {above:g}.")
    if most is not None and found > most:
        raise error(f"{what} is {found!r}. Use {most:g} or less.")
    return found


def truth(value: object, what: str, error: type[QPUError] = ProgramError) -> bool:
    """True or False as Python's own, whatever kind of truth value it was; numbers are none.

    :param what: names the value in the message.
    :param error: raised for anything else.

    >>> truth(np.True_, "pairs")
    True
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{what} is {short(value)}. Use true or false.")
    return bool(value)


def reals(values: Any, what: str, error: type[QPUError] = ProgramError, *, finite: bool = True) -> FloatArray:
    """Real numbers as float64, with the same shape; the same memory where nothing had to be changed.

    :param what: names one of them in the message.
    :param error: raised for anything else, such as truth values, text and complex numbers.
    :param finite: False where the caller looks for NaN and infinity.

    >>> reals([1, 0.5], "a phase").tolist()
    [1.0, 0.5]
    """
    if isinstance(values, list | tuple):
        leaves = _leaves(values, what, error)
        floats = [_as_float(leaf) for leaf in leaves.flat]
        if None in floats:
            raise error(f"{what} is {short(leaves.flat[floats.index(None)])}. Use a number.")
        values = np.array(floats, dtype=np.float64).reshape(leaves.shape)
    array = _array(values, "iuf", what, error)
    if array.dtype.kind in "iu" and array.size and max(int(array.max()), -int(array.min())) > _EXACT:
        raise error(f"{what} is a whole number above 2^53, which no float holds exactly. Use smaller numbers.")
    with np.errstate(over="ignore", invalid="ignore"):  # of longer floats: found out below
        found = np.asarray(array, dtype=np.float64)
    if finite and not np.isfinite(found).all():
        raise error(f"{what} is not a finite number. Check the values.")
    return found


def integers(values: Any, what: str, error: type[QPUError] = ProgramError) -> npt.NDArray[np.integer[Any]]:
    """Whole numbers as an array of the integers that they are, with the same shape; nothing of them is looked at yet.

    :param what: names one of them in the message.
    :param error: raised for anything else, such as truth values and 2.0; an empty list is of whole numbers.
    """
    if isinstance(values, list | tuple):
        leaves = _leaves(values, what, error)
        try:
            found = np.array([whole(leaf, what, error) for leaf in leaves.flat], dtype=np.int64)
        except OverflowError:
            raise error(f"{what} is above {np.iinfo(np.int64).max}. Check the numbers.") from None
        return found.reshape(leaves.shape)
    array = _array(values, "iuf", what, error)
    if array.dtype.kind == "f" and array.size:
        raise error(f"{what} is of type {array.dtype}. Use whole numbers.")
    return array if array.size else array.astype(np.int64)


def complexes(values: Any, what: str, error: type[QPUError] = ProgramError) -> ComplexArray:
    """Real or complex numbers as complex128, with the same shape.

    :param what: names one of them in the message.
    :param error: raised for anything else, such as truth values and text.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found out by whoever uses it
        return np.asarray(_array(values, "iufc", what, error), dtype=np.complex128)


def wholes(values: Iterable[Any], what: str, error: type[QPUError] = ProgramError) -> tuple[int, ...]:
    """Whole numbers as Python's own, ``(K,)``, of whatever can be gone through once.

    :param what: names one of them in the message.
    :param error: raised for anything else.

    >>> wholes(np.arange(3), "a mode")
    (0, 1, 2)
    """
    try:
        found = tuple(values)
    except TypeError:
        raise error(f"{what} is to be found in {short(values)}. Use several whole numbers, such as (0, 2).") from None
    return tuple(whole(value, what, error) for value in found)


def _may_be_number(value: object) -> bool:
    """Not a truth value, a text, a complex number or an array of several, of which Python would make numbers too."""
    kind = str(getattr(value, "dtype", type(value).__name__))
    return not (
        isinstance(value, bool | complex | str | bytes | bytearray)
        or any(word in kind for word in ("bool", "complex", "<U", "|S", "object"))
        or getattr(value, "ndim", 0) != 0
    )


def _as_float(value: object) -> float | None:
    """NaN and infinity too; None for what is no real number."""
    try:
        return float(value) if _may_be_number(value) else None  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises all of them
        return None


def _leaves(values: Any, what: str, error: type[QPUError]) -> npt.NDArray[np.object_]:
    """What stands in lists as it is: NumPy would make one type of them all, and of True and 0.5 two numbers."""
    try:
        return np.array(values, dtype=object)
    except (TypeError, ValueError, RuntimeError):  # rows of several lengths
        raise error(f"{what} is to be found in {short(values)}. Use rows of one length.") from None


def _array(values: Any, kinds: str, what: str, error: type[QPUError]) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # rows of several lengths, tensors with a gradient
        array = np.asarray(None)
    if array.dtype.kind not in kinds:
        raise error(f"{what} is of type {array.dtype}. Use real numbers.")
    return array
