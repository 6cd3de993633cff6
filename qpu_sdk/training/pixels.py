"""Pixels: images from files, arrays and tensors as the networks take them, and sets of torch stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError

Pixels = npt.NDArray[np.float32]
#: As it was read, of any type.
AnyArray = npt.NDArray[np.generic]
#: Largest value of a byte, and the largest of integers that may be levels of grey as well as bytes.
BYTE, FEW_LEVELS = 255, 16


def as_array(found: Any, name: str) -> AnyArray:
    """Numbers as a caller passes them, an array, a tensor or nested lists, as an array of the same shape ``(...)``.

    :param name: of the array, for messages.
    :raises DataError: when they are none, or not of one shape.
    """
    try:
        if hasattr(found, "detach"):  # a tensor, of which numpy takes neither gradients nor bfloat16
            found = found.detach().cpu()
            found = found.float() if "bfloat16" in str(found.dtype) else found
        array = np.asarray(found)
    except (ValueError, TypeError, RuntimeError) as error:
        why = " ".join(str(error).split()).rstrip(".")[:160]
        raise DataError(f"{name} is no array ({why}). Give numbers of one shape, in an array or a tensor.") from error
    if array.dtype.kind not in "uifb":
        what = f"an array of type {array.dtype}" if array.ndim else f"a {type(found).__name__}"
        raise DataError(f"{name} is {what}. Give numbers of one shape, in an array or a tensor.")
    return array


def stacked(found: Any, name: str) -> tuple[AnyArray, AnyArray]:
    """Images ``(n, ...)`` and labels ``(n,)`` of a ``torch.utils.data.Dataset`` of pairs.

    :param name: of the set, for messages.
    :raises DataError: when it has no length, no labels, or images of several sizes.
    """
    if hasattr(found, "dtype"):
        raise DataError(f"the {name} is an array. Give x_train, y_train, x_test, y_test, or two datasets.")
    if isinstance(found, str) or not hasattr(found, "__getitem__") or not hasattr(found, "__len__"):
        raise DataError(f"the {name} is a {type(found).__name__}. Give a torch dataset with a length, or arrays.")
    images, labels = [], []
    for index in range(len(found)):
        entry = found[index]
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise DataError(f"entry {index} of the {name} is no pair of image and label. Give a dataset with labels.")
        images.append(as_array(entry[0], f"image {index} of the {name}"))
        labels.append(as_array(entry[1], f"label {index} of the {name}"))
    if len({image.shape for image in images}) != 1 or any(label.ndim for label in labels):
        raise DataError(f"the {name} is empty, or has images of several sizes or labels that are no number.")
    return np.stack(images), np.stack(labels)


def read_image(path: Path, *, invert: bool, scale: float | None = None) -> Pixels:
    """One grey image as the networks take it, ``(1, 28, 28)`` in [0, 1], light on dark like MNIST.

    ``.npy`` arrays are taken as they are; other files are read by Pillow and resized to 28 x 28.

    :param invert: True for dark on light.
    :param scale: of arrays, as of :func:`checked_images`.
    :raises DataError: when the file is missing or not an image.
    """
    try:
        if path.suffix == ".npy":
            with path.open("rb") as opened:
                raw = np.lib.format.read_array(opened, allow_pickle=False)  # a pickle would run code
        else:
            from PIL import Image

            with Image.open(path) as image:
                raw = np.asarray(image.convert("L").resize((28, 28), Image.Resampling.LANCZOS))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not an image ({error}). Give a PNG, a JPEG, or a .npy array.") from error
    if raw.shape != (28, 28):
        raise DataError(f"{path} has shape {raw.shape}. Expected 28 x 28 pixels.")
    # What Pillow reads are bytes, however dark; an array is taken as a dataset's would be.
    pixels = checked_images(raw[None], str(path), scale=scale if path.suffix == ".npy" else BYTE)[0]
    return np.asarray(1.0 - pixels if invert else pixels)


def checked_images(x: npt.NDArray[np.generic], name: str, *, scale: float | None = None) -> Pixels:
    """Images as float32 in [0, 1], ``(n, C, H, W)``, from pixels ``(n, pixels)``, ``(n, H, W)`` or ``(n, C, H, W)``.

    :param name: of the array, for messages.
    :param scale: what all pixels are divided by; None: integers of more than :data:`FEW_LEVELS` are bytes, floats and
        bool stay as they are.
    :raises DataError: for other shapes or types, values that are not finite or out of range.
    """
    x = _channels_first(x, name)
    if scale is None:
        scale = scale_of(name, x)
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused below
        scaled = x.astype(np.float32) if scale is None else x.astype(np.float32) / scale
    if not np.isfinite(scaled).all():
        bad = int(np.argmin(np.isfinite(scaled).all(axis=(1, 2, 3))))
        raise DataError(f"{name}: image {bad} holds NaN or infinity. Remove or repair it.")
    if scaled.min() < 0.0 or scaled.max() > 1.0:
        of = f"pixels / {scale:g} of {name} span" if scale not in (None, BYTE) else f"{name} spans"
        low, high = (scaled.min(), scaled.max()) if scale != BYTE else (x.min(), x.max())
        raise DataError(
            f"{of} {low:g} to {high:g}. Expected bytes, or floats in [0, 1]; or say with scale = (in [data] of a "
            "configuration, or of Dataset.of) what to divide all by."
        )
    return np.ascontiguousarray(scaled)


def scale_of(name: str, *arrays: npt.NDArray[np.generic]) -> float | None:
    """What pixels ``(n, ...)`` of one source are divided by: 255 for bytes, None for floats and bool.

    :param name: of the source, for messages.
    :raises DataError: for integers that may be bytes or a few levels of grey.
    """
    integers = [x for x in arrays if x.dtype.kind in "ui" and x.size]
    if not integers:
        return None
    largest = max(int(x.max()) for x in integers)
    if largest <= FEW_LEVELS and min(int(x.min()) for x in integers) >= 0:
        raise DataError(
            f"{name} holds integers of 0 to {largest}, which may be bytes or a few levels. Give floats in [0, 1] or "
            f"bool, or say with scale = {max(largest, 1)} (in [data] of a configuration, or of Dataset.of) what to "
            "divide all by."
        )
    return BYTE


def _channels_first(x: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.generic]:
    if x.size == 0 or x.ndim < 2 or x.dtype.kind not in "uifb":
        raise DataError(f"{name} has shape {x.shape} and type {x.dtype}. Expected (n, H, W) numbers.")
    if x.ndim == 2:
        side = round(x.shape[1] ** 0.5)
        if side * side != x.shape[1]:
            raise DataError(f"{name} has {x.shape[1]} pixels an image, which is no square. Expected (n, H, W).")
        x = x.reshape(-1, side, side)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4:
        raise DataError(f"{name} has shape {x.shape}. Expected (n, H, W) or (n, channels, H, W).")
    if x.shape[3] in (1, 3, 4) and min(x.shape[1:3]) > x.shape[3]:
        raise DataError(
            f"{name} has shape {x.shape}; channels come first: (n, C, H, W). Give x.transpose(0, 3, 1, 2), of a tensor "
            "x.permute(0, 3, 1, 2)."
        )
    return x
