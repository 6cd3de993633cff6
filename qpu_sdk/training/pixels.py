"""Pixels: images from files and arrays as the networks take them, and sets of torch stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError

Pixels = npt.NDArray[np.float32]


#: As it was read, of any type.
AnyArray = npt.NDArray[np.generic]


def stacked(found: Any, name: str) -> tuple[AnyArray, AnyArray]:
    """Images ``(n, ...)`` and labels ``(n,)`` of a ``torch.utils.data.Dataset`` of pairs.

    :param name: of the set, for messages.
    :raises DataError: when it has no length, no labels, or images of several sizes.
    """
    if not hasattr(found, "__getitem__") or not hasattr(found, "__len__"):
        raise DataError(f"the {name} is a {type(found).__name__}. Give a torch dataset with a length, or arrays.")
    images, labels = [], []
    for index in range(len(found)):
        entry = found[index]
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise DataError(f"entry {index} of the {name} is no pair of image and label. Give a dataset with labels.")
        images.append(np.asarray(entry[0]))
        labels.append(np.asarray(entry[1]))
    if len({image.shape for image in images}) != 1 or any(label.ndim for label in labels):
        raise DataError(f"the {name} is empty, or has images of several sizes or labels that are no number.")
    return np.stack(images), np.stack(labels)


def read_image(path: Path, *, invert: bool) -> Pixels:
    """One grey image as the networks take it, ``(1, 28, 28)`` in [0, 1], light on dark like MNIST.

    ``.npy`` arrays are taken as they are; other files are read by Pillow and resized to 28 x 28.

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
    pixels = checked_images(raw[None], str(path))[0]
    return np.asarray(1.0 - pixels if invert else pixels)


def checked_images(x: npt.NDArray[np.generic], name: str) -> Pixels:
    """Images as float32 in [0, 1], ``(n, C, H, W)``, from pixels ``(n, pixels)``, ``(n, H, W)`` or ``(n, C, H, W)``.

    :param name: of the array, for messages.
    :raises DataError: for other shapes or types, values that are not finite or out of range.
    """
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
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused below
        scaled = x.astype(np.float32) / 255 if x.dtype.kind in "ui" else x.astype(np.float32)
    if not np.isfinite(scaled).all():
        bad = int(np.argmin(np.isfinite(scaled).all(axis=(1, 2, 3))))
        raise DataError(f"{name}: image {bad} holds NaN or infinity. Remove or repair it.")
    if scaled.min() < 0.0 or scaled.max() > 1.0:
        raise DataError(f"{name} spans {scaled.min():g} to {scaled.max():g}. Expected bytes, or floats in [0, 1].")
    return np.ascontiguousarray(scaled)
