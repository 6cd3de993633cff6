"""Pixels: images from files, arrays and tensors as the networks take them, and sets of torch stacked."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import regular
from ..words import one_line
from .pictures import brightness, fitted, read_picture, seen

Pixels = npt.NDArray[np.float32]
#: As it was read, of any type.
AnyArray = npt.NDArray[np.generic]
#: Largest value of a byte, and the largest of integers that may be levels of grey as well as bytes.
BYTE, FEW_LEVELS = 255, 127
#: By how much floats may pass 0 or 1, as rounding makes them.
SLACK = 1e-5
#: How an ``.npy`` and an ``.npz`` file begin, and how images are called in the latter.
NPY_BEGINNING, NPZ_BEGINNING = b"\x93NUMPY", b"PK\x03\x04"
_IMAGES = ("x_test", "x", "images", "x_train")


def as_array(found: Any, name: str) -> AnyArray:
    """Numbers as a caller passes them, an array, a tensor or nested lists, as an array of the same shape ``(...)``.

    :param name: of the array, for messages.
    :raises DataError: when they are none, or not of one shape.
    """
    try:
        if isinstance(found, list | tuple) and found and hasattr(found[0], "getbands"):
            found = [_entry(picture, name) for picture in found]
        if hasattr(found, "detach"):  # a tensor, of which numpy takes neither gradients nor bfloat16
            found = found.detach().cpu()
            found = found.float() if "bfloat16" in str(found.dtype) else found
        array = np.asarray(found)
    except (ValueError, TypeError, RuntimeError) as error:
        why = one_line(str(error).rstrip("."), 160)
        raise DataError(f"{name} is no array ({why}). Give numbers of one shape, in an array or a tensor.") from error
    if array.dtype.kind not in "uifb":
        what = f"an array of type {array.dtype}" if array.ndim else f"a {type(found).__name__}"
        raise DataError(f"{name} is {what}. Give numbers of one shape, in an array or a tensor.")
    return array


def stacked(found: Any, name: str, *, classes: bool = True) -> tuple[AnyArray, AnyArray]:
    """Images ``(n, ...)`` and labels ``(n, ...)`` of a set of torch: a ``Dataset`` of pairs, or a ``DataLoader``.

    Batches are drawn once, and a loader of one's own random numbers is put back to where it was.

    :param name: of the set, for messages.
    :param classes: whether each label is one number.
    :raises DataError: when it has no length, no labels, or images of several sizes.
    """
    if hasattr(found, "dtype"):
        raise DataError(f"the {name} is an array. Give x_train, y_train, x_test, y_test, or two datasets.")
    if is_batched(found):
        images, labels = _batches(found, name)
    else:
        images, labels = _entries(found, name)
    if classes and any(label.size > 1 for label in labels):
        raise DataError(f"the {name} has several numbers a label. Give one; of one-hot labels their argmax().")
    shapes = {image.shape for image in images}, {label.shape if not classes else label.size for label in labels}
    if [len(of) for of in shapes] != [1, 1] or (classes and shapes[1] != {1}):
        raise DataError(f"the {name} is empty, or has images of several sizes or labels that are no number.")
    stack = np.stack(labels)
    return np.stack(images), stack.reshape(-1) if classes else stack


def is_batched(found: Any) -> bool:
    """Whether something is a ``DataLoader``, or gives batches like one."""
    return hasattr(found, "__iter__") and not hasattr(found, "__getitem__") and not isinstance(found, str | Mapping)


def _entries(found: Any, name: str) -> tuple[list[AnyArray], list[AnyArray]]:
    if isinstance(found, str) or not hasattr(found, "__getitem__") or not hasattr(found, "__len__"):
        raise DataError(
            f"the {name} is a {type(found).__name__}. Give a torch dataset with a length, a DataLoader, or arrays."
        )
    images, labels = [], []
    for index in range(len(found)):
        entry = found[index]
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise DataError(f"entry {index} of the {name} is no pair of image and label. Give a dataset with labels.")
        images.append(_entry(entry[0], f"image {index} of the {name}"))
        labels.append(as_array(entry[1], f"label {index} of the {name}"))
    return images, labels


def _batches(found: Any, name: str) -> tuple[list[AnyArray], list[AnyArray]]:
    from .factories import seeded_everywhere, what_it_raised

    images: list[AnyArray] = []
    labels: list[AnyArray] = []
    try:
        with _as_it_was(getattr(found, "generator", None)), seeded_everywhere(0):  # the same whenever it is asked
            for number, batch in enumerate(found):
                x, y = _batch(batch, f"batch {number} of the {name}")
                images += list(x)
                labels += list(y)
    except DataError:
        raise
    except (Exception, SystemExit) as error:  # it is the user's code: it may raise anything
        raise DataError(f"the {name} raised {what_it_raised(error)}. Mend it.") from error
    return images, labels


def _batch(batch: Any, name: str) -> tuple[AnyArray, AnyArray]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"{len(batch)} things" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(f"{name} is {what}, no pair of images and labels. Give labels too.")
    x, y = as_array(batch[0], f"images of {name}"), as_array(batch[1], f"labels of {name}")
    if x.shape[:1] != y.shape[:1]:
        raise DataError(f"{name} has images {x.shape} and labels {y.shape}. Give one an image.")
    return x, y


@contextmanager
def _as_it_was(generator: Any) -> Iterator[None]:
    """Random numbers that a loader has of its own are put back."""
    before = None if generator is None else generator.get_state()
    try:
        yield
    finally:
        if before is not None:
            generator.set_state(before)


def _entry(found: Any, name: str) -> AnyArray:
    """An image of a set: pictures of Pillow as they look, since the numbers of some are those of a palette."""
    if not hasattr(found, "getbands"):
        return as_array(found, name)
    return brightness(seen(found, name, colours=found.mode not in ("1", "L", "LA", "La")))


def read_image(path: Path, *, invert: bool, scale: float | None = None, shape: Sequence[int] = (1, 28, 28)) -> Pixels:
    """One image as the networks take it, ``(C, H, W)`` in [0, 1]; as :func:`read_images`, which takes several.

    :param invert: True for dark on light where the network learnt light on dark, and the other way round.
    :raises DataError: when the file holds several.
    """
    images = read_images(path, shape=shape, scale=scale)
    if len(images) > 1:
        raise DataError(f"{path} holds {len(images)} images. Give one.")
    return np.asarray(1.0 - images[0] if invert else images[0])


def read_images(
    source: Path | BinaryIO,
    *,
    shape: Sequence[int],
    scale: float | None = None,
    whole: float | None = None,
    as_is: bool = False,
) -> Pixels:
    """Images of a file as the networks take them, ``(n, *shape)`` in [0, 1].

    ``.npy`` arrays are taken as they are, one image or several, and so is the array of images in an ``.npz`` file; any
    other file is one picture, read by Pillow as a person sees it and made as large as is needed.

    :param source: a path, or an open file of bytes.
    :param shape: of one image, ``(C, H, W)``, or ``(features,)``.
    :param scale: of arrays, as of :func:`checked_images`.
    :param whole: what arrays of whole numbers are divided by where ``scale`` does not say; None to find out.
    :param as_is: True for arrays of any range, which stay as they are; pictures have no such numbers.
    :raises DataError: when the file is missing, no image, or one that such a network does not take.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        content = regular(source).read_bytes() if isinstance(source, Path) else source.read()
    except FileNotFoundError:
        raise DataError(f"{name} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder without images. Name files, or a folder that has some.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read ({one_line(error, 160)}). Check the path.") from error
    zipped = content.startswith(NPZ_BEGINNING) or name.lower().endswith(".npz")
    if zipped or content.startswith(NPY_BEGINNING) or name.lower().endswith(".npy"):
        array = _reshaped((_read_npz if zipped else _read_npy)(content, name), shape, name)
        if as_is:
            return _finite(array, name)
        return in_range(array, name, scale=whole if scale is None and array.dtype.kind in "ui" else scale)
    if as_is:
        raise DataError(f"{name} is no array, and the network takes numbers as they are, of any range. Give those.")
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"{name} is no array, and the network takes arrays {tuple(shape)} alone. Give an .npy or .npz file."
        )
    picture = seen(read_picture(io.BytesIO(content), name), name, colours=shape[0] == 3)
    levels = brightness(fitted(picture, (shape[1], shape[2]), name))
    return np.array(np.broadcast_to(levels, shape))[None]  # grey is the same in every colour


def _read_npy(content: bytes, name: str) -> AnyArray:
    try:
        array: AnyArray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)  # a pickle would run code
    except Exception as error:  # headers that claim anything make numpy raise anything
        raise DataError(
            f"{name} is not an image ({one_line(error, 160)}). Give a PNG, a JPEG, or a .npy array."
        ) from error
    return _checked_numbers(array, name)


def _checked_numbers(array: AnyArray, name: str) -> AnyArray:
    if array.dtype.kind not in "uifb" or not array.size:
        raise DataError(f"{name} has shape {array.shape} and type {array.dtype}. Give numbers in [0, 1], or bytes.")
    return array


def _read_npz(content: bytes, name: str) -> AnyArray:
    """The one array of the archive, or that of images by its name."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            known = archive.files
            key = known[0] if len(known) == 1 else next((one for one in _IMAGES if one in known), None)
            array: AnyArray | None = None if key is None else archive[key]
    except Exception as error:  # damaged archives make zipfile, zlib and numpy raise anything
        raise DataError(f"{name} is no .npz file ({one_line(error, 160)}). Write it with numpy.savez.") from error
    if array is None:
        named = one_line(", ".join(known) or "nothing", 120)
        raise DataError(f"{name} holds {named}, and nobody knows which are the images. Call them x_test or images.")
    return _checked_numbers(array, name)


def _reshaped(array: AnyArray, shape: Sequence[int], name: str) -> AnyArray:
    """One image or several in any of the forms people keep them in, as ``(n, *shape)``."""
    forms = [tuple(shape), (math.prod(shape),)] + ([tuple(shape[1:])] if len(shape) == 3 and shape[0] == 1 else [])
    if array.shape in forms or array.shape[1:] in forms:
        return array.reshape(-1, *shape)
    expected = f"{shape[1]} x {shape[2]} pixels" if len(shape) == 3 and shape[0] == 1 else f"shape {tuple(shape)}"
    last = len(shape) == 3 and array.shape[-3:] == (*shape[1:], shape[0])
    way = "channels come first: transpose it" if last else "one image, or several along the first axis"
    raise DataError(f"{name} has shape {array.shape}. Expected {expected}: {way}.")


def checked_images(x: npt.NDArray[np.generic], name: str, *, scale: float | None = None, as_is: bool = False) -> Pixels:
    """Images as float32 in [0, 1], ``(n, C, H, W)``, from pixels ``(n, pixels)``, ``(n, H, W)`` or ``(n, C, H, W)``.

    Rows of numbers that fill no square are features, and stay as they are, ``(n, features)``.

    :param name: of the array, for messages.
    :param scale: what all pixels are divided by; None: integers of more than :data:`FEW_LEVELS` are bytes, floats and
        bool stay as they are.
    :param as_is: True for numbers of any range, which stay as they are.
    :raises DataError: for other shapes or types, values that are not finite or out of range.
    """
    first = _channels_first(x, name)
    return _finite(first, name) if as_is else in_range(first, name, scale=scale)


def _finite(x: npt.NDArray[np.generic], name: str) -> Pixels:
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(x.astype(np.float32))
    _check_finite(numbers, name)
    return numbers


def _check_finite(x: Pixels, name: str) -> None:
    if not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x).all(axis=tuple(range(1, x.ndim)))))
        raise DataError(f"{name}: image {bad} holds NaN or infinity. Remove or repair it.")


def in_range(x: npt.NDArray[np.generic], name: str, *, scale: float | None = None) -> Pixels:
    """Pixels in the shape that they have, ``(n, ...)``, as float32 in [0, 1].

    :param scale: as of :func:`checked_images`.
    :raises DataError: for values that are not finite or out of range, or that a scale makes dark by mistake.
    """
    if scale is not None and scale > 1 and x.dtype.kind in "fb" and 0 < x.max() <= 1:
        raise DataError(
            f"{name} is in [0, 1] already, up to {float(x.max()):g}; scale = {scale:g} would make it dark. Give it as "
            "the others are, or give all in [0, 1] and no scale."
        )
    if scale is None:
        scale = scale_of(name, x)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # what is no float32 is refused below
        scaled = x.astype(np.float32) if scale is None else x.astype(np.float32) / scale
    _check_finite(scaled, name)
    if scaled.min() < -SLACK or scaled.max() > 1.0 + SLACK:
        raise _out_of_range(x, scaled, name, scale)
    return np.ascontiguousarray(np.clip(scaled, 0.0, 1.0))


def _out_of_range(x: npt.NDArray[np.generic], scaled: Pixels, name: str, scale: float | None) -> DataError:
    of = f"pixels / {scale:g} of {name} span" if scale not in (None, BYTE) else f"{name} spans"
    low, high = (scaled.min(), scaled.max()) if scale != BYTE else (x.min(), x.max())
    if x.ndim == 2:
        way = "Scale each feature to [0, 1]: (x - low) / (high - low) with the training part's"
    elif low < 0:
        way = (
            "Expected bytes, or floats in [0, 1]: undo what normalised them, such as (x + 1) / 2, or say as_is = true "
            "(in [data] of a configuration, or of Dataset.of)"
        )
    else:
        way = (
            "Expected bytes, or floats in [0, 1]; or say with scale = (in [data] of a configuration, or of Dataset.of) "
            "what to divide all by"
        )
    return DataError(f"{of} {float(low):.8g} to {float(high):.8g}. {way}.")


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
        side = math.isqrt(x.shape[1])
        if side * side != x.shape[1]:
            return x
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
