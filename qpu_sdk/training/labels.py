"""Labels: whole numbers from 0, one an image; what people have instead is named, with the way to these."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray
from ..errors import DataError
from ..words import short
from .pixels import AnyArray, as_array

#: Classes from 0, ``(n,)`` int64, or what a loss of the user's own takes, ``(n, ...)`` int64 or float32.
Labels = npt.NDArray[Any]
#: Largest label that can be a class.
MAX_LABEL = 1_000_000
_NUMBERED = "Number them from 0: classes, y = np.unique(y, return_inverse=True)"


def labels_array(found: Any, name: str) -> AnyArray:
    """Labels as a caller passes them as an array ``(n, ...)``.

    :param name: of the array, for messages.
    :raises DataError: when they are words, or no array.
    """
    array = np.asarray(found) if isinstance(found, np.ndarray | list | tuple) and _of_words(found) else None
    if array is not None:
        raise DataError(f"{name} holds words such as {short(array.flat[0].item())}. {_NUMBERED}.")
    return as_array(found, name)


def checked_labels(y: npt.NDArray[np.generic], images: int, name: str) -> IntArray:
    """Labels of so many images as whole numbers from 0, ``(n,)``, from ``(n,)`` or ``(n, 1)``.

    :param name: of the array, for messages.
    :raises DataError: for words, one-hot rows, and numbers that are no classes.
    """
    if y.shape == (images, 1):
        y = y[:, 0]
    if y.dtype.kind in "US" and y.size:
        raise DataError(f"{name} holds words such as {short(y.flat[0].item())}. {_NUMBERED}.")
    if _one_hot(y, images):
        raise DataError(
            f"{name} is one-hot, of shape {y.shape}. Give the classes themselves: y.argmax(1). (A training.loss of "
            "yours takes other labels.)"
        )
    if y.shape != (images,):
        raise DataError(f"{name} has shape {y.shape} for {images} images. Expected one label an image.")
    if y.dtype.kind not in "uifb" or not np.isfinite(y.astype(np.float64)).all():
        raise DataError(f"{name} is of type {y.dtype}, or holds NaN. Expected whole numbers from 0.")
    numbers = y.astype(np.float64)
    bad = (numbers < 0) | (numbers > MAX_LABEL) | (numbers != np.floor(numbers))
    if bad.any():
        raise DataError(f"{name} holds {y[bad][0]}. Expected whole numbers from 0. {_NUMBERED}.")
    return y.astype(np.int64)


def free_labels(y: npt.NDArray[np.generic], images: int, name: str) -> Labels:
    """Labels of a loss of the user's own: floats as float32, all else as int64, ``(n, ...)``.

    :param name: of the array, for messages.
    :raises DataError: for what is no finite number, or not one entry an image.
    """
    if y.dtype.kind not in "uifb" or y.shape[:1] != (images,):
        raise DataError(
            f"{name} is {y.dtype} of shape {y.shape} for {images} images. Expected numbers, one entry an image."
        )
    if not np.isfinite(y.astype(np.float64)).all():
        raise DataError(f"{name} holds NaN or infinity. Remove or repair it.")
    return y.astype(np.float32) if y.dtype.kind == "f" else y.astype(np.int64)


def way_to_fewer(labels: IntArray, classes: int) -> str:
    """What to do when labels ``(n,)`` are beyond the classes that a network tells apart."""
    present = np.unique(labels)
    if len(present) > classes:
        return f"Use a target of {int(present[-1]) + 1} classes"
    begin = (
        f"They begin at {present[0]}" if len(present) == present[-1] - present[0] + 1 else "Some numbers are missing"
    )
    return f"{begin}, and there are {len(present)}. {_NUMBERED}, or use a target of {int(present[-1]) + 1} classes"


def _of_words(found: Any) -> bool:
    if isinstance(found, np.ndarray):
        return found.dtype.kind in "US" and found.size > 0
    return len(found) > 0 and isinstance(found[0], str)


def _one_hot(y: npt.NDArray[np.generic], images: int) -> bool:
    if y.ndim != 2 or len(y) != images or y.shape[1] < 2 or y.dtype.kind not in "uifb":
        return False
    values = y.astype(np.float64)
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())
