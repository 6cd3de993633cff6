"""Datasets: every source becomes float32 images in [0, 1] and int64 labels, split without chance left over.

Sources: ``mnist-5k`` (5,000 digits that ship), ``mnist`` (torchvision, downloads), a folder in torchvision's MNIST
layout or of pictures by class, an ``.npz`` with x_train, y_train, x_test, y_test, or ``TRAIN.csv,TEST.csv`` in the
Perceval Quest format (column image: text list of 784 floats in [0, 1]; column label) or Kaggle's (a column a pixel).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray, real, whole
from ..errors import DataError
from ..seeds import child_seed
from .config import GIVEN, DataConfig
from .labels import Labels, checked_labels, free_labels, labels_array, way_to_fewer
from .pixels import BYTE, AnyArray, Pixels, as_array, checked_images, is_batched, scale_of, stacked
from .sources import reader_of

if TYPE_CHECKING:
    from torch import Tensor

#: One part whose brightest pixel is so many times darker than the other's was scaled otherwise.
OTHER_SCALE = 8
#: Arrays of a dataset, in their order.
PARTS = ("x_train", "y_train", "x_test", "y_test")
_SETS = ("training set", "test set")


@final
@dataclass(frozen=True, eq=False)
class Images:
    """Images and their labels.

    :param x: pixels in [0, 1], ``(n, C, H, W)`` float32; of a table, ``(n, features)``.
    :param y: classes from 0, ``(n,)`` int64; of a loss of the user's own ``(n, ...)``, int64 or float32.

    >>> images = Images(np.zeros((3, 1, 2, 2), dtype=np.float32), np.array([0, 1, 1]))
    >>> len(images), images.take(np.array([2, 0])).y.tolist()
    (3, [1, 0])
    """

    x: Pixels
    y: Labels

    def __repr__(self) -> str:
        return f"Images(n={len(self)}, shape={self.x.shape[1:]})"

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: IntArray) -> Images:
        """Those of these indices, in their order."""
        return Images(self.x[chosen], self.y[chosen])

    def as_rows(self) -> Images:
        """The same with every image as a row of numbers."""
        return Images(self.x.reshape(len(self), math.prod(self.x.shape[1:])), self.y)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Pixels ``(n, C, H, W)`` and labels ``(n, ...)`` as tensors, sharing memory."""
        from torch import from_numpy

        return from_numpy(self.x), from_numpy(self.y)


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Images for training, for test and, possibly none, for validation.

    :param scale: what the whole numbers of the training part were divided by; None for floats and bool.
    :param flat: whether they came as rows of numbers, which are a square image or so many features.
    :param second: a second test set, if there is one.
    :param as_is: whether the numbers are of any range, as they came.
    """

    name: str
    train: Images
    test: Images
    validation: Images
    scale: float | None = None
    flat: bool = False
    second: Images | None = None
    as_is: bool = False

    @classmethod
    def of(
        cls,
        *parts: Any,
        name: str = GIVEN,
        scale: float | None = None,
        as_is: bool | None = None,
        classes: bool = True,
    ) -> Dataset:
        """A dataset of one's own: ``(x_train, y_train, x_test, y_test)``, or a training and a test set of torch.

        :param parts: four arrays or tensors, images ``(n, H, W)``, ``(n, C, H, W)`` or rows ``(n, numbers)``, bytes or
            floats in [0, 1], and labels ``(n,)`` from 0; or two of torch, each a ``Dataset`` of (image, label) or a
            ``DataLoader`` of such batches, which is drawn once.
        :param scale: what all pixels are divided by, for integers that are no bytes.
        :param as_is: True for numbers of any range, which stay as they are; None: floats of a ``DataLoader`` do.
        :param classes: False for labels of a loss of your own: numbers of any kind, ``(n, ...)``.
        :raises DataError: one line that says what is wrong with which array and what is allowed.

        >>> x, y = np.zeros((4, 8, 8)), np.array([0, 1, 0, 1])
        >>> Dataset.of(x, y, x[:2], y[:2]).train.x.shape
        (4, 1, 8, 8)
        """
        scale = None if scale is None else real(scale, "scale", DataError, above=0.0)
        if scale is not None and as_is:
            raise DataError(f"scale is {scale:g}, and as_is says that nothing is divided. Leave one of them out.")
        if len(parts) == 1 and not hasattr(parts[0], "dtype"):
            raise DataError(
                f"one {type(parts[0]).__name__} has no test images. Give two, of which the second is for the test: "
                "torch.utils.data.random_split makes them of one."
            )
        if len(parts) == 2:
            train, test = (stacked(part, what, classes=classes) for part, what in zip(parts, _SETS, strict=True))
            arrays = [*train, *test]
            floats = scale is None and all(x.dtype.kind == "f" for x in (train[0], test[0]))
            as_is = floats and any(map(is_batched, parts)) if as_is is None else as_is
        elif len(parts) == 4:
            arrays = [
                (labels_array if what.startswith("y") else as_array)(part, what)
                for part, what in zip(parts, PARTS, strict=True)
            ]
        else:
            raise DataError(
                f"{len(parts)} {'part is' if len(parts) == 1 else 'parts are'} no dataset. Give {', '.join(PARTS)}, "
                "or two datasets of torch."
            )
        return _of(arrays[:2], arrays[2:], str(name), _Reading(scale, bool(as_is), classes))

    @classmethod
    def load(
        cls, source: str = "mnist-5k", *, seed: int, train_size: int | None = None, test_size: int | None = None
    ) -> Dataset:
        """Images that a configuration may name: the digits that ship, files, folders.

        :param source: as of ``[data] source``.
        :param seed: of the choice of images; sizes that are not given are those of a run.
        :raises ConfigError: one line that says which value is wrong.
        :raises DataError: one line that says what is wrong with the images.

        >>> Dataset.load("mnist-5k", seed=1, train_size=700, test_size=300).train.x.shape
        (700, 1, 28, 28)
        """
        asked = DataConfig(source=source, train_size=train_size, test_size=test_size)
        return load_dataset(asked, seed=whole(seed, "seed", DataError, least=0))

    def __repr__(self) -> str:
        """Name, sizes and shape: pixels are no text."""
        sizes = {"train": self.train, "test": self.test, "validation": self.validation}
        sizes |= {} if self.second is None else {"second": self.second}
        told = ", ".join(f"{part}={len(images)}" for part, images in sizes.items())
        labels = f"classes={self.classes}" if self.classified else f"labels={self.train.y.shape[1:]}"
        return f"Dataset({self.name!r}, {told}, shape={self.train.x.shape[1:]}, {labels})"

    def as_rows(self) -> Dataset:
        """The same with every image as a row of numbers."""
        second = None if self.second is None else self.second.as_rows()
        train, test, validation = (part.as_rows() for part in (self.train, self.test, self.validation))
        return replace(self, train=train, test=test, validation=validation, second=second)

    @property
    def classified(self) -> bool:
        """Whether labels may be classes: whole numbers from 0, one an image."""
        labels = (self.train.y, self.test.y)
        return all(y.ndim == 1 and y.dtype.kind == "i" and y.min(initial=0) >= 0 for y in labels)

    @property
    def classes(self) -> int:
        """Number of classes, the largest label + 1."""
        return int(max(self.train.y.max(), self.test.y.max())) + 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all arrays."""
        digest = hashlib.sha256()
        for part in (self.train, self.test, self.validation, *([] if self.second is None else [self.second])):
            for array in (part.x, part.y):
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@final
@dataclass(frozen=True)
class _Reading:
    """What arrays mean."""

    scale: float | None
    as_is: bool
    classes: bool


def load_dataset(config: DataConfig, *, seed: int, classes: bool = True) -> Dataset:
    """Load, check and split the configured dataset.

    :param seed: of every random choice of images.
    :param classes: False for labels of a loss of the user's own.
    :raises DataError: one line that says what is wrong with which array and what is allowed.
    """
    arrays = reader_of(config.source)()
    train, test = ([arrays[f"{axis}_{part}"] for axis in "xy"] for part in ("train", "test"))
    full = _of(train, test, config.source, _Reading(config.scale, config.as_is, classes))
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
    if config.as_is and not full.as_is:
        raise DataError(f"data.as_is is set, and {full.name} is read already. Give as_is=True to Dataset.of instead.")
    return _split(_draw(full, config, seed), config, seed)


def _of(train: Sequence[AnyArray], test: Sequence[AnyArray], name: str, reading: _Reading) -> Dataset:
    """Checked images and labels, none for validation yet."""
    told = scale = reading.scale
    if scale is None and not reading.as_is and train[0].dtype.kind in "ui" and test[0].dtype.kind in "ui":
        scale = scale_of(f"x_train of {name}", train[0], test[0])  # of both: a few of one part may all be dark
    reading = replace(reading, scale=scale)
    first, second = (_images(x, y, f"{part} of {name}", reading) for part, (x, y) in (("train", train), ("test", test)))
    if first.y.shape[1:] != second.y.shape[1:] or first.y.dtype != second.y.dtype:
        raise DataError(
            f"training labels of {name} are {first.y.dtype} of shape {first.y.shape[1:]}, test labels "
            f"{second.y.dtype} of shape {second.y.shape[1:]}. Make all one kind."
        )
    if first.x.shape[1:] != second.x.shape[1:]:
        raise DataError(
            f"training images of {name} are {first.x.shape[1:]} pixels, test images {second.x.shape[1:]}. Make all one "
            "size."
        )
    if told is None and not reading.as_is:
        _check_one_scale(train[0], test[0], first, second, name)
    divided = told if told is not None else BYTE if train[0].dtype.kind in "ui" and not reading.as_is else None
    none = second.take(np.arange(0))  # of the right shape and type
    flat = train[0].ndim == 2
    return Dataset(name, first, second, validation=none, scale=divided, flat=flat, as_is=reading.as_is)


def _check_one_scale(x: AnyArray, x_test: AnyArray, train: Images, test: Images, name: str) -> None:
    """Raise when one part is so much darker that its pixels must have been divided by something else."""
    low, high = sorted((float(train.x.max()), float(test.x.max())))
    if low > 0 and OTHER_SCALE * low < high:
        raise DataError(
            f"x_train of {name} goes up to {float(x.max()):g} and x_test up to {float(x_test.max()):g}, as if they had "
            "other scales. Scale both alike; if they are right, say so with scale = "
            f"{BYTE if x.dtype.kind in 'ui' else 1} (in [data] of a configuration, or of Dataset.of)."
        )


def _images(x: npt.NDArray[np.generic], y: npt.NDArray[np.generic], name: str, reading: _Reading) -> Images:
    pixels = checked_images(x, f"x_{name}", scale=reading.scale, as_is=reading.as_is)
    check = checked_labels if reading.classes else free_labels
    return Images(pixels, check(y, len(pixels), f"y_{name}"))


def check_labels(dataset: Dataset, classes: int) -> None:
    """Raise :class:`DataError` when labels are no classes, or one exceeds what the target network can say."""
    if not dataset.classified:
        raise DataError(
            f"labels of {dataset.name} are no classes ({dataset.train.y.dtype} of shape {dataset.train.y.shape}), as "
            'cross-entropy needs. Name a loss of yours: [training] loss = "FILE.py:function".'
        )
    if dataset.classes > classes:
        raise DataError(
            f"{dataset.name} has label {dataset.classes - 1}; the target tells {classes} classes apart. "
            f"{way_to_fewer(np.concatenate([dataset.train.y, dataset.test.y]), classes)}."
        )


def _draw(full: Dataset, config: DataConfig, seed: int) -> Dataset:
    """Choose training and test images: as given, drawn from the training images, or stratified (mnist-5k)."""
    rng = np.random.default_rng(child_seed(seed, "images"))
    if config.source == "mnist-5k":
        return _stratified(full, config, rng)
    if config.draw == "training":
        train_size = 6000 if config.train_size is None else config.train_size
        test_size = 600 if config.test_size is None else config.test_size
        _enough_for_both(train_size, test_size, full)
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
    _enough_for_both(train_size, test_size, full)
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
    if size >= len(dataset.train):
        raise DataError(
            f"{size} validation images were asked; {dataset.name} has {len(dataset.train)} for training, of which they "
            "are taken. Ask for fewer."
        )
    order = np.random.default_rng(child_seed(seed, "validation")).permutation(len(dataset.train))
    held, kept = order[:size], order[size:]
    return replace(dataset, train=dataset.train.take(kept), validation=dataset.train.take(held))


def _enough_for_both(train_size: int, test_size: int, full: Dataset) -> None:
    if train_size + test_size > len(full.train):
        raise DataError(
            f"{train_size} training and {test_size} test images were asked; {full.name} has {len(full.train)} for "
            "both. Ask for fewer."
        )


def _enough(wanted: int, there: int, what: str, name: str) -> None:
    if wanted > there:
        raise DataError(f"{wanted} {what} images were asked; {name} has {there}. Ask for fewer.")
